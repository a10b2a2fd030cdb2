// DMARC: policies, alignment and the tree walk of RFC 9989.
#include "protocols/mailauth/dmarc.h"

#include <doctest/doctest.h>

#include "protocols/mime/idna.h"
#include "tests/support/loop_runner.h"
#include "tests/support/zone_resolver.h"

using namespace posthouse;
using namespace posthouse::mailauth;
using test::Json;

namespace {

void fill(test::ZoneResolver& zone, const Json& names) {
    for (const auto& [name, types] : names.members) {
        if (types.is_string()) zone.fail(name, "");
        for (const auto& [type, values] : types.members) {
            for (const Json& value : values.items) {
                std::string text = value.text;
                for (const Json& part : value.items) text += part.text;
                zone.add(name, type, text);
            }
        }
    }
}

void check_case(const Json& c) {
    CAPTURE(c["id"].text);
    test::ZoneResolver zone;
    fill(zone, c["zone"]);
    DmarcQuestion question;
    if (c["from"].text != "null") question.author_domain = author_domain(c["from"].text);
    if (c["spf"]["result"].text == "pass") question.spf_domain = c["spf"]["domain"].text;
    for (const Json& one : c["dkim"].items) {
        if (one["result"].text == "pass") question.dkim_domains.push_back(one["d"].text);
    }
    net::Loop loop;
    const DmarcAnswer got = test::run_task(loop, check_dmarc(zone, question));
    const Json& wanted = c["expect"];
    CHECK(to_string(got.result) == wanted["result"].text);
    const auto same = [&](std::string_view key, std::string_view value) {
        CAPTURE(key);
        if (wanted.has(key)) CHECK(value == wanted[key].text);
    };
    const DmarcFound found = got.found.value_or(DmarcFound());
    same("policy", to_string(found.policy));
    same("disposition", to_string(found.disposition));
    same("policy_domain", found.policy_domain);
    same("org_domain", found.org_domain);
    same("spf_aligned", got.spf_aligned ? "true" : "false");
    same("dkim_aligned", got.dkim_aligned ? "true" : "false");
    const auto& queries = wanted["queries_author_walk"].items;
    for (std::size_t i = 0; i < queries.size(); ++i) {
        REQUIRE(i < zone.asked_txt().size());
        CHECK(zone.asked_txt()[i] == queries[i].text);
    }
}

}  // namespace

TEST_CASE("the cases of policy and alignment") {
    const std::string folder = test::conformance_folder();
    const Json file = folder.empty() ? Json() : test::load_yaml(folder + "/dmarc-cases/dmarc-cases.yml");
    if (!file.is_array()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    CHECK(file[0]["cases"].items.size() == 52);
    for (const Json& c : file[0]["cases"].items) check_case(c);
}

TEST_CASE("a walk asks eight times at most, whatever the name") {
    test::ZoneResolver zone;
    std::string name = "example.com";
    for (int i = 0; i < 100; ++i) name = "a." + name;
    net::Loop loop;
    const auto walk = test::run_task(loop, walk_dmarc(zone, name));
    REQUIRE(walk);
    CHECK(zone.asked_txt().size() == kDmarcQueriesMax);
    CHECK(walk->org_domain == name);
}

TEST_CASE("names of other trees cost no questions") {
    test::ZoneResolver zone;
    zone.add("_dmarc.example.com", "TXT", "v=DMARC1; p=reject");
    DmarcQuestion question;
    question.author_domain = "example.com";
    question.dkim_domains = {"a.example.net", "b.example.net", "notexample.com"};
    net::Loop loop;
    const DmarcAnswer got = test::run_task(loop, check_dmarc(zone, question));
    CHECK(got.result == DmarcResult::fail);
    CHECK(zone.asked_txt().size() == 2);  // _dmarc.example.com, _dmarc.com
}

TEST_CASE("the author's domain: one of one From field") {
    CHECK(author_domain_of("From: Bob <bob@B.Example>\r\n\r\n") == "b.example");
    CHECK(author_domain_of("From: bob@b.example\r\nFrom: eve@c.example\r\n\r\n").empty());
    CHECK(author_domain_of("Subject: x\r\n\r\n").empty());
    CHECK(author_domain("a@b.example, c@b.example") == "b.example");
    CHECK(author_domain("a@[192.0.2.1]").empty());
    CHECK(author_domain("a@\"b.example; dmarc=pass\"").empty());
    CHECK(mime::domain_to_ascii("B\xC3\x9C"
                                "cher.example")
              .value_or("") == "xn--bcher-kva.example");
    CHECK_FALSE(mime::domain_to_ascii("").has_value());
}
