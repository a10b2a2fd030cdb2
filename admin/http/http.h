#pragma once
/// admin/http: a small HTTP listener for this machine: /healthz for supervisors, /metrics for Prometheus, the API.
///
/// Poco serves it on a few threads of its own; they call the store directly and never touch a coroutine. What a request
/// gets is decided in router.h; here are sockets, times and sizes.
/// Invariants  1. Bound to loopback addresses only.
///             2. Every answer has a length; a connection is closed after a few requests, idle ones after some seconds.
///             3. A body that nobody wants is thrown away, up to kUnreadOctetsMax, so that the client reads the answer.
/// Limits: kThreadsMax threads, kQueuedMax waiting connections, times in HttpTimes; sizes in router.h.
#include <chrono>
#include <memory>
#include <vector>

#include "admin/http/router.h"
#include "protocols/base/result.h"
#include "protocols/net/address.h"

namespace posthouse::admin {

inline constexpr int kThreadsMax = 8;
inline constexpr int kQueuedMax = 32;
inline constexpr std::size_t kUnreadOctetsMax = 1024UL * 1024;
inline constexpr std::chrono::milliseconds kUnreadTimeMax{500};  ///< how long a refused body is waited for

struct HttpTimes {
    std::chrono::milliseconds receive_max{10'000};  ///< for the next octets of a header
    std::chrono::milliseconds body_max{10'000};     ///< for a whole body, and a second more for each megabyte
    std::chrono::milliseconds idle_max{5'000};      ///< between two requests
};

class HttpService {
 public:
    /// Binds at once.
    static Result<std::unique_ptr<HttpService>> start(const std::vector<net::Endpoint>& endpoints, HttpDeps deps,
                                                      const HttpTimes& times = {});
    virtual ~HttpService() = default;
    /// The bound endpoints, with real ports where 0 was asked for.
    virtual std::vector<net::Endpoint> endpoints() const = 0;
    /// Ends the threads; idempotent. Blocks until running requests are answered: long ones end at their next step.
    virtual void stop() = 0;
};

}  // namespace posthouse::admin
