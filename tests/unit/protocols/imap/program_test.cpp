#include <doctest/doctest.h>

#include "protocols/imap/fetch.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/search.h"

using namespace posthouse;
using namespace posthouse::imap;

TEST_CASE("FETCH programs: labels, needs and doubles") {
    struct Case {
        std::string_view input;
        bool good;
        std::string_view labels;
        Needs needs;
    };
    constexpr Case kCases[] = {
        {"FLAGS", true, "FLAGS", Needs::index},
        {"(uid Flags UID)", true, "UID FLAGS", Needs::index},
        {"FAST", true, "FLAGS INTERNALDATE RFC822.SIZE", Needs::index},
        {"(ENVELOPE BODY)", true, "ENVELOPE BODY", Needs::facts},
        {"BODY.PEEK[1.2.HEADER.FIELDS.NOT (a \"b c\")]<0.5>", true, "BODY[1.2.HEADER.FIELDS.NOT (a \"b c\")]<0>",
         Needs::body},
        {"(BODY[] BODY[]<0.1> BODY[]<0.2>)", true, "BODY[] BODY[]<0> BODY[]<0>", Needs::body},
        {"()", false, "", Needs::index},
        {"(FLAGS FAST)", false, "", Needs::index},
        {"(FLAGS", false, "", Needs::index},
        {"BODY[1..2]", false, "", Needs::index},
        {"BODY[MIME]", false, "", Needs::index},
        {"BODY[]<1>", false, "", Needs::index},
        {"BODY[]<0.0>", false, "", Needs::index},
        {"BODY[HEADER.FIELDS ()]", false, "", Needs::index},
        {"RFC822.PEEK", false, "", Needs::index},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto program = take_fetch_program(in);
        CHECK((program.has_value() && in.at_end()) == c.good);
        if (!program || !c.good) continue;
        std::string labels;
        for (const FetchUse& use : program->items) {
            if (!labels.empty()) labels += ' ';
            labels += use.item->section ? use.section.label : use.item->name;
        }
        CHECK(labels == c.labels);
        CHECK(program->needs == c.needs);
    }
}

TEST_CASE("partials are cut at the end and never go past it, RFC 3501 6.4.5") {
    Section section;
    section.partial_first = 5;
    section.partial_octets = 10;
    CHECK(cut(section, {100, 8}) == mime::Extent{105, 3});
    CHECK(cut(section, {100, 3}) == mime::Extent{103, 0});
    section.partial_first = 0xffffffff;
    section.partial_octets = 0xffffffff;
    CHECK(cut(section, {0, 0}) == mime::Extent{0, 0});
}

TEST_CASE("SEARCH judges from memory what it can") {
    const auto run = [](std::string_view text, SearchContent* content) {
        Cursor in(text);
        auto program = take_search_program(in);
        REQUIRE(program.has_value());
        resolve_sets(*program, SearchView{.exists = 3, .uid_max = 30, .now_s = 0, .last_result = {}});
        SearchMessage message;
        message.number = 2;
        message.uid = 20;
        message.system_flags = kSeen;
        message.size_octets = 100;
        message.internal_date_s = 86'400;
        message.content = content;
        return judge(*program, message);
    };
    struct Case {
        std::string_view input;
        Match without, with;
    };
    constexpr Case kCases[] = {
        {"SEEN", Match::yes, Match::yes},
        {"NOT SEEN", Match::no, Match::no},
        {"SUBJECT hello", Match::unknown, Match::yes},
        {"NOT SUBJECT hello", Match::unknown, Match::no},
        {"UNSEEN SUBJECT hello", Match::no, Match::no},
        {"OR SEEN SUBJECT hello", Match::yes, Match::yes},
        {"OR UNSEEN SUBJECT hello", Match::unknown, Match::yes},
        {"BODY WORLD", Match::unknown, Match::yes},
        {"BODY hello", Match::unknown, Match::no},
        {"TEXT HELLO", Match::unknown, Match::yes},
        {"UID 20", Match::yes, Match::yes},
        {"2", Match::yes, Match::yes},
        {"(1 3)", Match::no, Match::no},
        {"ON 2-Jan-1970", Match::yes, Match::yes},
        {"BEFORE 2-Jan-1970", Match::no, Match::no},
        {"LARGER 99 SMALLER 101", Match::yes, Match::yes},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        SearchContent content([] { return std::string("Subject: Hello\r\n\r\n"); },
                              [] { return std::string("Subject: Hello\r\n\r\nworld\r\n"); });
        CHECK(run(c.input, nullptr) == c.without);
        CHECK(run(c.input, &content) == c.with);
    }
    std::string deep;
    for (int i = 0; i < 100'000; ++i) deep += '(';
    Cursor in(deep);
    CHECK_FALSE(take_search_program(in).has_value());
}
