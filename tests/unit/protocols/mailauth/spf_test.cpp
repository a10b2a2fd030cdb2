// SPF: the whole suite of RFC 7208, and what it leaves open.
#include "protocols/mailauth/spf.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/loop_runner.h"
#include "tests/support/zone_resolver.h"

using namespace posthouse;
using namespace posthouse::mailauth;
using test::Json;

namespace {

// The zone of one scenario, as the suite's README says.
void add_records(test::ZoneResolver& zone, const std::string& name, const Json& records) {
    bool own_txt = false;
    for (const Json& record : records.items) own_txt = own_txt || record.has("TXT");
    std::vector<std::string> generated;
    for (const Json& record : records.items) {
        if (!record.is_object()) {
            zone.fail(name, "");
            continue;
        }
        const auto& [type, value] = record.members.front();
        std::string text = value.text;
        for (const Json& part : value.items) text += part.text;
        if (value.text == "TIMEOUT") {
            zone.fail(name, type);
        } else if (type == "MX") {
            zone.add_mx(name, static_cast<std::uint16_t>(ascii::parse_number(value[0].text).value_or(0)),
                        value[1].text);
        } else if (type == "SPF") {
            if (!own_txt) generated.push_back(text);
        } else if (text != "NONE" || type != "TXT") {
            zone.add(name, type, text);
        }
    }
    for (const std::string& text : generated) zone.add(name, "TXT", text);
}

bool is_expected(const Json& wanted, std::string_view got) {
    if (wanted.is_string()) return ascii::equals_ci(wanted.text, got);
    return std::ranges::any_of(wanted.items, [&](const Json& one) { return ascii::equals_ci(one.text, got); });
}

SpfAnswer ask(dns::Resolver& resolver, std::string_view client, std::string helo, std::string mail_from) {
    net::Loop loop;
    SpfQuestion question;
    question.client = net::IpAddress::parse(client).value();
    question.helo = std::move(helo);
    question.mail_from = std::move(mail_from);
    return test::run_task(loop, check_spf(resolver, std::move(question)));
}

}  // namespace

TEST_CASE("the suite of RFC 7208") {
    const std::string folder = test::conformance_folder();
    const Json scenarios = folder.empty() ? Json() : test::load_yaml(folder + "/spf-rfc7208/rfc7208-tests.yml");
    if (!scenarios.is_array()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    std::size_t count = 0;
    for (const Json& scenario : scenarios.items) {
        test::ZoneResolver zone;
        for (const auto& [name, records] : scenario["zonedata"].members) add_records(zone, name, records);
        for (const auto& [name, wanted] : scenario["tests"].members) {
            ++count;
            const std::string label = scenario["description"].text + ": " + name;
            CAPTURE(label);
            const SpfAnswer got = ask(zone, wanted["host"].text, wanted["helo"].text, wanted["mailfrom"].text);
            CAPTURE(got.reason);
            CAPTURE(to_string(got.result));
            CHECK(is_expected(wanted["result"], to_string(got.result)));
            const std::string explanation = wanted["explanation"].text == "DEFAULT" ? "" : wanted["explanation"].text;
            if (wanted.has("explanation")) CHECK(got.explanation == explanation);
        }
    }
    CHECK(count == 203);
}

TEST_CASE("the answer says why, in one sentence") {
    test::ZoneResolver zone;
    zone.add("a.example", "TXT", "v=spf1 ip4:192.0.2.0/24 -all");
    zone.add("b.example", "TXT", "v=spf1 ip4:192.0.2.0/33 -all");
    CHECK(ask(zone, "192.0.2.9", "h.example", "bob@a.example").reason ==
          "\"ip4:192.0.2.0/24\" in the SPF record of a.example");
    CHECK(ask(zone, "198.51.100.1", "h.example", "bob@a.example").reason == "\"-all\" in the SPF record of a.example");
    const SpfAnswer wrong = ask(zone, "192.0.2.9", "h.example", "bob@b.example");
    CHECK(wrong.result == SpfResult::permerror);
    CHECK(wrong.reason ==
          "the SPF record of b.example is wrong at \"ip4:192.0.2.0/33\": the prefix length is too large");
    const SpfAnswer null_sender = ask(zone, "192.0.2.9", "a.example", "");
    CHECK(null_sender.of_helo);
    CHECK(null_sender.result == SpfResult::pass);
}

TEST_CASE("an endless chain of records ends at ten questions") {
    test::ZoneResolver zone;
    zone.add("a.example", "TXT", "v=spf1 include:a.example -all");
    zone.add("b.example", "TXT", "v=spf1 redirect=b.example");
    CHECK(ask(zone, "192.0.2.9", "h.example", "bob@a.example").result == SpfResult::permerror);
    CHECK(zone.asked_txt().size() <= kSpfLookupsMax + 1);
    CHECK(ask(zone, "192.0.2.9", "h.example", "bob@b.example").result == SpfResult::permerror);
}

TEST_CASE("what is no SPF record is an error, however short") {
    for (const char* text : {"", "v", "v=spf", "vOsp", "v=spf10 -all"}) {
        CAPTURE(text);
        CHECK_FALSE(mailauth::parse_spf_record(text));
    }
}
