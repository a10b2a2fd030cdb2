#include "relay/site.h"

#include <doctest/doctest.h>

namespace posthouse::relay {
namespace {

DomainPlan plan_of(std::string domain, std::vector<dns::MxRecord> records) {
    auto answer = order_mx(std::move(records), domain, "own.example", system_random());
    return make_plan(std::move(domain), std::move(answer));
}

}  // namespace

TEST_CASE("domains of one provider are one site, whatever their hosts are called") {
    const DomainPlan a = plan_of("a.example", {{1, "aspmx.l.google.com"}, {5, "alt1.aspmx.l.google.com"}});
    const DomainPlan b = plan_of("b.example", {{1, "SMTP.google.com"}});
    CHECK(a.site == "google");
    CHECK(b.site == a.site);
    CHECK(b.takes("aspmx.l.google.com"));  // any of their hosts takes all their domains
    CHECK(smtp::provider_of("notgoogle.com") == nullptr);
    CHECK(smtp::provider_of("google.com.evil.example") == nullptr);
}

TEST_CASE("tenants of Microsoft 365 share a site, but not each other's hosts") {
    const DomainPlan a = plan_of("a.example", {{0, "a-example.mail.protection.outlook.com"}});
    const DomainPlan b = plan_of("b.example", {{0, "b-example.mail.protection.outlook.com"}});
    CHECK(a.site == b.site);
    CHECK(a.takes("A-example.mail.protection.outlook.com"));
    CHECK_FALSE(b.takes("a-example.mail.protection.outlook.com"));
}

TEST_CASE("everybody else: the same hosts are the same site, in any order and preference") {
    const DomainPlan a = plan_of("a.example", {{10, "mx1.host.example"}, {20, "mx2.host.example"}});
    const DomainPlan b = plan_of("b.example", {{5, "mx2.host.example"}, {5, "mx1.host.example"}});
    const DomainPlan c = plan_of("c.example", {{5, "mx2.host.example"}});
    CHECK(a.site == b.site);
    CHECK(a.site != c.site);
    CHECK(c.provider == nullptr);
}

TEST_CASE("who puts a host of his own beside a provider's does not speak for the provider") {
    for (const std::uint16_t preference : std::initializer_list<std::uint16_t>{0, 1, 50}) {
        const DomainPlan one =
            plan_of("c.example", {{1, "aspmx.l.google.com"}, {preference, "mx.c.example"}, {60, "smtp.google.com"}});
        CAPTURE(preference);
        CHECK(one.provider == nullptr);
        CHECK(one.site == "aspmx.l.google.com mx.c.example smtp.google.com ");
    }
    const DomainPlan two = plan_of("d.example", {{1, "aspmx.l.google.com"}, {2, "mx00.t-online.de"}});
    CHECK(two.provider == nullptr);
}

TEST_CASE("a customer's machine is not his provider's mail server: it gets no mail of the provider's other customers") {
    struct Case {
        std::string_view machine;  ///< its owner gets its address, and may name it as his MX
        std::string server;
        std::string_view provider;
    };
    const Case cases[] = {
        {"vps-0a1b2c3d.vps.ovh.net", "mx1.mail.ovh.net", "ovh"},
        {"ns3001234.ovh.net", "mx2.ovh.net", "ovh"},
        {"c-203-0-113-9.hsd1.ca.comcast.net", "mx1.comcast.net", "comcast"},
        {"attacker.hd.free.fr", "mx1.free.fr", "free"},
        {"lfbn-1-2-3.w90-1.abo.wanadoo.fr", "smtp-in.orange.fr", "orange"},
        {"www.google.com", "aspmx.l.google.com", "google"},  // answers nobody on port 25
        {"ghs.l.google.com", "alt4.aspmx.l.google.com", "google"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.machine);
        const DomainPlan plan = plan_of("a.example", {{10, one.server}});
        REQUIRE(plan.provider != nullptr);
        CHECK(plan.provider->name == one.provider);
        CHECK(plan.takes(one.server));
        CHECK(smtp::provider_of(one.machine) == nullptr);
        CHECK_FALSE(plan.takes(one.machine));
    }
    CHECK(smtp::provider_of("mx1.evil.comcast.net") == nullptr);  // a star is within a label
    CHECK(smtp::provider_of("mx.comcast.net") != nullptr);
    CHECK(smtp::provider_of("MX00.EMIG.GMX.NET") != nullptr);
    CHECK(smtp::provider_of("comcast.net") == nullptr);
}

TEST_CASE("the cache of plans forgets with time, and the oldest first where it is full") {
    PlanCache cache;
    const Time start = from_unix_ms(1'764'000'000'000);
    DomainPlan good = plan_of("a.example", {{10, "mx.a.example"}});
    DomainPlan bad;
    bad.domain = "bad.example";
    bad.refusal = Verdict(Fate::failed, "5.1.2", "no such domain");
    cache.keep(std::make_shared<const DomainPlan>(good), start);
    cache.keep(std::make_shared<const DomainPlan>(bad), start);
    CHECK(cache.find("a.example", start + std::chrono::minutes(4)) != nullptr);
    CHECK(cache.find("a.example", start + std::chrono::minutes(5)) == nullptr);
    CHECK(cache.find("bad.example", start + std::chrono::seconds(59)) != nullptr);
    CHECK(cache.find("bad.example", start + std::chrono::seconds(60)) == nullptr);
    for (std::size_t i = 0; i < kPlansMax; ++i) {
        DomainPlan filler;
        filler.domain = "d" + std::to_string(i);
        cache.keep(std::make_shared<const DomainPlan>(std::move(filler)), start);
    }
    CHECK(cache.size() == kPlansMax);
    CHECK(cache.find("a.example", start) == nullptr);
    CHECK(cache.find("d0", start) != nullptr);
}

}  // namespace posthouse::relay
