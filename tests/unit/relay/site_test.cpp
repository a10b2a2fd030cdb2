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
    const DomainPlan stray = plan_of("c.example", {{1, "aspmx.l.google.com"}, {50, "old.c.example"}});
    CHECK(a.site == "google");
    CHECK(b.site == a.site);
    CHECK(stray.site == a.site);
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

TEST_CASE("of two hosts that are equally good the name decides, whatever order they come in") {
    for (int i = 0; i < 20; ++i) {
        CHECK(plan_of("a.example", {{10, "mx.own.example"}, {10, "aspmx.l.google.com"}}).site == "google");
        CHECK(plan_of("a.example", {{10, "aa.own.example"}, {10, "aspmx.l.google.com"}}).provider == nullptr);
    }
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
