#include "protocols/policy/mta_sts.h"

#include <doctest/doctest.h>

namespace posthouse::policy {

namespace {

struct RecordCase {
    std::vector<std::string> texts;
    std::string id;  // "" for an error
    Errc code = Errc::invalid;
};

std::string policy_with(std::string_view replaced, std::string_view by) {
    std::string text = "version: STSv1\r\nmode: enforce\r\nmx: mail.b.test\r\nmax_age: 604800\r\n";
    const std::size_t at = text.find(replaced);
    if (!replaced.empty()) text.replace(at, replaced.size(), by);
    return text;
}

}  // namespace

TEST_CASE("RFC 8461 3.1: exactly one TXT record that begins with v=STSv1 and has an id") {
    const RecordCase cases[] = {
        {{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
        {{"v=STSv1;id=a"}, "a"},
        {{"v=STSv1 ; id=a"}, "a"},
        {{"v=spf1 -all", "v=STSv1; id=a;"}, "a"},
        {{"v=STSv1; x-y=z; id=a; id=b"}, "a"},
        {{"v=STSv2; id=a"}, "", Errc::not_found},
        {{}, "", Errc::not_found},
        {{"v=STSv1"}, "", Errc::not_found},
        {{"v=stsv1; id=a"}, "", Errc::not_found},
        {{"v=STSv1; id=a", "v=STSv1; id=a"}, ""},
        {{"v=STSv1;"}, ""},
        {{"v=STSv1; id="}, ""},
        {{"v=STSv1; id=a-b"}, ""},
        {{"v=STSv1; id=" + std::string(33, 'a')}, ""},
        {{"v=STSv1; id"}, ""},
        {{"v=STSv1;; id=a"}, ""},
    };
    for (const RecordCase& c : cases) {
        CAPTURE(c.texts.empty() ? "" : c.texts.front());
        const auto id = parse_sts_record(c.texts);
        CHECK(id.has_value() == !c.id.empty());
        if (id) CHECK(*id == c.id);
        if (!id) CHECK(id.error().code == c.code);
    }
    CHECK(parse_sts_record(std::vector{format_sts_record("20261129T0419")}).value() == "20261129T0419");
}

TEST_CASE("RFC 8461 3.2: a policy has its fields once; what is not known is passed over") {
    const auto policy = parse_sts_policy(policy_with("", ""));
    REQUIRE(policy.has_value());
    CHECK(policy->mode == StsMode::enforce);
    CHECK(policy->max_age.count() == 604800);
    CHECK(policy->mx == std::vector<std::string>{"mail.b.test"});
    CHECK(parse_sts_policy("version: STSv1\nmode: testing\nmx: *.B.test\nmx:c.test \nmax_age: 1")->mx.size() == 2);
    CHECK(parse_sts_policy("version: STSv1\nmode: none\nmax_age: 0\n").value().mode == StsMode::none);
    // The first of a repeated field counts, and a year at most.
    CHECK(parse_sts_policy(policy_with("mode: enforce", "mode: testing\nmode: enforce")).value().mode ==
          StsMode::testing);
    CHECK(parse_sts_policy(policy_with("604800", "9999999999")).value().max_age == kStsMaxAgeMax);
    CHECK(parse_sts_policy(policy_with("max_age", "x-thing: y z\nmax_age")).has_value());
    const std::pair<std::string_view, std::string_view> broken[] = {
        {"version: STSv1\r\n", ""}, {"mode: enforce\r\n", ""},
        {"max_age: 604800", ""},    {"mx: mail.b.test\r\n", ""},
        {"STSv1", "STSv2"},         {"enforce", "Enforce"},
        {"604800", "-1"},           {"604800", "12345678901"},
        {"mail.b.test", "*"},       {"mail.b.test", "mail.*.test"},
        {"mail.b.test", "a..test"}, {"mode: enforce", "<html>"},
    };
    for (const auto& [what, by] : broken) {
        CAPTURE(by);
        CHECK_FALSE(parse_sts_policy(policy_with(what, by)).has_value());
    }
    CHECK(parse_sts_policy(std::string(kStsPolicyOctetsMax + 1, '\n')).error().code == Errc::too_large);
    CHECK(format_sts_policy(*policy) == policy_with("", ""));
    CHECK(sts_policy_lines("a: b\r\n\r\nc: d \n") == std::vector<std::string>{"a: b", "c: d"});
}

TEST_CASE("RFC 8461 4.1: a wildcard stands for one label, on the left") {
    const std::vector<std::string> patterns{"mail.example.com", "*.example.net"};
    CHECK(sts_mx_matches(patterns, "mail.example.com"));
    CHECK(sts_mx_matches(patterns, "Mail.Example.com."));
    CHECK(sts_mx_matches(patterns, "a.example.net"));
    CHECK_FALSE(sts_mx_matches(patterns, "example.net"));
    CHECK_FALSE(sts_mx_matches(patterns, "a.b.example.net"));
    CHECK_FALSE(sts_mx_matches(patterns, ".example.net"));
    CHECK_FALSE(sts_mx_matches(patterns, "mail.example.com.evil.test"));
    CHECK_FALSE(sts_mx_matches(patterns, "badexample.net"));
    CHECK_FALSE(sts_mx_matches({}, "mail.example.com"));
}

}  // namespace posthouse::policy
