#include "protocols/net/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <map>

#include "protocols/base/log.h"
#include "protocols/net/connect_rate.h"
#include "protocols/net/tcp.h"

namespace posthouse::net {

namespace asio = boost::asio;

namespace {

using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, ContextExecutor>;

constexpr auto kPauseAfterError = std::chrono::milliseconds(100);
constexpr auto kTurnedAwayPause = std::chrono::seconds(10);
constexpr auto kHandshakeMax = std::chrono::seconds(60);
constexpr auto kTurnedAwayHandshakeMax = std::chrono::seconds(5);
constexpr unsigned kAcceptsInARowMax = 64;  // then the sessions have their turn
constexpr unsigned kNetworkBitsV4 = 32;
constexpr unsigned kNetworkBitsV6 = 64;

// A descriptor kept in hand: at EMFILE it is given up for the moment it takes to accept a connection and close it.
class SpareDescriptor {
 public:
    SpareDescriptor() { take(); }
    ~SpareDescriptor() { give(); }
    SpareDescriptor(const SpareDescriptor&) = delete;
    SpareDescriptor& operator=(const SpareDescriptor&) = delete;
    void take() {
        if (descriptor_ < 0) descriptor_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    void give() {
        if (descriptor_ >= 0) ::close(descriptor_);
        descriptor_ = -1;
    }

 private:
    int descriptor_ = -1;
};

// Shared by the listener and its tasks.
struct State {
    State(Loop& on, std::string called, ListenLimits bounds)
        : loop(on),
          name(std::move(called)),
          limits(bounds),
          acceptor(on.impl().context),
          stopping(on),
          rate(bounds.new_per_minute_max) {}

    Loop& loop;
    std::string name;
    ListenLimits limits;
    TlsServerContext* implicit_tls = nullptr;
    std::string over_limit;
    Listener::Handler handler;
    Endpoint local;
    Acceptor acceptor;
    Event stopping;
    SpareDescriptor spare;
    std::shared_ptr<StreamRegistry> registry = std::make_shared<StreamRegistry>();
    std::size_t connections = 0;
    std::map<IpAddress, std::size_t> per_network;
    ConnectRate rate;
    std::size_t turned_away = 0;  // since the log was last told
    std::size_t turning_away = 0;  // over TLS, now
    std::chrono::steady_clock::time_point turned_away_told{};
};

IpAddress network_of(const IpAddress& address) {
    return address.masked(address.family() == IpAddress::Family::v4 ? kNetworkBitsV4 : kNetworkBitsV6);
}

// The place of one session in the counts, for exactly as long as the session runs.
class Slot {
 public:
    Slot(std::shared_ptr<State> state, const IpAddress& peer) : state_(std::move(state)), network_(network_of(peer)) {
        ++state_->connections;
        ++state_->per_network[network_];
    }
    Slot(Slot&& other) noexcept = default;
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
        if (!state_) return;
        --state_->connections;
        const auto at = state_->per_network.find(network_);
        if (--at->second == 0) state_->per_network.erase(at);
    }

 private:
    std::shared_ptr<State> state_;
    IpAddress network_;
};

bool over_limit(const State& state, const IpAddress& peer) {
    if (state.connections >= state.limits.connections_max) return true;
    if (peer.is_loopback()) return false;
    const auto at = state.per_network.find(network_of(peer));
    return at != state.per_network.end() && at->second >= state.limits.connections_per_network_max;
}

bool too_often(State& state, const IpAddress& peer) {
    return !peer.is_loopback() && state.rate.too_often(network_of(peer), std::chrono::steady_clock::now());
}

Task<bool> secure(const State& state, Stream& stream) {
    stream.expires_in(kHandshakeMax);
    const auto secured = co_await stream.start_tls_server(*state.implicit_tls);
    if (!secured) {
        log::info("net", "{}: {} gone before TLS was up: {}", state.name, stream.peer().to_string(),
                  secured.error().context);
        co_return false;
    }
    stream.expires_in(std::chrono::milliseconds(0));
    co_return true;
}

// Its frame lives as long as the session: the handshake has one of its own.
Task<void> run_session(std::shared_ptr<State> state, [[maybe_unused]] Slot slot, std::unique_ptr<Stream> stream) {
    if (state->implicit_tls != nullptr) {
        const bool secured = co_await secure(*state, *stream);
        if (!secured) co_return;
    }
    co_await state->handler(std::move(stream));
}

// Over TLS the client is told too, after a handshake: else it takes the bare close for a server that is broken.
Task<void> turn_away_tls(std::shared_ptr<State> state, std::unique_ptr<Stream> stream) {
    stream->expires_in(kTurnedAwayHandshakeMax);
    const auto secured = co_await stream->start_tls_server(*state->implicit_tls);
    if (secured) static_cast<void>(co_await stream->write_all(state->over_limit));
    stream->close();
    --state->turning_away;
}

// Says why and closes. In clear only: a TLS client could make nothing of it.
void turn_away(const State& state, int descriptor) {
    if (state.implicit_tls == nullptr && !state.over_limit.empty()) {
        // Sixty octets into an empty socket buffer: they fit, or the peer is gone.
        const ssize_t ignored =
            ::send(descriptor, state.over_limit.data(), state.over_limit.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        static_cast<void>(ignored);
    }
    ::shutdown(descriptor, SHUT_WR);
    ::close(descriptor);
}

// One line in ten seconds: who floods us must not fill the log as well.
void note_turned_away(State& state, const IpAddress& peer, std::string_view why) {
    ++state.turned_away;
    if (state.limits.turned_away != nullptr) state.limits.turned_away->add();
    const auto now = std::chrono::steady_clock::now();
    if (now < state.turned_away_told + kTurnedAwayPause) return;
    log::warn("net", "{}: too many connections, {} turned away, {} the last, which {}", state.name, state.turned_away,
              peer.to_string(), why);
    state.turned_away = 0;
    state.turned_away_told = now;
}

enum class Accepted { one, none_left, out_of_descriptors, failed };

Accepted accept_one(const std::shared_ptr<State>& state, TaskGroup& sessions) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int descriptor = ::accept4(state->acceptor.native_handle(), reinterpret_cast<sockaddr*>(&address), &length,
                                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
        const int number = errno;
        if (number == EAGAIN || number == EWOULDBLOCK) return Accepted::none_left;
        // These belong to the connection that failed, not to us (accept(2), "Error handling").
        if (number == EINTR || number == ECONNABORTED || number == EPROTO || number == ENETDOWN ||
            number == EHOSTUNREACH || number == ENETUNREACH || number == EPERM) {
            return Accepted::one;
        }
        if (number == EMFILE || number == ENFILE) return Accepted::out_of_descriptors;
        log::error("net", "{}: cannot accept: {}", state->name, std::strerror(number));
        return Accepted::failed;
    }
    asio::ip::tcp::endpoint from;
    std::memcpy(from.data(), &address, std::min<std::size_t>(length, from.capacity()));
    const IpAddress peer = from_asio(from).address;
    const bool is_full = over_limit(*state, peer);
    const bool is_hasty = too_often(*state, peer);
    const std::string_view why = is_full ? "has too many open, or all have" : "comes too often";
    if (is_full || is_hasty) note_turned_away(*state, peer, why);
    const bool told_over_tls = is_full && !is_hasty && state->implicit_tls != nullptr && !state->over_limit.empty() &&
                               state->turning_away < Listener::kTurnedAwayTlsMax;
    if ((is_full && !told_over_tls) || is_hasty) {
        turn_away(*state, descriptor);
        return Accepted::one;
    }
    TcpSocket socket(state->loop.impl().context);
    boost::system::error_code ec;
    socket.assign(from.protocol(), descriptor, ec);
    if (ec) {
        log::error("net", "{}: cannot watch a new connection: {}", state->name, ec.message());
        ::close(descriptor);
        return Accepted::failed;
    }
    if (told_over_tls) {
        ++state->turning_away;
        sessions.spawn(state->name, turn_away_tls(state, make_tcp_stream(state->loop, std::move(socket),
                                                                         state->registry)));
        return Accepted::one;
    }
    sessions.spawn(state->name, run_session(state, Slot(state, peer),
                                            make_tcp_stream(state->loop, std::move(socket), state->registry)));
    return Accepted::one;
}

// At EMFILE the queue of the kernel would stay readable and the loop spin: take one connection out of it and close it.
// The kernel looks for a free descriptor before it looks into the queue, so there may be none to take.
Accepted shed_one(State& state) {
    state.spare.give();
    const int descriptor = ::accept4(state.acceptor.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int number = errno;
    if (descriptor >= 0) turn_away(state, descriptor);
    if (descriptor >= 0 && state.limits.turned_away != nullptr) state.limits.turned_away->add();
    state.spare.take();
    if (descriptor < 0 && (number == EAGAIN || number == EWOULDBLOCK)) return Accepted::none_left;
    log::error("net", "{}: out of file descriptors, a connection is turned away; raise the limit (LimitNOFILE)",
               state.name);
    return Accepted::out_of_descriptors;
}

Task<void> accept_loop(std::shared_ptr<State> state, TaskGroup* sessions) {
    while (!state->stopping.is_set()) {
        boost::system::error_code ec;
        co_await state->acceptor.async_wait(asio::socket_base::wait_read,
                                            asio::redirect_error(asio::use_awaitable, ec));
        Accepted last = ec ? Accepted::failed : Accepted::one;
        for (unsigned i = 0; i < kAcceptsInARowMax && last == Accepted::one; ++i) {
            if (state->stopping.is_set()) co_return;
            last = accept_one(state, *sessions);
        }
        if (state->stopping.is_set()) co_return;
        if (last == Accepted::out_of_descriptors) last = shed_one(*state);
        if (last == Accepted::one || last == Accepted::none_left) continue;
        co_await sleep_for(state->loop, kPauseAfterError, &state->stopping);
    }
}

Error bind_error(const Endpoint& at, const boost::system::error_code& ec) {
    std::string hint;
    if (ec == asio::error::access_denied) {
        hint = "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE";
    } else if (ec == asio::error::address_in_use) {
        hint = "; another program holds this address and port: stop it, or choose another port";
    } else if (ec.value() == EADDRNOTAVAIL) {
        hint = "; no interface of this machine has this address";
    }
    return Error(Errc::io, fmt::format("cannot listen on {}: {}{}", at.to_string(), ec.message(), hint));
}

class TcpListener final : public Listener {
 public:
    TcpListener(Loop& loop, std::shared_ptr<State> state) : state_(std::move(state)), sessions_(loop) {
        sessions_.spawn(state_->name + ".accept", accept_loop(state_, &sessions_));
    }

    Endpoint local() const override { return state_->local; }
    const std::string& name() const override { return state_->name; }
    std::size_t connections() const override { return state_->connections; }
    void stop() override {
        if (state_->stopping.is_set()) return;
        state_->stopping.set();
        boost::system::error_code ignored;
        state_->acceptor.close(ignored);
        interrupt_all(*state_->registry);
    }
    void cut() override {
        stop();
        close_all(*state_->registry);
    }
    Task<void> join() override { return sessions_.join(); }

 private:
    std::shared_ptr<State> state_;
    TaskGroup sessions_;
};

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(Loop& loop, std::string name, Endpoint at, ListenLimits limits,
                                                 TlsServerContext* implicit_tls, std::string over_limit,
                                                 Handler handler) {
    auto state = std::make_shared<State>(loop, std::move(name), limits);
    state->implicit_tls = implicit_tls;
    state->over_limit = std::move(over_limit);
    state->handler = std::move(handler);
    const auto endpoint = to_asio(at);
    Acceptor& acceptor = state->acceptor;
    boost::system::error_code ec;
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
    // "[::]:25" and "0.0.0.0:25" are listed apart: one never takes the other's connections.
    if (!ec && endpoint.protocol() == asio::ip::tcp::v6()) acceptor.set_option(asio::ip::v6_only(true), ec);
    if (!ec) acceptor.native_non_blocking(true, ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return bind_error(at, ec);
    state->local = from_asio(acceptor.local_endpoint(ec));
    return std::make_unique<TcpListener>(loop, std::move(state));
}

}  // namespace posthouse::net
