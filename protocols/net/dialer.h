#pragma once
/// protocols/net/dialer: outgoing connections behind an interface, so that tests hand out memory streams.
#include <chrono>
#include <memory>
#include <optional>

#include "protocols/net/loop.h"
#include "protocols/net/stream.h"

namespace posthouse::net {

struct DialOptions {
    std::chrono::milliseconds connect_max{30'000};
    std::optional<IpAddress> source;  ///< local address to bind, where the host has several
    DialOptions() = default;
};

class Dialer {
 public:
    virtual ~Dialer() = default;
    /// Errc::refused, unreachable or timeout. The deadline of the stream is cleared afterwards.
    virtual Task<Result<std::unique_ptr<Stream>>> dial(Endpoint to, DialOptions options) = 0;
};

/// Real TCP connections on `loop`.
std::unique_ptr<Dialer> make_tcp_dialer(Loop& loop);

}  // namespace posthouse::net
