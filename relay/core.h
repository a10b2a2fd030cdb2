#pragma once
/// relay/core: what the parts of the relay share: the dependencies, caches, counters and the wish to stop.
/// Threads: the loop's.
#include <map>
#include <memory>
#include <set>
#include <string>

#include "relay/message.h"
#include "relay/service.h"
#include "relay/sts_cache.h"
#include "relay/tls_tally.h"
#include "relay/way_book.h"

namespace posthouse::relay {

struct Core {
    explicit Core(RelayDeps d)
        : deps(std::move(d)),
          stopping(*deps.loop),
          resolver_tested(*deps.loop),
          sts(deps, https_open, stopping),
          tally(deps),
          delivered(deps.metrics->counter("relay_delivered_total", "Recipients handed over")),
          deferred(deps.metrics->counter("relay_deferred_total", "Attempts that were put off")),
          failed(deps.metrics->counter("relay_failed_total", "Recipients given up")),
          reports(deps.metrics->counter("relay_reports_total", "Delivery reports made")),
          tls_reports(deps.metrics->counter("relay_tls_reports_total", "TLS reports sent to other domains")),
          connections(deps.metrics->gauge("relay_connections", "Open outgoing connections")) {}

    Time now() const { return deps.clock->now(); }

    RelayDeps deps;
    KeyCache keys;
    WayBook ways;
    Tokens tokens;
    net::Event stopping;
    net::Event resolver_tested;  ///< set once the first test of DNSSEC has ended
    std::set<net::Stream*> https_open;  ///< for the hard stop
    StsCache sts;
    TlsTally tally;
    std::map<std::string, std::unique_ptr<net::TlsClientContext>> contexts_by_ca;
    std::set<Client*> open;  ///< for the hard stop
    Metrics::Value& delivered;
    Metrics::Value& deferred;
    Metrics::Value& failed;
    Metrics::Value& reports;
    Metrics::Value& tls_reports;
    Metrics::Value& connections;
};

}  // namespace posthouse::relay
