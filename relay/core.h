#pragma once
/// relay/core: what the parts of the relay share: the dependencies, caches, counters and the wish to stop.
/// Threads: the loop's.
#include <map>
#include <memory>
#include <set>
#include <string>

#include "relay/message.h"
#include "relay/service.h"
#include "relay/way_book.h"

namespace posthouse::relay {

struct Core {
    explicit Core(RelayDeps d)
        : deps(std::move(d)),
          stopping(*deps.loop),
          delivered(deps.metrics->counter("relay_delivered_total", "Recipients handed over")),
          deferred(deps.metrics->counter("relay_deferred_total", "Attempts that were put off")),
          failed(deps.metrics->counter("relay_failed_total", "Recipients given up")),
          reports(deps.metrics->counter("relay_reports_total", "Delivery reports made")),
          connections(deps.metrics->gauge("relay_connections", "Open outgoing connections")) {}

    Time now() const { return deps.clock->now(); }

    RelayDeps deps;
    KeyCache keys;
    WayBook ways;
    Tokens tokens;
    net::Event stopping;
    std::map<std::string, std::unique_ptr<net::TlsClientContext>> contexts_by_ca;
    std::set<Client*> open;  ///< for the hard stop
    Metrics::Value& delivered;
    Metrics::Value& deferred;
    Metrics::Value& failed;
    Metrics::Value& reports;
    Metrics::Value& connections;
};

}  // namespace posthouse::relay
