#include "protocols/imap/search_return.h"

#include <doctest/doctest.h>

#include "protocols/imap/object_id.h"
#include "protocols/imap/search.h"

using namespace posthouse;
using namespace posthouse::imap;

TEST_CASE("RETURN: options, RFC 4466 2.6") {
    struct Case {
        std::string_view input;
        bool good;
        unsigned options;
        std::string_view rest;
    };
    constexpr Case kCases[] = {
        {"UNSEEN", true, 0, "UNSEEN"},
        {"RETURN () ALL", true, SearchReturn::kAll, "ALL"},
        {"return (min Max) ALL", true, SearchReturn::kMin | SearchReturn::kMax, "ALL"},
        {"RETURN (SAVE PARTIAL 2:1) ALL", true, SearchReturn::kSave | SearchReturn::kPartial, "ALL"},
        {"RETURN (ALL PARTIAL 2:1) ALL", false, 0, ""},
        {"RETURN (MIN", false, 0, ""},
        {"RETURN (MIN)ALL", false, 0, ""},
        {"RETURN (MIN)", false, 0, ""},
        {"RETURN (UPSIDE) ALL", false, 0, ""},
        {"RETURN MIN ALL", false, 0, ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto wanted = take_search_return(in);
        CHECK(wanted.has_value() == c.good);
        if (!wanted) continue;
        CHECK(wanted->options == c.options);
        CHECK(wanted->extended == (c.options != 0));
        CHECK(in.rest() == c.rest);
    }
}

TEST_CASE("PARTIAL counts from either end and never past it, RFC 9394 3.1") {
    struct Case {
        std::string_view range;
        std::string_view set;
    };
    constexpr Case kCases[] = {
        {"1:2", "10:11"},          {"2:1", "10:11"}, {"4:9", "13:14"},   {"6:7", ""},
        {"1:4294967295", "10:14"}, {"-1:-1", "14"},  {"-2:-1", "13:14"}, {"-4:-9", "10:11"},
        {"-6:-4294967295", ""},    {"5:5", "14"},
    };
    const std::vector<std::uint32_t> all = {10, 11, 12, 13, 14};
    for (const Case& c : kCases) {
        CAPTURE(c.range);
        Cursor in(c.range);
        const auto range = take_partial_range(in);
        REQUIRE(range.has_value());
        CHECK(range->text == c.range);
        CHECK(format_set(part_of(all, *range)) == c.set);
        CHECK(part_of({}, *range).empty());
    }
    for (const std::string_view bad : {"0:1", "1", "1:*", "-1:2", "1:-2", "--1:-2", "4294967296:1"}) {
        CAPTURE(bad);
        Cursor in(bad);
        CHECK_FALSE(take_partial_range(in).has_value());
    }
}

TEST_CASE("what is kept for $, RFC 5182 2.4 and RFC 9394 3.2") {
    struct Case {
        std::string_view options;
        std::string_view kept;
    };
    constexpr Case kCases[] = {
        {"SAVE", "2,10:15,21"},
        {"SAVE MIN", "2"},
        {"SAVE MAX", "21"},
        {"SAVE MIN MAX", "2,21"},
        {"SAVE MIN COUNT", "2,10:15,21"},
        {"SAVE ALL MAX", "2,10:15,21"},
        {"SAVE PARTIAL 2:3", "10:11"},
        {"SAVE PARTIAL 1:2 MIN", "2,10"},
        {"SAVE PARTIAL 2:3 MIN MAX", "2,10:11,21"},
        {"SAVE PARTIAL 2:3 COUNT", "2,10:15,21"},
    };
    const std::vector<std::uint32_t> found = {2, 10, 11, 12, 13, 14, 15, 21};
    for (const Case& c : kCases) {
        CAPTURE(c.options);
        const std::string text = "RETURN (" + std::string(c.options) + ") ALL";
        Cursor in(text);
        const auto wanted = take_search_return(in);
        REQUIRE(wanted.has_value());
        CHECK(format_set(kept_of(found, *wanted)) == c.kept);
        CHECK(kept_of({}, *wanted).empty());
    }
}

TEST_CASE("a million results are written as their runs") {
    std::vector<std::uint32_t> all;
    for (std::uint32_t n = 1; n <= 1'000'000; ++n) all.push_back(n);
    CHECK(format_set(all) == "1:1000000");
    all = {4294967294, 4294967295, 1, 3, 2};
    CHECK(format_set(all) == "4294967294:4294967295,1,3,2");
    CHECK(format_set({}) == "");
}

TEST_CASE("\"$\" stands alone and means the UIDs that were saved, RFC 5182 3") {
    const std::vector<SequenceSet::Range> saved = {{20, 29}};
    const auto run = [&](std::string_view text) {
        Cursor in(text);
        auto program = take_search_program(in);
        REQUIRE(program.has_value());
        resolve_sets(*program, SearchView{.exists = 3, .uid_max = 30, .now_s = 1000, .last_result = saved});
        SearchMessage message;
        message.number = 2;
        message.uid = 20;
        message.internal_date_s = 900;
        return judge(*program, message);
    };
    CHECK(run("$") == Match::yes);
    CHECK(run("UID $") == Match::yes);
    CHECK(run("NOT $") == Match::no);
    CHECK(run("OR 3 ($)") == Match::yes);
    CHECK(run("YOUNGER 100") == Match::yes);  // both ends belong to it: RFC 5032 2
    CHECK(run("YOUNGER 99") == Match::no);
    CHECK(run("OLDER 100") == Match::yes);
    CHECK(run("OLDER 101") == Match::no);
    CHECK(run("SAVEDON 1-Jan-1970") == Match::unknown);
    CHECK(run("THREADID T1") == Match::no);
    Cursor mixed("$,1");
    const auto set = take_sequence_set(mixed);
    CHECK((set.has_value() && set->last_result && mixed.rest() == ",1"));
}

TEST_CASE("sets at the top bound what is looked at") {
    const auto span = [](std::string_view text) {
        Cursor in(text);
        auto program = take_search_program(in);
        REQUIRE(program.has_value());
        resolve_sets(*program, SearchView{.exists = 9, .uid_max = 90, .now_s = 0, .last_result = {}});
        return span_of(*program);
    };
    CHECK(span("3:5,7 2:6 UNSEEN").numbers == SequenceSet::Range{3, 6});
    CHECK(span("UID 20:30 1:*").uids == SequenceSet::Range{20, 30});
    CHECK(span("OR 3 4").numbers.last == 4294967295);
    CHECK(span("$").uids.last == 0);
}

TEST_CASE("an EMAILID is ours in one spelling only, RFC 8474 4") {
    CHECK(format_email_id(255) == "Mff");
    CHECK(parse_email_id("Mff") == 255);
    for (const std::string_view bad : {"", "M", "ff", "mff", "MFF", "M0ff", "Mffffffffffffffffff", "Mfg", "M-1"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_email_id(bad).has_value());
    }
}

TEST_CASE("a program that outlives an EXPUNGE knows UIDs only, and can be asked of some messages, RFC 5267 4.3") {
    Cursor in("OR 2:3 SEEN");
    auto program = take_search_program(in);
    REQUIRE(program.has_value());
    resolve_sets(*program, SearchView{.exists = 3, .uid_max = 30, .now_s = 0, .last_result = {}});
    fix_numbers(*program, 3, [](std::uint32_t number) { return number * 10; });
    SearchMessage message;
    message.number = 1;  // 2 was expunged before it
    message.uid = 30;
    CHECK(judge(*program, message) == Match::yes);
    const SearchProgram of_some = restricted(*program, {{10, 20}});
    CHECK(judge(of_some, message) == Match::no);
    CHECK(span_of(of_some).uids == SequenceSet::Range{10, 20});
    message.uid = 20;
    CHECK(judge(of_some, message) == Match::yes);
}
