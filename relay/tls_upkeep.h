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

}  // namespace posthouse::relay
