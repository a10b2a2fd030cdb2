#include "admin/dns/records.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace posthouse::admin {
namespace {

DomainFacts facts_of(std::string relay_host) {
    DomainFacts facts;
    facts.domain = "example.org";
    facts.hostname = "mail.example.org";
    facts.keys = {{"r202611", "v=DKIM1; k=rsa; p=" + std::string(392, 'A')}, {"e202611", "v=DKIM1; k=ed25519; p=BBBB"}};
    if (!relay_host.empty()) facts.relays.push_back({std::move(relay_host)});
    return facts;
}

DnsRecord record(std::string type, std::string value) {
    return {"example.org", std::move(type), std::move(value), Need::required, ""};
}

}  // namespace

TEST_CASE("a domain needs MX, SPF, both keys and DMARC; a known relay joins SPF") {
    const auto count = [](const std::vector<DnsRecord>& all, std::string_view start) {
        return std::ranges::count_if(all, [&](const DnsRecord& r) { return r.value.starts_with(start); });
    };
    const auto direct = expected_records(facts_of(""));
    CHECK(count(direct, "10 mail.example.org.") == 1);
    CHECK(count(direct, "v=spf1 mx ~all") == 1);
    CHECK(count(direct, "v=DKIM1") == 2);
    CHECK(count(direct, "v=DMARC1") == 1);
    CHECK(count(expected_records(facts_of("smtp.eu.mailgun.org")), "v=spf1 mx include:mailgun.org ~all") == 1);
    CHECK(count(expected_records(facts_of("notmailgun.org")), "v=spf1 mx ~all") == 1);
}

TEST_CASE("a domain that only signs needs its keys, this host in its SPF, and nothing that would move its mail here") {
    DomainFacts facts = facts_of("");
    facts.is_hosted = false;
    std::vector<std::string> seen;
    for (const DnsRecord& record : expected_records(facts)) {
        CHECK(record.type != "MX");
        CHECK(record.type != "SRV");
        CHECK(!record.value.starts_with("v=TLSRPT"));
        if (record.value.starts_with("v=spf1") && record.name == facts.domain) {
            CHECK(record.value == "v=spf1 a:mail.example.org ~all");
            CHECK(record.why == "this host may send; where a record is there, add only a:mail.example.org to it");
            // With the provider's own it is as good.
            const std::vector<std::string> theirs = {"v=spf1 include:_spf.example.net a:mail.example.org -all"};
            CHECK(judge_record(record, theirs).status == RecordStatus::good);
            seen.emplace_back("spf");
        }
        if (record.value.starts_with("v=DKIM1")) seen.emplace_back("key");
        if (record.value.starts_with("v=DMARC1")) seen.emplace_back("dmarc");
    }
    CHECK(seen == std::vector<std::string>{"spf", "key", "key", "dmarc"});
}

TEST_CASE("SPF names every relay of the route: by its preset, else by its host; of the others it is said") {
    DomainFacts facts = facts_of("smtp.eu.mailgun.org");
    facts.relays.push_back({"tunnel.example.org", "include:spf.protection.outlook.com"});
    facts.relays.push_back({"smtp.eu.mailgun.org", "include:mailgun.org"});
    facts.relays.push_back({"relay.example.net"});
    const auto all = expected_records(facts);
    const auto spf = std::ranges::find_if(all, [](const DnsRecord& r) { return r.value.starts_with("v=spf1"); });
    REQUIRE(spf != all.end());
    CHECK(spf->value == "v=spf1 mx include:mailgun.org include:spf.protection.outlook.com ~all");
    CHECK(spf->why ==
          "this host and smtp.eu.mailgun.org and tunnel.example.org may send; add the include: that relay.example.net "
          "asks for, if any; all of it may cost ten lookups at most (RFC 7208 4.6.4)");
}

TEST_CASE("a policy that is served has its records, and the id there must be the one of now (RFC 8461 3.1)") {
    DomainFacts facts = facts_of("");
    const auto named = [](const std::vector<DnsRecord>& all, std::string_view name) {
        return std::ranges::find(all, name, &DnsRecord::name);
    };
    auto records = expected_records(facts);
    CHECK(named(records, "_mta-sts.example.org") == records.end());
    const auto report = named(records, "_smtp._tls.example.org");
    REQUIRE(report != records.end());
    CHECK(report->value == "v=TLSRPTv1; rua=mailto:postmaster@example.org");
    CHECK(judge_record(*report, {"v=TLSRPTv1;rua=https://r.test/x"}).status == RecordStatus::good);
    CHECK(judge_record(*report, {"v=TLSRPTv1;"}).status == RecordStatus::different);
    CHECK(judge_record(*report, {}).status == RecordStatus::missing);
    facts.sts_id = "20261129";
    records = expected_records(facts);
    const auto sts = named(records, "_mta-sts.example.org");
    REQUIRE(sts != records.end());
    CHECK(named(records, "mta-sts.example.org") != records.end());
    CHECK(judge_record(*sts, {"v=STSv1; id=20261129;"}).status == RecordStatus::good);
    CHECK(judge_record(*sts, {"v=STSv1; id=20261128;"}).status == RecordStatus::different);
    CHECK(judge_record(*sts, {"v=spf1 -all"}).status == RecordStatus::missing);
    CHECK(judge_record(*named(records, "mta-sts.example.org"), {}).status == RecordStatus::missing);
}

TEST_CASE("RFC 1035 3.3: a long text is split into strings of at most 255 octets") {
    const std::string line = zone_line(record("TXT", std::string(600, 'x')));
    CHECK(line == "example.org. TXT \"" + std::string(255, 'x') + "\" \"" + std::string(255, 'x') + "\" \"" +
                      std::string(90, 'x') + "\"");
    CHECK(zone_line(record("TXT", "a\"b")) == "example.org. TXT \"a\\\"b\"");
    CHECK(zone_line(record("MX", "10 a.")) == "example.org. MX 10 a.");
}

TEST_CASE("what the DNS says is judged by meaning") {
    struct Case {
        DnsRecord wanted;
        std::vector<std::string> found;
        RecordStatus status;
    };
    const Case cases[] = {
        {record("MX", "10 mail.example.org."), {"20 other.", "5 MAIL.example.org."}, RecordStatus::good},
        {record("MX", "10 mail.example.org."), {"20 other."}, RecordStatus::different},
        {record("MX", "10 mail.example.org."), {}, RecordStatus::missing},
        {record("TXT", "v=spf1 mx ~all"), {"site=1", "v=spf1 mx a -all"}, RecordStatus::good},
        {record("TXT", "v=spf1 mx ~all"), {"v=spf1 a -all"}, RecordStatus::different},
        {record("TXT", "v=spf1 mx ~all"), {"v=spf1 mx -all", "v=spf1 -all"}, RecordStatus::different},
        {record("TXT", "v=spf1 mx ~all"), {"site=1"}, RecordStatus::missing},
        {record("TXT", "v=DKIM1; k=rsa; p=AB CD"), {"v=DKIM1; p=ABC D; t=s"}, RecordStatus::good},
        {record("TXT", "v=DKIM1; k=rsa; p=ABCD"), {"v=DKIM1; k=rsa; p="}, RecordStatus::different},
        {record("TXT", "v=DMARC1; p=none"), {"v=DMARC1; p=reject"}, RecordStatus::good},
        {record("TXT", "v=DMARC1; p=none"), {}, RecordStatus::missing},
    };
    for (const Case& c : cases) {
        CAPTURE(c.wanted.value);
        CAPTURE(c.found.size());
        CHECK(judge_record(c.wanted, c.found).status == c.status);
    }
}

TEST_CASE("the host of a relay URL") {
    CHECK(relay_host_of("smtp://user@smtp.example.net:587") == "smtp.example.net");
    CHECK(relay_host_of("smtps://a@b@host:465?name=x") == "host");
    CHECK(relay_host_of("smtp://[2001:db8::1]:587") == "2001:db8::1");
    CHECK(relay_host_of("direct").empty());
}

}  // namespace posthouse::admin
