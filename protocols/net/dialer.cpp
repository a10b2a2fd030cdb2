#include "protocols/net/dialer.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "protocols/net/tcp.h"

namespace posthouse::net {

namespace asio = boost::asio;

namespace {

Error dial_error(const Endpoint& to, const boost::system::error_code& ec) {
    const bool refused = ec == asio::error::connection_refused || ec == asio::error::connection_reset;
    const bool no_descriptor = ec == asio::error::no_descriptors;
    const Errc code = refused ? Errc::refused : no_descriptor ? Errc::unavailable : Errc::unreachable;
    return Error(code, fmt::format("connecting to {}: {}", to.to_string(), ec.message()));
}

// The socket and its watchdog; the timer's handler holds it, so that either may end first.
struct Dial {
    explicit Dial(Loop& loop) : socket(loop.impl().context), timer(loop.impl().context) {}
    TcpSocket socket;
    Timer timer;
    bool timed_out = false;
};

void start_watchdog(const std::shared_ptr<Dial>& dial, std::chrono::milliseconds span) {
    dial->timer.expires_after(span);
    dial->timer.async_wait([weak = std::weak_ptr(dial)](boost::system::error_code ec) {
        const auto self = weak.lock();
        if (ec || !self) return;
        self->timed_out = true;
        boost::system::error_code ignored;
        self->socket.cancel(ignored);
    });
}

class TcpDialer final : public Dialer {
 public:
    explicit TcpDialer(Loop& loop) : loop_(loop) {}

    Task<Result<std::unique_ptr<Stream>>> dial(Endpoint to, DialOptions options) override {
        return connect(loop_, to, options);
    }

 private:
    // Static: the dialer may be gone before its last connection is made.
    static Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, Endpoint to, DialOptions options) {
        const auto dial = std::make_shared<Dial>(loop);
        const auto remote = to_asio(to);
        boost::system::error_code ec;
        dial->socket.open(remote.protocol(), ec);
        if (ec) co_return dial_error(to, ec);
        if (options.source) {
            if (options.source->family() != to.address.family()) {
                co_return Error(Errc::unreachable, "the source address is of another family than " + to.to_string());
            }
            // The port is chosen at connect: two connections to different hosts may then share one.
            const int on = 1;
            ::setsockopt(dial->socket.native_handle(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
            dial->socket.bind(to_asio(Endpoint(*options.source, 0)), ec);
            if (ec) {
                co_return Error(Errc::unreachable,
                                fmt::format("binding to {}: {}", options.source->to_string(), ec.message()));
            }
        }
        start_watchdog(dial, options.connect_max);
        co_await dial->socket.async_connect(remote, asio::redirect_error(asio::use_awaitable, ec));
        dial->timer.cancel();
        if (ec && dial->timed_out) {
            co_return Error(Errc::timeout, fmt::format("connecting to {} took too long", to.to_string()));
        }
        if (ec) co_return dial_error(to, ec);
        co_return make_tcp_stream(loop, std::move(dial->socket), nullptr);
    }

    Loop& loop_;
};

}  // namespace

std::unique_ptr<Dialer> make_tcp_dialer(Loop& loop) { return std::make_unique<TcpDialer>(loop); }

}  // namespace posthouse::net
