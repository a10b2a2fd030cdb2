#pragma once
/// admin/http: a small HTTP listener for this machine: /healthz for supervisors, /metrics for Prometheus.
///
/// Poco serves it on a few threads of its own; they read counters and the store's health and never touch a coroutine.
/// Invariants  1. Bound to loopback addresses only.
///             2. Every answer has a length; a connection is closed after a few requests, idle ones after some seconds.
/// Limits: kThreadsMax threads, kQueuedMax waiting connections, targets of kTargetOctetsMax, headers of
/// kHeaderOctetsMax.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "protocols/base/metrics.h"
#include "protocols/base/result.h"
#include "protocols/net/address.h"

namespace posthouse::admin {

inline constexpr int kThreadsMax = 4;
inline constexpr int kQueuedMax = 32;
inline constexpr std::size_t kTargetOctetsMax = 8UL * 1024;
inline constexpr std::size_t kHeaderOctetsMax = 32UL * 1024;

/// What /healthz says; asked on a Poco thread.
struct HealthReport {
    bool serving = false;       ///< false: 503
    std::string store;          ///< storage::to_string(Health)
    std::uint64_t waiting = 0;  ///< recipients in the queue
    std::int64_t uptime_s = 0;
};

class HttpService {
 public:
    /// Binds at once. `before_metrics` refreshes gauges. Both functions must be callable from any thread.
    static Result<std::unique_ptr<HttpService>> start(const std::vector<net::Endpoint>& endpoints, Metrics& metrics,
                                                      std::function<HealthReport()> health,
                                                      std::function<void()> before_metrics);
    virtual ~HttpService() = default;
    /// The bound endpoints, with real ports where 0 was asked for.
    virtual std::vector<net::Endpoint> endpoints() const = 0;
    /// Ends the threads; idempotent. Blocks until running requests are answered (they are short).
    virtual void stop() = 0;
};

}  // namespace posthouse::admin
