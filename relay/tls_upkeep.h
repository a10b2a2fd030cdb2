#pragma once
/// relay/tls_upkeep: what the security of transport needs in the background: the resolver's self-test, fresh MTA-STS
/// policies, the tally of TLS sessions, the reports of the day before.
/// Threads: the loop's.
#include "relay/core.h"

namespace posthouse::relay {

class TlsUpkeep {
 public:
    explicit TlsUpkeep(Core& core) : core_(core), tasks_(*core.deps.loop) {}
    /// The resolver is tested first: plans wait for it (Core::resolver_tested).
    void start();
    /// After core.stopping was set; completes when the last tally is written.
    net::Task<void> join();

 private:
    net::Task<void> watch_resolver();
    net::Task<void> write_tally();
    net::Task<void> refresh_policies();
    net::Task<void> send_reports();

    Core& core_;
    net::TaskGroup tasks_;
};

/// An answer was bogus: is it the domain's fault, or has the resolver begun to lose signatures since its last test?
/// That is tested at once, before mail is put off for it (at most every kDoubtEvery). True where it still validates.
net::Task<bool> resolver_validates(Core& core);
inline constexpr std::chrono::seconds kDoubtEvery{30};

}  // namespace posthouse::relay
