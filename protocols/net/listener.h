#pragma once
/// protocols/net/listener: accepting connections, and stopping without losing a sentence.
///
/// The accept loop never dies: on error it logs, counts, waits 100 ms and goes on; a spare descriptor lets it accept
/// and close at EMFILE instead of spinning. Limits are held before a session exists: in all, and per /32 or /64 those
/// that are open and those that come in a minute.
/// Stop is two steps: stop() closes the port and interrupts every stream (the sessions say goodbye); cut() closes them.
/// Threads: the loop's.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "protocols/base/metrics.h"
#include "protocols/net/loop.h"
#include "protocols/net/stream.h"

namespace posthouse::net {

struct ListenLimits {
    std::size_t connections_max = 10'000;
    std::size_t connections_per_network_max = 30;  ///< one /32 or /64; loopback is exempt
    std::size_t new_per_minute_max = 1'200;        ///< likewise; so many at once, then evenly. 0: no limit
    Metrics::Value* turned_away = nullptr;         ///< counts those for whom there was no room
    ListenLimits() = default;
};

class Listener {
 public:
    /// Makes the session for one accepted connection; spawned into the listener's own TaskGroup.
    using Handler = std::function<Task<void>(std::unique_ptr<Stream>)>;

    /// Binds at once; Errc::io with the address and what to do ("port 25 needs ...", "in use by another program").
    /// `over_limit` is written before the close of a refused connection, e.g. "421 4.7.0 Too many connections\r\n";
    /// with `implicit_tls` after the handshake, for at most kTurnedAwayTlsMax at a time, and never to those that come
    /// too often.
    /// `implicit_tls`: handshake before the handler runs (null: in clear). It must outlive the listener.
    static Result<std::unique_ptr<Listener>> open(Loop& loop, std::string name, Endpoint at, ListenLimits limits,
                                                  TlsServerContext* implicit_tls, std::string over_limit,
                                                  Handler handler);
    static constexpr std::size_t kTurnedAwayTlsMax = 16;
    virtual ~Listener() = default;

    /// The bound endpoint: its port is the real one where 0 was asked for.
    virtual Endpoint local() const = 0;
    virtual const std::string& name() const = 0;
    virtual std::size_t connections() const = 0;
    virtual void stop() = 0;
    virtual void cut() = 0;
    /// Completes when the last session has ended (after stop()).
    virtual Task<void> join() = 0;
};

}  // namespace posthouse::net
