#include "protocols/net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;
using namespace std::chrono_literals;

namespace {

// One line in, the same line out, until the end; "421" when the server is stopping.
Task<void> echo(std::unique_ptr<Stream> stream) {
    BufferedStream lines(std::move(stream));
    for (;;) {
        const auto line = co_await lines.read_line(512);
        if (!line && line.error().code == Errc::cancelled) {
            lines.put("421 stopping\r\n");
            static_cast<void>(co_await lines.flush());
        }
        if (!line) co_return;
        if (*line == "THROW") throw std::runtime_error("a bug in a session");
        lines.put(*line);
        lines.put("\r\n");
        if (auto flushed = co_await lines.flush(); !flushed) co_return;
    }
}

// Does not listen to an interrupt: only cut() ends it.
Task<void> stubborn(std::unique_ptr<Stream> stream) {
    for (;;) {
        const auto written = co_await stream->write_all("still here\r\n");
        if (!written) co_return;
    }
}

// An IPv4 address of this machine that is not loopback.
std::optional<IpAddress> own_address() {
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) return std::nullopt;
    std::optional<IpAddress> found;
    for (const ifaddrs* at = all; at != nullptr && !found; at = at->ifa_next) {
        if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
        const IpAddress address = IpAddress::v4(ntohl(v4->sin_addr.s_addr));
        if (!address.is_loopback()) found = address;
    }
    ::freeifaddrs(all);
    return found;
}

struct Server {
    explicit Server(Listener::Handler handler, ListenLimits limits = ListenLimits()) {
        auto opened =
            Listener::open(loop, "test", loopback(0), limits, nullptr, "421 4.7.0 Too many\r\n", std::move(handler));
        REQUIRE(opened);
        listener = std::move(*opened);
    }
    ~Server() {
        listener->stop();
        listener->cut();
        run_task(loop, listener->join());
    }
    std::unique_ptr<Stream> dial(const char* source = nullptr) {
        DialOptions options;
        if (source != nullptr) options.source = IpAddress::parse(source).value();
        auto stream = run_task(loop, dialer->dial(listener->local(), options));
        REQUIRE(stream);
        return std::move(*stream);
    }
    std::string ask(Stream& stream, std::string_view line) {
        if (!run_task(loop, stream.write_all(std::string(line) + "\r\n"))) return "closed";
        return run_task(loop, read_octets(stream, line.size() + 2)).value_or("closed");
    }

    Loop loop;
    std::unique_ptr<Listener> listener;
    std::unique_ptr<Dialer> dialer = make_tcp_dialer(loop);
};

}  // namespace

TEST_CASE("listener: sessions run side by side and are counted") {
    Server server(echo);
    CHECK(server.listener->name() == "test");
    CHECK(server.listener->local().port != 0);
    const auto a = server.dial();
    const auto b = server.dial();
    CHECK(server.ask(*a, "hello") == "hello\r\n");
    CHECK(server.ask(*b, "there") == "there\r\n");
    CHECK(server.listener->connections() == 2);
    CHECK(server.ask(*a, "THROW") == "closed");  // its own end, nobody else's
    CHECK(server.ask(*b, "again") == "again\r\n");
    CHECK(server.listener->connections() == 1);
}

TEST_CASE("listener: over the limit in all, a sentence and the end") {
    ListenLimits limits;
    limits.connections_max = 1;
    Server server(echo, limits);
    auto first = server.dial();
    CHECK(server.ask(*first, "hello") == "hello\r\n");
    const auto second = server.dial();
    CHECK(run_task(server.loop, read_octets(*second, 20)).value_or("") == "421 4.7.0 Too many\r\n");
    CHECK(run_task(server.loop, read_octets(*second, 1)).error().code == Errc::closed);
    first->close();
    first.reset();
    while (server.listener->connections() > 0) server.loop.poll();
    const auto third = server.dial();
    CHECK(server.ask(*third, "hello") == "hello\r\n");
}

TEST_CASE("listener: the limit of a network does not hold for loopback") {
    ListenLimits limits;
    limits.connections_per_network_max = 1;
    Server server(echo, limits);
    const auto a = server.dial();
    const auto b = server.dial();
    CHECK(server.ask(*a, "a") == "a\r\n");
    CHECK(server.ask(*b, "b") == "b\r\n");
}

TEST_CASE("listener: the limit of a network holds for everyone else") {
    const auto own = own_address();
    if (!own) {
        MESSAGE("skipped: this machine has no IPv4 address but loopback");
        return;
    }
    ListenLimits limits;
    limits.connections_per_network_max = 1;
    Loop loop;
    auto opened = Listener::open(loop, "test", Endpoint(*own, 0), limits, nullptr, "421 4.7.0 Too many\r\n", echo);
    REQUIRE(opened);
    const auto dialer = make_tcp_dialer(loop);
    DialOptions options;
    options.source = own;
    const auto first = run_task(loop, dialer->dial((*opened)->local(), options));
    const auto second = run_task(loop, dialer->dial((*opened)->local(), options));
    REQUIRE(first);
    REQUIRE(second);
    CHECK(run_task(loop, read_octets(**second, 20)).value_or("") == "421 4.7.0 Too many\r\n");
    CHECK(run_task(loop, (*first)->write_all("hello\r\n")));
    CHECK(run_task(loop, read_octets(**first, 7)).value_or("") == "hello\r\n");
    (*opened)->stop();
    run_task(loop, (*opened)->join());
}

TEST_CASE("listener: stop closes the port and lets sessions say goodbye; join waits for the last") {
    Server server(echo);
    const auto busy = server.dial();
    const auto idle = server.dial();
    CHECK(server.ask(*busy, "hello") == "hello\r\n");
    CHECK(server.ask(*idle, "hello") == "hello\r\n");
    server.listener->stop();
    server.listener->stop();
    CHECK(run_task(server.loop, read_octets(*busy, 14)).value_or("") == "421 stopping\r\n");
    CHECK(run_task(server.loop, read_octets(*idle, 14)).value_or("") == "421 stopping\r\n");
    run_task(server.loop, server.listener->join());
    CHECK(server.listener->connections() == 0);
    const auto late = run_task(server.loop, server.dialer->dial(server.listener->local(), DialOptions()));
    CHECK(late.error().code == Errc::refused);
}

TEST_CASE("listener: cut ends what stop does not") {
    Server server(stubborn);
    const auto client = server.dial();
    CHECK(run_task(server.loop, read_octets(*client, 12)).value_or("") == "still here\r\n");
    server.listener->stop();
    CHECK(run_task(server.loop, read_octets(*client, 12)).value_or("") == "still here\r\n");
    CHECK(server.listener->connections() == 1);
    server.listener->cut();
    run_task(server.loop, server.listener->join());
    CHECK(server.listener->connections() == 0);
}

TEST_CASE("listener: an address in use is refused with what to do") {
    Server server(echo);
    const auto again =
        Listener::open(server.loop, "again", server.listener->local(), ListenLimits(), nullptr, "", echo);
    REQUIRE_FALSE(again);
    CHECK(again.error().code == Errc::io);
    CHECK(again.error().context.find("another program") != std::string::npos);
    CHECK(again.error().context.find(server.listener->local().to_string()) != std::string::npos);
    const auto foreign = Listener::open(server.loop, "foreign", Endpoint::parse("192.0.2.1:0").value(), ListenLimits(),
                                        nullptr, "", echo);
    REQUIRE_FALSE(foreign);
    CHECK(foreign.error().context.find("no interface") != std::string::npos);
}

TEST_CASE("listener: IPv6 beside IPv4 on the same port") {
    Server server(echo);
    const Endpoint six(IpAddress::parse("::1").value(), server.listener->local().port);
    auto opened = Listener::open(server.loop, "six", six, ListenLimits(), nullptr, "", echo);
    if (!opened) {
        MESSAGE("skipped: this machine has no IPv6 loopback (" << opened.error().context << ")");
        return;
    }
    auto client = run_task(server.loop, server.dialer->dial(six, DialOptions()));
    REQUIRE(client);
    CHECK((*client)->peer().to_string() == six.to_string());
    CHECK(server.ask(**client, "hello") == "hello\r\n");
    (*opened)->stop();
    run_task(server.loop, (*opened)->join());
}

TEST_CASE("listener: out of descriptors, it sheds connections and recovers") {
    Server server(echo);
    const auto before = server.dial();
    CHECK(server.ask(*before, "hello") == "hello\r\n");

    // Fill the table of descriptors up to one, which the next dial takes.
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const rlimit old = limit;
    limit.rlim_cur = 128;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    std::vector<int> fillers;
    for (int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC); fd >= 0; fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) {
        fillers.push_back(fd);
    }
    REQUIRE(fillers.size() > 2);
    for (int round = 0; round < 2; ++round) {
        ::close(fillers.back());
        fillers.pop_back();
        auto shed = server.dial();
        CHECK(run_task(server.loop, read_octets(*shed, 20)).value_or("") == "421 4.7.0 Too many\r\n");
        CHECK(server.ask(*before, "still here") == "still here\r\n");
        shed.reset();
        fillers.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    for (const int fd : fillers) ::close(fd);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
    const auto after = server.dial();
    CHECK(server.ask(*after, "hello") == "hello\r\n");
}
