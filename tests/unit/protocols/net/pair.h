#pragma once
/// tests/unit/protocols/net/pair: a loop with two connected ends on it, in memory or over real loopback sockets.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "protocols/net/buffered_stream.h"
#include "protocols/net/dialer.h"
#include "protocols/net/listener.h"
#include "protocols/net/memory.h"
#include "tests/support/loop_runner.h"

namespace posthouse::net {

using test::run_task;

inline Endpoint loopback(std::uint16_t port) { return Endpoint(IpAddress::v4(0x7f000001), port); }

/// The server's end of the next connection, handed out of a listener whose handler keeps it until it is released.
struct Ends {
    explicit Ends(Loop& on) : loop(on), accepted(on), finished(on) {}

    static Task<void> hold(Ends* ends, std::unique_ptr<Stream> stream) {
        ends->server = std::move(stream);
        ends->accepted.set();
        co_await ends->finished.wait();
        ends->server.reset();
    }

    Loop& loop;
    Event accepted;
    Event finished;
    std::unique_ptr<Stream> client;
    std::unique_ptr<Stream> server;
};

/// Two ends over TCP on loopback: `ends.client` dialled, `ends.server` accepted.
class TcpPair {
 public:
    explicit TcpPair(Loop& loop) : ends(loop) {
        const auto hold = [this](std::unique_ptr<Stream> stream) { return Ends::hold(&ends, std::move(stream)); };
        auto opened = Listener::open(loop, "pair", loopback(0), ListenLimits(), nullptr, "", hold);
        REQUIRE(opened);
        listener = std::move(*opened);
        dialer = make_tcp_dialer(loop);
        auto dialled = run_task(loop, dialer->dial(listener->local(), DialOptions()));
        REQUIRE(dialled);
        ends.client = std::move(*dialled);
        run_task(loop, ends.accepted.wait());
    }
    ~TcpPair() {
        ends.finished.set();
        listener->stop();
        run_task(ends.loop, listener->join());
    }

    Ends ends;
    std::unique_ptr<Dialer> dialer;
    std::unique_ptr<Listener> listener;
};

inline Task<Result<std::string>> read_octets(Stream& stream, std::size_t count) {
    std::string out(count, '\0');
    std::size_t at = 0;
    while (at < count) {
        const std::span<char> rest(out.data() + at, count - at);
        CO_TRY(const std::size_t got, co_await stream.read_some(rest));
        at += got;
    }
    co_return out;
}

/// Runs both tasks at once and returns when both have ended.
inline Task<void> run_both(Loop& loop, Task<void> first, Task<void> second) {
    TaskGroup group(loop);
    group.spawn("first", std::move(first));
    group.spawn("second", std::move(second));
    co_await group.join();
}

}  // namespace posthouse::net
