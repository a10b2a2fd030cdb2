#include "protocols/imap/grammar.h"

#include <doctest/doctest.h>

#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "protocols/imap/sequence_set.h"

using namespace posthouse;
using namespace posthouse::imap;

TEST_CASE("astring, RFC 3501 9") {
    struct Case {
        std::string_view input;
        bool good;
        std::string_view value;
    };
    constexpr Case kCases[] = {
        {"abc", true, "abc"},
        {"a]b", true, "a]b"},
        {"\"a b\"", true, "a b"},
        {"\"a\\\"\\\\\"", true, "a\"\\"},
        {"\"a\\x\"", false, ""},
        {"\"open", false, ""},
        {"{3}\r\nabc", true, "abc"},
        {"{3+}\r\na c", true, "a c"},
        {"{4}\r\nabc", false, ""},
        {"{3}abc", false, ""},
        {"", false, ""},
        {"(", false, ""},
        {"\"\xc3\xbc\"", true, "\xc3\xbc"},
        {"\"\xff\"", false, ""},
        {"{99999999999999999999}\r\n", false, ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto value = take_astring(in);
        CHECK(value.has_value() == c.good);
        if (value && c.good) CHECK(*value == c.value);
    }
    const std::string with_nul("{1}\r\n\0", 6);
    Cursor in(with_nul);
    CHECK_FALSE(take_astring(in).has_value());
}

TEST_CASE("tags, RFC 3501 9") {
    for (const std::string_view good : {"a1 NOOP", "A.b-c", "]x "}) {
        Cursor in(good);
        CHECK(take_tag(in).has_value());
    }
    for (const std::string_view bad : {"* NOOP", "+ x", "", " a", "a\x01 x", "a(b x", "\xc3\xbc x"}) {
        CAPTURE(bad);
        Cursor in(bad);
        CHECK_FALSE(take_tag(in).has_value());
    }
    const std::string longest = std::string(10'000, 'a') + " NOOP";
    Cursor in(longest);
    CHECK_FALSE(take_tag(in).has_value());
}

TEST_CASE("literal marks, RFC 3501 4.3 and RFC 7888") {
    CHECK(literal_at_end("a LOGIN {3}")->octets == 3);
    CHECK(literal_at_end("a LOGIN {3}")->synchronising);
    CHECK_FALSE(literal_at_end("a LOGIN {3+}")->synchronising);
    CHECK(literal_at_end("a LOGIN ~{3+}")->mark_octets == 5);
    for (const std::string_view none : {"a {3", "a {}", "a {+}", "a {-1}", "a {3} ", "a }", "{x}"}) {
        CAPTURE(none);
        CHECK_FALSE(literal_at_end(none).has_value());
    }
}

TEST_CASE("date-time, RFC 3501 9") {
    struct Case {
        std::string_view input;
        bool good;
        std::int64_t unix_s;
    };
    constexpr Case kCases[] = {
        {"\" 1-Jan-1970 00:00:00 +0000\"", true, 0},   {"\"01-Jan-1970 01:00:00 +0100\"", true, 0},
        {"\"1-jan-1970 00:00:00 -0130\"", true, 5400}, {"\"31-Dec-1969 23:59:60 +0000\"", true, 0},
        {"\"31-Feb-2026 00:00:00 +0000\"", false, 0},  {"\" 1-Foo-2026 00:00:00 +0000\"", false, 0},
        {"\" 1-Jan-2026 24:00:00 +0000\"", false, 0},  {"\" 1-Jan-2026 00:00:00 0000\"", false, 0},
        {"\" 1-Jan-2026 00:00:00 +0000", false, 0},    {"\" 1-Jan-26 00:00:00 +0000\"", false, 0},
        {"\" 1-Jan-2026 00:00:00 +9999\"", false, 0},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto value = take_date_time(in);
        CHECK(value.has_value() == c.good);
        if (value && c.good) CHECK(*value == c.unix_s);
    }
    std::string out;
    append_internal_date(out, 0);
    CHECK(out == "\" 1-Jan-1970 00:00:00 +0000\"");
    out.clear();
    append_internal_date(out, -1);
    CHECK(out == "\"31-Dec-1969 23:59:59 +0000\"");
}

TEST_CASE("seq-range, RFC 3501 9: the order of the ends does not matter") {
    struct Case {
        std::string_view input;
        bool good;
        std::string_view shown;  // with star 9
    };
    constexpr Case kCases[] = {
        {"7", true, "7:7"},
        {"4:2", true, "2:4"},
        {"*:5", true, "5:9"},
        {"999:*", true, "9:999"},
        {"1,3,2", true, "1:3"},
        {"*", true, "9:9"},
        {"0", false, ""},
        {"3:", false, ""},
        {"1,,2", false, ""},
        {"4294967296", false, ""},
        {"4294967295:1", true, "1:4294967295"},
        {"1:0", false, ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto set = take_sequence_set(in);
        CHECK(set.has_value() == c.good);
        if (!set || !c.good) continue;
        std::string shown;
        for (const auto& range : resolve(*set, 9)) {
            if (!shown.empty()) shown += ',';
            shown += std::to_string(range.first) + ":" + std::to_string(range.last);
        }
        CHECK(shown == c.shown);
    }
    Cursor all("1:*");
    const auto set = take_sequence_set(all);
    CHECK(resolve(*set, 0).empty());
    CHECK(resolve_numbers(*set, 0)->empty());
    Cursor ten("10");
    CHECK_FALSE(resolve_numbers(*take_sequence_set(ten), 9).has_value());
    const std::uint32_t uids[] = {3, 4, 5, 9, 2};
    CHECK(format_set(uids) == "3:5,9,2");
}

TEST_CASE("mailbox names, RFC 3501 5.1.3") {
    struct Case {
        std::string_view wire;
        std::string_view utf8;  // empty: refused
    };
    constexpr Case kCases[] = {
        {"INBOX", "INBOX"},
        {"inBox", "INBOX"},
        {"inbox/Sub", "INBOX/Sub"},
        {"inboxes", "inboxes"},
        {"a&-b", "a&b"},
        {"&Jjo-", "\xe2\x98\xba"},
        {"R&AOk-sum&AOk-", "R\xc3\xa9sum\xc3\xa9"},
        {"&2D3eAA-", "\xf0\x9f\x98\x80"},
        {"&Jjo", ""},
        {"&AGE-", ""},
        {"a&b", ""},
        {"&Jjo-&Jjo-", ""},
        {"&2AA-", ""},
        {"&AOk", ""},
        {"&AO/-", ""},
        {"\xc3\xa9", ""},
        {"&AAA-", ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.wire);
        const auto name = decode_mailbox(c.wire);
        if (c.wire == "&AAA-") continue;  // NUL: spelt right, refused by the store
        CHECK(name.has_value() == !c.utf8.empty());
        if (!name) continue;
        CHECK(*name == c.utf8);
        if (!ascii::starts_with_ci(c.wire, "inbox")) CHECK(encode_mailbox(*name) == c.wire);
    }
}

TEST_CASE("mailbox names in UTF-8, RFC 9755 3") {
    struct Case {
        std::string_view wire;
        std::string_view utf8;  ///< empty: refused
        std::string_view told;  ///< as an astring
    };
    constexpr Case kCases[] = {
        {"inbox", "INBOX", "INBOX"},
        {"INBOX/\xc3\xbc", "INBOX/\xc3\xbc", "\"INBOX/\xc3\xbc\""},
        {"a&b", "a&b", "a&b"},
        {"&AOk-", "&AOk-", "&AOk-"},
        {"NIL", "NIL", "\"NIL\""},
        {"\xe2\x82\xac \"x\\", "\xe2\x82\xac \"x\\", "\"\xe2\x82\xac \\\"x\\\\\""},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"a\tb", "", ""},
        {"a\x7f", "", ""},
        {"a\xc2\x85", "", ""},
        {"a\xc2\xa0", "a\xc2\xa0", "\"a\xc2\xa0\""},
        {"\xe2\x80\xa8", "", ""},
        {"\xe2\x80\xa9", "", ""},
        {"\xc0\xaf", "", ""},
        {"\xed\xa0\x80", "", ""},
        {"\xff", "", ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.wire);
        const auto name = decode_mailbox(c.wire, NameForm::utf8);
        CHECK(name.has_value() == !c.utf8.empty());
        if (!name) continue;
        CHECK(*name == c.utf8);
        std::string out;
        append_mailbox(out, *name, NameForm::utf8);
        CHECK(out == c.told);
    }
}

TEST_CASE("LIST patterns, RFC 3501 6.3.8") {
    struct Case {
        std::string_view name, pattern;
        bool matches;
    };
    constexpr Case kCases[] = {
        {"a/b", "*", true},
        {"a/b", "%", false},
        {"a", "%", true},
        {"a/b", "%/%", true},
        {"a/b/c", "a/%", false},
        {"a/b/c", "a/*", true},
        {"a/b/c", "*c", true},
        {"a/b/c", "%c", false},
        {"INBOX", "inbox", true},
        {"INBOX/x", "iNb%/x", true},
        {"Inboxes", "inbox*", false},
        {"abc", "a*b*c", true},
        {"abc", "", false},
        {"", "*", true},
        {"a/b", "a*%b", true},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.name);
        CAPTURE(c.pattern);
        CHECK(matches_pattern(c.name, c.pattern) == c.matches);
    }
    // No backtracking: a pattern made to hurt is answered at once.
    std::string pattern;
    for (int i = 0; i < 200; ++i) pattern += "*a";
    CHECK_FALSE(matches_pattern(std::string(1000, 'a') + "b", pattern));
}

TEST_CASE("flags, RFC 3501 2.3.2") {
    Cursor good("(\\seen $Work \\Draft)");
    const auto flags = take_flag_list(good);
    REQUIRE(flags.has_value());
    CHECK(flags->system == (kSeen | kDraft));
    CHECK(flags->keywords == std::vector<std::string>{"$Work"});
    for (const std::string_view bad : {"(\\Recent)", "(\\Foo)", "(\\*)", "(a", "(a  b", "(a,\"b\")"}) {
        CAPTURE(bad);
        Cursor in(bad);
        CHECK_FALSE(take_flag_list(in).has_value());
    }
}
