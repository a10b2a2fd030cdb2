#pragma once
/// relay/core: what the parts of the relay share: the dependencies, caches, counters and the wish to stop.
/// Threads: the loop's.
#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "relay/host_health.h"
#include "relay/incidents.h"
#include "relay/loader.h"
#include "relay/message.h"
#include "relay/places.h"
#include "relay/reputation.h"
#include "relay/service.h"
#include "relay/sts_cache.h"
#include "relay/tls_tally.h"
#include "relay/turn.h"
#include "relay/way_book.h"

namespace posthouse::relay {

struct Core {
    explicit Core(RelayDeps d)
        : deps(std::move(d)),
          places({deps.options.connections_max, deps.options.slow_max, deps.options.patience, deps.options.turn}),
          stopping(*deps.loop),
          resolver_tested(*deps.loop),
          resolver_doubted(*deps.loop),
          sts(deps, https_open, stopping),
          tally(deps),
          incidents(*deps.metrics),
          reputation(*deps.metrics),
          delivered(deps.metrics->counter("relay_delivered_total", "Recipients handed over")),
          deferred(deps.metrics->counter("relay_deferred_total", "Attempts that were put off")),
          failed(deps.metrics->counter("relay_failed_total", "Recipients given up")),
          suppressed(deps.metrics->counter("relay_suppressed_total", "Recipients not written to: suppressed")),
          evidence(deps.metrics->counter("relay_suppressions_total", "Refusals that suppress the recipient")),
          reports(deps.metrics->counter("relay_reports_total", "Delivery reports made")),
          tls_reports(deps.metrics->counter("relay_tls_reports_total", "TLS reports sent to other domains")),
          report_rows(deps.metrics->gauge(
              "report_rows",
              "Rows of figures that today are told apart; from 4000 on new destinations count as others")),
          connections(deps.metrics->gauge("relay_connections", "Open outgoing connections")),
          unrouted(deps.metrics->gauge("relay_unrouted", "Recipients whose domain the DNS is asked for")) {
        for (std::size_t i = 0; i < kLaneStates.size(); ++i) {
            const std::string label = "state=\"" + std::string(kLaneStates[i]) + "\"";
            lanes_by_state[i] = &deps.metrics->gauge("relay_lanes", "Lanes by state", label);
            waiting_by_state[i] = &deps.metrics->gauge("relay_lane_waiting", "Recipients waiting in lanes", label);
        }
        for (std::size_t i = 0; i < kSignals.size(); ++i) {
            const std::string label = "kind=\"" + std::string(kSignals[i]) + "\"";
            slowed[i] = &deps.metrics->counter("relay_lane_refusals_total", "What slowed lanes", label);
        }
    }

    Time now() const { return deps.clock->now(); }

    RelayDeps deps;
    KeyCache keys;
    Loader loader;
    Turn bulk_writes;  ///< outcomes of transactions for many
    WayBook ways;
    Tokens tokens;
    HostHealth hosts;
    Places places;  ///< of the workers of all lanes
    net::Event stopping;
    net::Event resolver_tested;         ///< set once the first test of DNSSEC has ended
    net::Event resolver_doubted;        ///< an answer was bogus: the test is made anew at once
    Time resolver_tested_at{};          ///< when the last one ended
    bool watches_resolver = false;      ///< somebody makes the tests (relay/tls_upkeep)
    std::set<net::Stream*> https_open;  ///< for the hard stop
    StsCache sts;
    TlsTally tally;
    std::vector<storage::LaneLimit> lane_limits;  ///< as of the last look
    Incidents incidents;
    ReputationBook reputation;
    std::map<std::string, std::unique_ptr<net::TlsClientContext>> contexts_by_files;
    std::set<Client*> open;  ///< for the hard stop
    Metrics::Value& delivered;
    Metrics::Value& deferred;
    Metrics::Value& failed;
    Metrics::Value& suppressed;
    Metrics::Value& evidence;
    Metrics::Value& reports;
    Metrics::Value& tls_reports;
    Metrics::Value& report_rows;
    Metrics::Value& connections;
    Metrics::Value& unrouted;
    std::size_t idle = 0;  ///< workers with an open connection and nothing to do
    static constexpr std::array<std::string_view, 4> kLaneStates{"open", "slowed", "paused", "closed"};
    static constexpr std::array<std::string_view, 3> kSignals{"window", "rate", "unreachable"};
    std::array<Metrics::Value*, 4> lanes_by_state{};
    std::array<Metrics::Value*, 4> waiting_by_state{};
    std::array<Metrics::Value*, 3> slowed{};
};

}  // namespace posthouse::relay
