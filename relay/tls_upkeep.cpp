#include "relay/tls_upkeep.h"

#include "protocols/base/log.h"
#include "relay/site.h"
#include "relay/tls_reports.h"

namespace posthouse::relay {

namespace {

constexpr Milliseconds kTestWorkingEvery{3'600'000};
constexpr Milliseconds kTestOtherwiseEvery{60'000};
constexpr Milliseconds kReportsEvery{600'000};

void tell(const dns::DnssecState& now) {
    switch (now.state) {
        case dns::Dnssec::working: log::info("relay", "DNSSEC works: DANE is in use"); break;
        case dns::Dnssec::off:
            log::warn("relay", "DANE unavailable: no DNSSEC trust anchor; set trust_anchor in [dns]");
            break;
        case dns::Dnssec::broken:
            log::error(
                "relay",
                "DANE unavailable: the DNS servers in use lose DNSSEC signatures ({}). Mail goes on without DANE; "
                "use a resolver that keeps them, or none in [dns]",
                now.why);
            break;
        case dns::Dnssec::unknown:
            log::warn("relay", "DANE unavailable for now: the DNS did not answer the test of DNSSEC ({})", now.why);
            break;
    }
}

}  // namespace

net::Task<bool> resolver_validates(Core& core) {
    if (!core.watches_resolver) {
        const dns::DnssecState now = co_await core.deps.resolver->test_dnssec();
        co_return now.state == dns::Dnssec::working;
    }
    if (core.resolver_tested_at + kDoubtEvery <= core.now()) {
        core.resolver_tested.reset();
        core.resolver_doubted.set();
    }
    static_cast<void>(co_await core.resolver_tested.wait_for(kResolverTestMax));
    co_return core.deps.resolver->dnssec().state == dns::Dnssec::working;
}

void TlsUpkeep::start() {
    core_.watches_resolver = true;
    tasks_.spawn("relay.resolver", watch_resolver());
    tasks_.spawn("relay.tally", write_tally());
    tasks_.spawn("relay.policies", refresh_policies());
    tasks_.spawn("relay.tls_reports", send_reports());
}

net::Task<void> TlsUpkeep::join() {
    core_.resolver_doubted.set();  // wakes who watches the resolver
    co_await tasks_.join();
    co_await core_.tally.flush();  // what the last connections had to tell
}

net::Task<void> TlsUpkeep::watch_resolver() {
    auto& available = core_.deps.metrics->gauge("relay_dane_available",
                                                "1 where DNSSEC answers are validated, so that DANE is in use");
    std::optional<dns::Dnssec> told;
    while (!core_.stopping.is_set()) {
        core_.resolver_doubted.reset();
        const dns::DnssecState now = co_await core_.deps.resolver->test_dnssec();
        core_.resolver_tested_at = core_.now();
        core_.resolver_tested.set();
        available.set(now.state == dns::Dnssec::working ? 1 : 0);
        if (told != now.state) tell(now);
        told = now.state;
        const bool settled = now.state == dns::Dnssec::working || now.state == dns::Dnssec::off;
        const Milliseconds pause = settled ? kTestWorkingEvery : kTestOtherwiseEvery;
        if (core_.stopping.is_set()) break;
        static_cast<void>(co_await core_.resolver_doubted.wait_for(pause));
    }
    core_.resolver_tested.set();
}

net::Task<void> TlsUpkeep::write_tally() {
    while (!core_.stopping.is_set()) {
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, kTallyEvery, &core_.stopping));
        co_await core_.tally.flush();
    }
}

net::Task<void> TlsUpkeep::refresh_policies() {
    while (!core_.stopping.is_set()) {
        const Milliseconds pause = co_await core_.sts.refresh();
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, pause, &core_.stopping));
    }
}

net::Task<void> TlsUpkeep::send_reports() {
    while (!core_.stopping.is_set()) {
        co_await send_due_tls_reports(core_);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, kReportsEvery, &core_.stopping));
    }
}

}  // namespace posthouse::relay
