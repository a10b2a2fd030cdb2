#include "relay/tls_demand.h"

#include <doctest/doctest.h>

#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

namespace posthouse::relay {
namespace {

using policy::TlsResult;
using storage::TlsWish;

dns::TlsaRecord record(std::uint8_t usage, std::size_t octets = 32) {
    dns::TlsaRecord out;
    out.usage = usage;
    out.selector = 1;
    out.matching = 1;
    out.data = std::string(octets, 'x');
    return out;
}

StsPtr sts(policy::StsMode mode, std::vector<std::string> mx) {
    auto out = std::make_shared<StsInForce>();
    out->entry.domain = "b.test";
    out->entry.id = "1";
    out->policy.mode = mode;
    out->policy.mx = std::move(mx);
    out->policy.max_age = std::chrono::seconds(1000);
    out->entry.policy = policy::format_sts_policy(out->policy);
    return out;
}

struct Bench {
    Bench() {
        resolver.add_a("mx.b.test", "192.0.2.1");
        resolver.set_secure("mx.b.test");
        resolver.set_secure("_25._tcp.mx.b.test");
        demand.mx_secure = true;
    }
    HostTls find(const std::string& host = "mx.b.test", TlsWish wish = TlsWish::policy) {
        auto addresses = test::run_task(loop, resolver.addresses(host));
        REQUIRE(addresses);
        std::optional<dns::Answer<net::IpAddress>> answer = *addresses;
        return test::run_task(loop, find_host_tls(resolver, demand, wish, "b.test", host, 25, std::move(answer)));
    }

    net::Loop loop;
    test::FakeResolver resolver;
    TlsDemand demand;
};

net::TlsFacts facts(bool verified, bool dane = false) {
    net::TlsFacts out;
    out.peer_verified = verified;
    out.dane = dane;
    if (!verified) out.verify_error = "self-signed certificate";
    if (!verified) out.fault = net::CertificateFault::untrusted;
    return out;
}

}  // namespace

TEST_CASE("RFC 7672 2.2: validated MX, address and TLSA make DANE; one link less and there is none") {
    Bench bench;
    bench.resolver.add_tlsa("_25._tcp.mx.b.test", record(3));
    HostTls found = bench.find();
    CHECK(found.by == "DANE");
    CHECK(found.level == TlsLevel::verified);
    CHECK(found.peer.tlsa.size() == 1);
    CHECK(found.peer.server_name == "mx.b.test");
    CHECK(found.peer.other_names == std::vector<std::string>{"mx.b.test", "b.test"});
    CHECK(found.reported == policy::ReportedPolicy::tlsa);

    SUBCASE("the MX list is not validated") {
        bench.demand.mx_secure = false;
        found = bench.find();
        CHECK(bench.resolver.queries_for("_25._tcp.mx.b.test") == 1);  // only the one of the check above
    }
    SUBCASE("the addresses are not validated: TLSA is not even asked for") {
        bench.resolver.add_a("mx.c.test", "192.0.2.2");
        bench.resolver.add_tlsa("_25._tcp.mx.c.test", record(3));
        found = bench.find("mx.c.test");
        CHECK(bench.resolver.queries_for("_25._tcp.mx.c.test") == 0);
        CHECK(found.dane_looked);
    }
    SUBCASE("the TLSA answer is not validated") {
        bench.resolver.add_a("mx.d.test", "192.0.2.3");
        bench.resolver.set_secure("mx.d.test");
        bench.resolver.add_tlsa("_25._tcp.mx.d.test", record(3));
        found = bench.find("mx.d.test");
    }
    CHECK(found.by.empty());
    CHECK(found.level == TlsLevel::opportunistic);
    CHECK_FALSE(found.unusable);
}

TEST_CASE("RFC 7672 2.1.2: TLSA records that cannot be had make the host unusable, never clear text") {
    for (const Errc code : {Errc::dns_temporary, Errc::dns_bogus}) {
        Bench bench;
        bench.resolver.set_failure("_25._tcp.mx.b.test", code);
        const HostTls found = bench.find();
        REQUIRE(found.unusable);
        CHECK(found.unusable->fate == Fate::deferred);
        CHECK(found.unusable->reply.contains("nothing was sent"));
        CHECK(found.unusable_result == TlsResult::dnssec_invalid);
    }
}

TEST_CASE("RFC 7672 2.2: where no TLSA record can be used, TLS is demanded all the same, unchecked") {
    Bench bench;
    bench.resolver.add_tlsa("_25._tcp.mx.b.test", record(1));
    bench.resolver.add_tlsa("_25._tcp.mx.b.test", record(3, 31));
    const HostTls found = bench.find();
    CHECK(found.by == "DANE");
    CHECK(found.level == TlsLevel::encrypted);
    CHECK(found.peer.tlsa.empty());
    CHECK(judge(found, true, facts(false), "").result == TlsResult::tlsa_invalid);
}

TEST_CASE("RFC 7672 2.2.2: the end of the alias counts before the alias; a signed alias to anywhere still counts") {
    Bench bench;
    bench.resolver.add_a("real.test", "192.0.2.9");
    bench.resolver.set_secure("real.test");
    bench.resolver.add_cname("alias.test", "real.test");
    bench.resolver.set_secure("alias.test");
    bench.resolver.set_secure("_25._tcp.real.test");
    bench.resolver.set_secure("_25._tcp.alias.test");
    bench.resolver.add_tlsa("_25._tcp.alias.test", record(3));
    CHECK(bench.find("alias.test").peer.server_name == "alias.test");
    bench.resolver.add_tlsa("_25._tcp.real.test", record(3));
    CHECK(bench.find("alias.test").peer.server_name == "real.test");

    bench.resolver.add_a("far.test", "192.0.2.10");
    bench.resolver.add_cname("near.test", "far.test");
    bench.resolver.set_secure("near.test");
    bench.resolver.set_secure("_25._tcp.near.test");
    bench.resolver.add_tlsa("_25._tcp.near.test", record(3));
    bench.resolver.add_tlsa("_25._tcp.far.test", record(2));
    const HostTls found = bench.find("near.test");
    CHECK(found.by == "DANE");
    CHECK(found.peer.server_name == "near.test");
    CHECK(bench.resolver.queries_for("_25._tcp.far.test") == 0);
}

TEST_CASE("RFC 8461 5: enforce wants a named host with a right certificate, testing only tells; DANE comes first") {
    Bench bench;
    bench.demand.sts = sts(policy::StsMode::enforce, {"*.b.test"});
    HostTls found = bench.find();
    CHECK(found.by == "MTA-STS");
    CHECK(found.level == TlsLevel::verified);
    CHECK(found.reported == policy::ReportedPolicy::sts);
    CHECK(found.mx_patterns == "*.b.test\n");
    bench.resolver.add_a("mx.elsewhere.test", "192.0.2.7");
    found = bench.find("mx.elsewhere.test");
    REQUIRE(found.unusable);
    CHECK(found.unusable->fate == Fate::deferred);
    CHECK(found.unusable->reply.contains("does not name"));

    bench.demand.sts = sts(policy::StsMode::testing, {"*.b.test"});
    found = bench.find("mx.elsewhere.test");
    CHECK_FALSE(found.unusable);
    CHECK(found.level == TlsLevel::opportunistic);
    CHECK(found.testing);
    CHECK(judge(found, true, facts(true), "").result == TlsResult::validation_failure);
    found = bench.find();
    CHECK(judge(found, true, facts(false), "").result == TlsResult::certificate_not_trusted);
    CHECK(judge(found, true, facts(true), "").result == TlsResult::success);
    CHECK(judge(found, false, std::nullopt, "").result == TlsResult::starttls_not_supported);

    bench.demand.sts = sts(policy::StsMode::none, {});
    CHECK(bench.find().by.empty());
    bench.demand.sts = sts(policy::StsMode::enforce, {"other.test"});
    bench.resolver.add_tlsa("_25._tcp.mx.b.test", record(3));
    found = bench.find();
    CHECK(found.by == "DANE");
    CHECK_FALSE(found.unusable);
}

TEST_CASE("RFC 8689 4.2: REQUIRETLS needs a host that is known; TLS-Required: No asks for nothing") {
    Bench bench;
    HostTls found = bench.find("mx.b.test", TlsWish::require);
    CHECK(found.by == "REQUIRETLS");
    CHECK(found.level == TlsLevel::verified);
    CHECK_FALSE(found.unusable);
    bench.demand.mx_secure = false;
    found = bench.find("mx.b.test", TlsWish::require);
    REQUIRE(found.unusable);
    CHECK(found.unusable->fate == Fate::failed);
    CHECK(found.unusable->enhanced == "5.7.10");
    bench.demand.sts = sts(policy::StsMode::enforce, {"mx.b.test"});
    CHECK_FALSE(bench.find("mx.b.test", TlsWish::require).unusable);
    bench.demand.mx_secure = true;
    bench.resolver.add_tlsa("_25._tcp.mx.b.test", record(3));
    CHECK(bench.find("mx.b.test", TlsWish::best_effort).by.empty());
}

TEST_CASE("an open connection is used again only where it meets what the next mail needs") {
    HostTls plain;  // opened with nothing demanded and nobody looking for TLSA
    HostTls looked;
    looked.dane_looked = true;
    HostTls dane = looked;
    dane.by = "DANE";
    TlsDemand none;
    TlsDemand secure;
    secure.mx_secure = true;
    TlsDemand enforced;
    enforced.sts = sts(policy::StsMode::enforce, {"mx.b.test"});
    struct Case {
        const TlsDemand& demand;
        TlsWish wish;
        const HostTls& agreed;
        std::optional<net::TlsFacts> facts;
        bool offers;
        bool served;
    };
    const Case cases[] = {
        {none, TlsWish::policy, plain, std::nullopt, false, true},
        {secure, TlsWish::policy, plain, facts(true), false, false},
        {secure, TlsWish::policy, looked, std::nullopt, false, true},
        {secure, TlsWish::policy, dane, facts(true, true), false, true},
        {enforced, TlsWish::policy, plain, std::nullopt, false, false},
        {enforced, TlsWish::policy, plain, facts(false), false, false},
        {enforced, TlsWish::policy, plain, facts(true), false, true},
        {enforced, TlsWish::policy, dane, facts(true, true), false, false},
        {enforced, TlsWish::best_effort, plain, std::nullopt, false, true},
        {none, TlsWish::require, plain, facts(true), true, false},
        {enforced, TlsWish::require, plain, facts(true), true, true},
        {enforced, TlsWish::require, plain, facts(true), false, false},
        {secure, TlsWish::require, looked, facts(true), true, true},
        {secure, TlsWish::require, looked, facts(false), true, false},
    };
    for (std::size_t i = 0; i < std::size(cases); ++i) {
        CAPTURE(i);
        const Case& c = cases[i];
        CHECK(serves(c.demand, c.wish, "mx.b.test", c.agreed, c.facts, c.offers) == c.served);
    }
    CHECK_FALSE(serves(enforced, TlsWish::policy, "mx.other.test", plain, facts(true), false));
    CHECK(none.key() != enforced.key());
    CHECK(none.key() != secure.key());
}

}  // namespace posthouse::relay
