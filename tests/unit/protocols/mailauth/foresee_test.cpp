// What DMARC will say at the receiver: only what the DNS says for certain counts against a message.
#include "protocols/mailauth/foresee.h"

#include <doctest/doctest.h>

#include "tests/support/loop_runner.h"
#include "tests/support/zone_resolver.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

constexpr const char* kRecord = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
constexpr const char* kOther = "v=DKIM1; k=ed25519; p=21qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
constexpr const char* kKeyName = "s1._domainkey.a.example";

ForeseeQuestion usual() {
    ForeseeQuestion out;
    out.author_domain = "a.example";
    out.envelope_domain = "a.example";
    out.helo = "mail.a.example";
    out.keys.push_back({"a.example", "s1", kRecord});
    out.from_addresses = std::vector{net::IpAddress::parse("192.0.2.1").value()};
    return out;
}

ForeseeAnswer ask(test::ZoneResolver& zone, ForeseeQuestion question) {
    net::Loop loop;
    return test::run_task(loop, foresee_dmarc(zone, std::move(question)));
}

}  // namespace

TEST_CASE("p=reject without DKIM record and without SPF: refused, and the sentence says what to do") {
    test::ZoneResolver zone;
    zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
    const ForeseeAnswer got = ask(zone, usual());
    CHECK(got.what == Foresight::refused);
    CHECK(
        got.sentence ==
        "DMARC of a.example asks receivers to reject this: the DKIM record s1._domainkey.a.example is not in the DNS, "
        "and the SPF record of a.example does not name this server. Publish what \"posthouse domain records "
        "a.example\" shows");
}

TEST_CASE("one of the two supports is enough") {
    test::ZoneResolver zone;
    zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
    zone.add("a.example", "TXT", "v=spf1 ip4:192.0.2.1 -all");
    const ForeseeAnswer by_spf = ask(zone, usual());
    CHECK(by_spf.what == Foresight::weak);
    CHECK(by_spf.sentence.find("s1._domainkey.a.example") != std::string::npos);
    test::ZoneResolver signed_zone;
    signed_zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
    signed_zone.add(kKeyName, "TXT", kRecord);
    CHECK(ask(signed_zone, usual()).what == Foresight::passes);
}

TEST_CASE("another key under our selector is no support; p=none has no consequence") {
    test::ZoneResolver zone;
    zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=quarantine");
    zone.add(kKeyName, "TXT", kOther);
    CHECK(ask(zone, usual()).what == Foresight::refused);
    test::ZoneResolver milder;
    milder.add("_dmarc.a.example", "TXT", "v=DMARC1; p=none");
    CHECK(ask(milder, usual()).what == Foresight::weak);
    test::ZoneResolver nothing;
    CHECK(ask(nothing, usual()).what == Foresight::weak);
}

TEST_CASE("what is not known is in the message's favour") {
    SUBCASE("the DNS fails for the key") {
        test::ZoneResolver zone;
        zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
        zone.fail(kKeyName, "");
        CHECK(ask(zone, usual()).what == Foresight::passes);
    }
    SUBCASE("the DNS fails for SPF") {
        test::ZoneResolver zone;
        zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
        zone.fail("a.example", "");
        CHECK(ask(zone, usual()).what != Foresight::refused);
    }
    SUBCASE("the DNS fails for DMARC") {
        test::ZoneResolver zone;
        zone.fail("_dmarc.a.example", "");
        CHECK(ask(zone, usual()).what != Foresight::refused);
    }
    SUBCASE("a smarthost sends from addresses of its own") {
        test::ZoneResolver zone;
        zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
        ForeseeQuestion question = usual();
        question.from_addresses.reset();
        CHECK(ask(zone, question).what != Foresight::refused);
    }
}

TEST_CASE("strict alignment: a parent's signature does not help a subdomain") {
    test::ZoneResolver zone;
    zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject; adkim=s; aspf=s");
    zone.add(kKeyName, "TXT", kRecord);
    ForeseeQuestion question = usual();
    question.author_domain = "news.a.example";
    question.envelope_domain = "a.example";
    const ForeseeAnswer got = ask(zone, question);
    CHECK(got.what == Foresight::refused);
    CHECK(got.sentence.find("the DKIM signature is not of news.a.example") != std::string::npos);
}
