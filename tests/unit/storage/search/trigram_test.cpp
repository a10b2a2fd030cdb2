#include "storage/search/trigram.h"

#include <doctest/doctest.h>

#include "storage/search/id_set.h"

namespace posthouse::storage::search {

TEST_CASE("characters are read alike in a text and in a needle cut out of it") {
    CHECK(characters("a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80").size() == 4);
    // A lead octet without its continuation does not swallow what follows.
    const auto damaged = characters(
        "\xe4"
        "ab\x80\x80\x80\x80");
    REQUIRE(damaged.size() == 4);
    CHECK(damaged[1] == "a");
    CHECK(damaged[2] == "b\x80\x80\x80");
    CHECK(characters("").empty());
}

TEST_CASE("an expression asks for every term of a needle and nothing that FTS5 would read as syntax") {
    struct Case {
        std::string_view needle, match;
        bool exact;
    };
    constexpr Case kCases[] = {
        {"a", "\"a\" *", true},     {"ab", "\"ab\" *", true},
        {"abc", "\"abc\"", true},   {"abcd", "\"abc\" AND \"bcd\"", false},
        {"aaaa", "\"aaa\"", false}, {"\"\"", "\"\"\"\"\"\" *", true},
        {"or*", "\"or*\"", true},   {"\xe4\xb8\xad\xe6\x96\x87", "\"\xe4\xb8\xad\xe6\x96\x87\" *", true},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.needle);
        const auto made = expression_for(c.needle);
        REQUIRE(made);
        CHECK(made->match == c.match);
        CHECK(made->exact == c.exact);
    }
    CHECK_FALSE(expression_for(""));
    CHECK_FALSE(expression_for(std::string_view("a\0", 2)));
    CHECK_FALSE(expression_for(std::string_view("a\0b", 3)));
    CHECK(expression_for(std::string_view("a\0bcde", 6))->match == "\"bcd\" AND \"cde\"");
    CHECK(expression_for(std::string(5000, 'x') + "yz")->match.size() < 200);
}

TEST_CASE("a set of ids") {
    const auto id = [](std::int64_t n) { return static_cast<MessageId>(n); };
    IdSet a;
    IdSet b;
    for (const std::int64_t n : {1, 63, 64, 4095, 4096, 1'000'000}) a.insert(id(n));
    for (const std::int64_t n : {63, 4096, 2'000'000}) b.insert(id(n));
    CHECK(a.size() == 6);
    CHECK(a.contains(id(4095)));
    CHECK_FALSE(a.contains(id(2)));
    CHECK(a.upper_bound() == id(1'000'001));
    CHECK(IdSet().upper_bound() == id(0));
    IdSet both = a;
    both.keep_common(b);
    CHECK(both.size() == 2);
    IdSet either = a;
    either.add(b);
    CHECK(either.size() == 7);
    either.remove(a);
    CHECK(either.size() == 1);
    CHECK(either.contains(id(2'000'000)));
    std::vector<std::int64_t> seen;
    a.each(id(63), id(4096), [&](MessageId found) { seen.push_back(raw(found)); });
    CHECK(seen == std::vector<std::int64_t>{63, 64, 4095, 4096});
    a.erase(id(64));
    CHECK_FALSE(a.contains(id(64)));
}

}  // namespace posthouse::storage::search
