#include "protocols/imap/thread.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace posthouse;
using namespace posthouse::imap;

namespace {

struct Input {
    std::uint32_t number;
    std::int64_t sent_ms;
    std::string_view subject;
    std::string_view id;
    std::vector<std::string> references;
};

std::string threads(ThreadAlgorithm algorithm, const std::vector<Input>& inputs) {
    Threader threader(algorithm);
    for (const Input& input : inputs) {
        ThreadMessage message;
        message.number = input.number;
        message.sent_ms = input.sent_ms;
        message.subject = input.subject;
        message.message_id = input.id;
        message.references = input.references;
        threader.add(message);
    }
    return threader.finish();
}
std::string by_references(const std::vector<Input>& inputs) { return threads(ThreadAlgorithm::references, inputs); }
std::string by_subject(const std::vector<Input>& inputs) { return threads(ThreadAlgorithm::ordered_subject, inputs); }

}  // namespace

TEST_CASE("the tree of RFC 5256 4, THREAD response") {
    const std::vector<Input> inputs = {
        {2, 1, "two", "2", {}},         {3, 2, "three", "3", {}},           {4, 4, "x", "4", {"3", "6"}},
        {6, 3, "y", "6", {"3"}},        {7, 7, "z", "7", {"3", "6", "44"}}, {23, 5, "q", "23", {"4"}},
        {44, 6, "r", "44", {"3", "6"}}, {96, 8, "s", "96", {"44", "7"}},
    };
    CHECK(by_references(inputs) == " (2)(3 6 (4 23)(44 7 96))");
    // Siblings of a parent that is not there.
    CHECK(by_references({{3, 1, "a", "3", {"gone"}}, {5, 2, "b", "5", {"gone"}}}) == " ((3)(5))");
    CHECK(by_references({}).empty());
    CHECK(by_subject({}).empty());
}

TEST_CASE("links that the rules of REFERENCES make and do not make") {
    // A dummy with one child gives way to it; one with none vanishes.
    CHECK(by_references({{1, 1, "a", "1", {"x", "y", "z"}}}) == " (1)");
    // Dummies between messages vanish too.
    CHECK(by_references({{1, 1, "a", "1", {}}, {2, 2, "b", "2", {"1", "lost", "gone"}}}) == " (1 2)");
    // Nested dummies at the top: their children stay together.
    CHECK(by_references({{1, 1, "a", "1", {"d", "e"}}, {2, 2, "b", "2", {"d", "e"}}}) == " ((1)(2))");
    // No message is its own ancestor.
    CHECK(by_references({{1, 1, "a", "1", {"1"}}}) == " (1)");
    CHECK(by_references({{1, 1, "a", "1", {"2"}}, {2, 2, "b", "2", {"1"}}}) == " (2 1)");
    CHECK(by_references({{1, 1, "a", "1", {"3"}}, {2, 2, "b", "2", {"1"}}, {3, 3, "c", "3", {"2"}}}) == " (3 1 2)");
    // The second of two messages with one id is known by none.
    CHECK(by_references({{1, 1, "a", "1", {}}, {2, 2, "b", "1", {}}, {3, 3, "c", "3", {"1"}}}) == " (1 3)(2)");
    // A truncated References is corrected by the message itself.
    CHECK(by_references({{1, 1, "a", "1", {}}, {2, 2, "b", "2", {"1", "3"}}, {3, 3, "c", "3", {}}}) == " (1)(3 2)");
    // A parent that arrives later.
    CHECK(by_references({{1, 2, "a", "1", {"2"}}, {2, 1, "b", "2", {}}}) == " (2 1)");
    // Ids are compared with their case.
    CHECK(by_references({{1, 1, "a", "x@Y", {}}, {2, 2, "b", "2", {"x@y"}}}) == " (1)(2)");
}

TEST_CASE("threads of one subject become one, RFC 5256 3 step 5") {
    CHECK(by_references({{1, 1, "hello", "1", {}}, {2, 2, "Re: hello", "2", {}}}) == " (1 2)");
    // The reply came first: the original takes its place all the same.
    CHECK(by_references({{1, 1, "Re: hello", "1", {}}, {2, 2, "hello", "2", {}}}) == " (2 1)");
    // Two originals, or two replies: neither answers the other.
    CHECK(by_references({{1, 1, "hello", "1", {}}, {2, 2, "Hello", "2", {}}}) == " ((1)(2))");
    CHECK(by_references({{1, 1, "Re: a", "1", {}}, {2, 2, "Fwd: a", "2", {}}, {3, 3, "re: A", "3", {}}}) ==
          " ((1)(2)(3))");
    CHECK(by_references({{1, 1, "a", "1", {}}, {2, 2, "a", "2", {}}, {3, 3, "Re: a", "3", {}}}) == " ((1)(2)(3))");
    // A thread without its first message, and one of the same subject.
    CHECK(by_references({{1, 1, "Re: a", "1", {"x"}}, {2, 2, "Re: a", "2", {"x"}}, {3, 3, "Re: a", "3", {}}}) ==
          " ((1)(2)(3))");
    CHECK(by_references({{1, 1, "Re: a", "1", {"x"}},
                         {2, 2, "Re: a", "2", {"x"}},
                         {3, 3, "Re: a", "3", {"y"}},
                         {4, 4, "Re: a", "4", {"y"}}}) == " ((1)(2)(3)(4))");
    CHECK(by_references({{1, 5, "a", "1", {}}, {2, 1, "Re: a", "2", {"x"}}, {3, 2, "Re: a", "3", {"x"}}}) ==
          " ((2)(3)(1))");
    // Empty subjects say nothing.
    CHECK(by_references({{1, 1, "", "1", {}}, {2, 2, "Re: ", "2", {}}}) == " (1)(2)");
    // Encoded, blobs and trailers: the base subject decides.
    CHECK(by_references({{1, 1, "foo", "1", {}},
                         {2, 2, "Re: [x] Fwd: foo (fwd)", "2", {}},
                         {3, 3, "=?utf-8?Q?Re=3A_foo?=", "3", {}}}) == " (1 (2)(3))");
}

TEST_CASE("siblings stand by date, then by place, RFC 5256 3 step 6") {
    CHECK(by_references({{1, 9, "a", "1", {}},
                         {2, 8, "b", "2", {"1"}},
                         {3, 7, "c", "3", {"1"}},
                         {4, 7, "d", "4", {"1"}},
                         {5, 1, "e", "5", {}}}) == " (5)(1 (3)(4)(2))");
}

TEST_CASE("ORDEREDSUBJECT: the first of a subject, the others beneath it") {
    CHECK(by_subject({{166, 5, "a", "", {}},
                      {174, 1, "b", "", {}},
                      {175, 3, "Re: b", "", {}},
                      {176, 2, "re: B (fwd)", "", {}},
                      {194, 6, "c", "", {}},
                      {195, 7, "Re: c", "", {}}}) == " (174 (176)(175))(166)(194 195)");
}

TEST_CASE("a thread of a hundred thousand answers needs no stack and little time") {
    for (const bool backwards : {false, true}) {
        Threader threader(ThreadAlgorithm::references);
        constexpr std::uint32_t kCount = 100'000;
        for (std::uint32_t i = 0; i < kCount; ++i) {
            const std::uint32_t n = backwards ? kCount - i : i + 1;
            ThreadMessage message;
            message.number = n;
            message.sent_ms = n;
            message.subject = "x";
            message.message_id = fmt::format("{}@x", n);
            if (n > 1) message.references = {fmt::format("{}@x", n - 1)};
            threader.add(message);
        }
        const std::string text = threader.finish();
        CHECK(text.starts_with(" (1 2 3 4 5"));
        CHECK(text.ends_with(" 100000)"));
    }
}
