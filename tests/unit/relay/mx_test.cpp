#include "relay/mx.h"

#include <doctest/doctest.h>

#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

namespace posthouse::relay {
namespace {

// "mx1 mx2" in order, or the enhanced code of the verdict.
std::string plan(test::FakeResolver& resolver, std::string domain) {
    net::Loop loop;
    const MxAnswer answer = test::run_task(loop, plan_mx(resolver, domain, "own.example", system_random()));
    if (const auto* verdict = std::get_if<Verdict>(&answer)) {
        CHECK((verdict->fate == Fate::failed) == verdict->enhanced.starts_with('5'));
        return verdict->enhanced;
    }
    std::string out;
    for (const MxHost& host : std::get<MxPlan>(answer).hosts) {
        out += (out.empty() ? "" : " ") + (host.name.empty() ? host.addresses.front().to_string() : host.name);
    }
    return out;
}

}  // namespace

TEST_CASE("S59, RFC 5321 5.1, RFC 7505: which hosts take the mail of a domain") {
    test::FakeResolver resolver;
    resolver.add_mx("null.example", 0, "");
    resolver.add_mx("two.example", 20, "b.two.example");
    resolver.add_mx("two.example", 10, "A.two.example");
    resolver.add_a("implicit.example", "192.0.2.7");
    resolver.add_mx("backup.example", 10, "first.example");
    resolver.add_mx("backup.example", 20, "OWN.example");
    resolver.add_mx("backup.example", 20, "peer.example");
    resolver.add_mx("backup.example", 30, "last.example");
    resolver.add_mx("loop.example", 10, "own.example");
    resolver.add_mx("loop.example", 20, "last.example");
    resolver.add_txt("empty.example", "no mail");
    resolver.add_mx("mixed.example", 0, "");
    resolver.add_mx("mixed.example", 10, "real.example");
    resolver.set_failure("broken.example", Errc::dns_temporary);
    resolver.set_failure("bogus.example", Errc::dns_bogus);
    CHECK(plan(resolver, "null.example") == "5.1.10");
    CHECK(plan(resolver, "two.example") == "a.two.example b.two.example");
    CHECK(plan(resolver, "implicit.example") == "implicit.example");
    CHECK(plan(resolver, "backup.example") == "first.example");
    CHECK(plan(resolver, "loop.example") == "5.4.6");
    CHECK(plan(resolver, "empty.example") == "5.1.2");
    CHECK(plan(resolver, "nowhere.example") == "5.1.2");
    CHECK(plan(resolver, "mixed.example") == "real.example");
    CHECK(plan(resolver, "broken.example") == "4.4.3");
    CHECK(plan(resolver, "bogus.example") == "4.4.3");
    CHECK(plan(resolver, "[192.0.2.1]") == "192.0.2.1");
    CHECK(plan(resolver, "[IPv6:2001:db8::1]") == "2001:db8::1");
    CHECK(plan(resolver, "[nonsense]") == "5.1.2");
}

TEST_CASE("hosts of one preference come in any order, but never before a better one") {
    std::vector<dns::MxRecord> records;
    for (const char c : std::string_view("abcd")) records.push_back({10, std::string(1, c) + ".example"});
    records.push_back({5, "best.example"});
    bool varied = false;
    for (int i = 0; i < 64; ++i) {
        const auto answer = order_mx(records, "d.example", "own.example", system_random());
        const MxPlan& plan = std::get<MxPlan>(answer);
        CHECK(plan.hosts.front().name == "best.example");
        CHECK(plan.site == "a.example b.example best.example c.example d.example ");
        varied = varied || plan.hosts[1].name != "a.example";
    }
    CHECK(varied);
}

}  // namespace posthouse::relay
