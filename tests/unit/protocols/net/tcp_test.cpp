#include <arpa/inet.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;
using namespace std::chrono_literals;

namespace {

Task<void> read_one(Stream& stream, Errc& code) {
    char octet = 0;
    const std::span<char> into(&octet, 1);
    const auto got = co_await stream.read_some(into);
    if (!got) code = got.error().code;
}

Task<void> write_all_of(Stream& stream, std::string octets, Result<>& outcome) {
    outcome = co_await stream.write_all(octets);
}

Task<void> read_all_of(Stream& stream, std::size_t count, std::string& into) {
    auto got = co_await read_octets(stream, count);
    if (got) into = std::move(*got);
}

}  // namespace

TEST_CASE("TCP: octets both ways, addresses, and the end of the stream") {
    Loop loop;
    TcpPair pair(loop);
    Stream& client = *pair.ends.client;
    Stream& server = *pair.ends.server;
    CHECK(client.peer() == pair.listener->local());
    CHECK(server.peer() == client.local());
    CHECK(server.local() == client.peer());
    CHECK(run_task(loop, client.write_all("ping")));
    CHECK(run_task(loop, server.wait_readable()));
    CHECK(run_task(loop, read_octets(server, 4)).value_or("") == "ping");
    CHECK(run_task(loop, server.write_all("pong")));
    CHECK(run_task(loop, read_octets(client, 4)).value_or("") == "pong");
    CHECK(run_task(loop, server.write_all("last words")));
    server.close();
    server.close();
    CHECK(run_task(loop, server.write_all("x")).error().code == Errc::closed);
    CHECK(run_task(loop, read_octets(client, 10)).value_or("") == "last words");
    CHECK(run_task(loop, client.wait_readable()));  // the end is something to find
    CHECK(run_task(loop, read_octets(client, 1)).error().code == Errc::closed);
    CHECK(run_task(loop, read_octets(client, 1)).error().code == Errc::closed);
}

TEST_CASE("TCP: unread input does not turn the close into a reset that eats the last words") {
    Loop loop;
    TcpPair pair(loop);
    CHECK(run_task(loop, pair.ends.client->write_all(std::string(10'000, 'p'))));
    CHECK(run_task(loop, pair.ends.server->wait_readable()));
    CHECK(run_task(loop, pair.ends.server->write_all("421 bye\r\n")));
    pair.ends.server->close();
    CHECK(run_task(loop, read_octets(*pair.ends.client, 9)).value_or("") == "421 bye\r\n");
}

TEST_CASE("TCP: megabytes go through while both ends wait for each other") {
    Loop loop;
    TcpPair pair(loop);
    std::string octets(8 * 1024 * 1024, '\0');
    for (std::size_t i = 0; i < octets.size(); ++i) octets[i] = static_cast<char>(i * 31 >> 3);
    std::string received;
    Result<> outcome;
    run_task(loop, run_both(loop, write_all_of(*pair.ends.client, octets, outcome),
                            read_all_of(*pair.ends.server, octets.size(), received)));
    CHECK(outcome);
    CHECK((received == octets));
}

TEST_CASE("TCP: the deadline fails what is pending and what follows, until it is set again") {
    Loop loop;
    TcpPair pair(loop);
    Stream& server = *pair.ends.server;
    server.expires_in(1ms);
    CHECK(run_task(loop, server.wait_readable()).error().code == Errc::timeout);
    CHECK(run_task(loop, read_octets(server, 1)).error().code == Errc::timeout);
    CHECK(run_task(loop, server.write_all("x")).error().code == Errc::timeout);
    server.expires_in(1h);
    CHECK(run_task(loop, pair.ends.client->write_all("a")));
    CHECK(run_task(loop, read_octets(server, 1)).value_or("") == "a");
    server.expires_in(1ms);  // earlier than the timer that is running
    CHECK(run_task(loop, read_octets(server, 1)).error().code == Errc::timeout);
    server.expires_in(1ms);
    server.expires_in(0ms);  // taken away: the timer goes off and means nothing
    run_task(loop, sleep_for(loop, 3ms, nullptr));
    CHECK(run_task(loop, pair.ends.client->write_all("b")));
    CHECK(run_task(loop, read_octets(server, 1)).value_or("") == "b");
    server.expires_in(2ms);  // longer than before: an early timer sets itself anew
    server.expires_in(4ms);
    CHECK(run_task(loop, read_octets(server, 1)).error().code == Errc::timeout);
}

TEST_CASE("TCP: a writer whose peer does not read meets its deadline") {
    Loop loop;
    TcpPair pair(loop);
    pair.ends.server->expires_in(20ms);
    const std::string flood(64 * 1024 * 1024, 'f');
    CHECK(run_task(loop, pair.ends.server->write_all(flood)).error().code == Errc::timeout);
}

TEST_CASE("TCP: interrupt fails reads, pending and later, and lets writes go on") {
    Loop loop;
    TcpPair pair(loop);
    Stream& server = *pair.ends.server;
    TaskGroup group(loop);
    Errc code = Errc::internal;
    std::string flood(8 * 1024 * 1024, 'f');
    Result<> written = Error(Errc::internal, "not yet");
    group.spawn("reader", read_one(server, code));
    group.spawn("writer", write_all_of(server, flood, written));
    loop.poll();
    server.interrupt();
    server.interrupt();
    CHECK(run_task(loop, read_octets(*pair.ends.client, flood.size())).has_value());
    run_task(loop, group.join());
    CHECK(code == Errc::cancelled);
    CHECK(written);  // it was pending when the interrupt came
    CHECK(run_task(loop, pair.ends.client->write_all("late")));
    CHECK(run_task(loop, read_octets(server, 1)).error().code == Errc::cancelled);
    CHECK(run_task(loop, server.write_all("421 bye\r\n")));
    CHECK(run_task(loop, read_octets(*pair.ends.client, 9)).value_or("") == "421 bye\r\n");
}

TEST_CASE("TCP: close and destruction fail what is pending") {
    Loop loop;
    TcpPair pair(loop);
    TaskGroup group(loop);
    Errc closed = Errc::internal;
    Errc destroyed = Errc::internal;
    group.spawn("reader", read_one(*pair.ends.client, closed));
    group.spawn("reader", read_one(*pair.ends.server, destroyed));
    loop.poll();
    pair.ends.server.reset();
    pair.ends.client->close();
    run_task(loop, group.join());
    CHECK(closed == Errc::closed);
    CHECK(destroyed == Errc::closed);
}

TEST_CASE("dialer: refused, and a source address of the wrong family") {
    Loop loop;
    const auto dialer = make_tcp_dialer(loop);
    Endpoint nobody;
    {
        TcpPair pair(loop);
        nobody = pair.listener->local();
    }
    CHECK(run_task(loop, dialer->dial(nobody, DialOptions())).error().code == Errc::refused);
    DialOptions options;
    options.source = IpAddress::parse("::1").value();
    CHECK(run_task(loop, dialer->dial(nobody, options)).error().code == Errc::unreachable);
    options.source = IpAddress::parse("192.0.2.1").value();  // TEST-NET-1: no machine has it
    CHECK(run_task(loop, dialer->dial(nobody, options)).error().code == Errc::unreachable);
}

TEST_CASE("dialer: binds the source address, and gives up at its deadline") {
    Loop loop;
    TcpPair pair(loop);
    DialOptions options;
    options.source = IpAddress::parse("127.0.0.9").value();
    const auto stream = run_task(loop, pair.dialer->dial(pair.listener->local(), options));
    REQUIRE(stream);
    CHECK((*stream)->local().address.to_string() == "127.0.0.9");

    // A socket that listens with a full backlog and never accepts: the kernel drops further SYNs without a word.
    const int deaf = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(0x7f000001);
    socklen_t length = sizeof address;
    REQUIRE(::bind(deaf, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(deaf, 0) == 0);
    REQUIRE(::getsockname(deaf, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    DialOptions brief;
    brief.connect_max = 50ms;
    std::vector<std::unique_ptr<Stream>> in_backlog;
    std::optional<Errc> outcome;
    for (int i = 0; i < 8 && !outcome; ++i) {
        auto dialled = run_task(loop, pair.dialer->dial(loopback(ntohs(address.sin_port)), brief));
        if (dialled) {
            in_backlog.push_back(std::move(*dialled));
        } else {
            outcome = dialled.error().code;
        }
    }
    CHECK(outcome == Errc::timeout);
    ::close(deaf);
}

// Whether the peer's octets are acknowledged shows in its send queue; on loopback that is settled when send() returns.
// The kernel acknowledges the first exchanges of a connection at once by itself, so there are many rounds.
TEST_CASE("TCP: acknowledge() tells a peer that holds back the end of its message") {
    Loop loop;
    TcpPair pair(loop);
    const int peer = ::socket(AF_INET, SOCK_STREAM, 0);  // without TCP_NODELAY, as Python's imaplib has it
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(pair.listener->local().port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pair.ends.accepted.reset();
    REQUIRE(::connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    run_task(loop, pair.ends.accepted.wait());
    Stream& server = *pair.ends.server;
    CHECK(run_task(loop, server.write_all("220 hello\r\n")));
    const std::string message(3'000, 'm');
    const std::string end = "\r\n";
    int acknowledged = 0;
    for (int round = 0; round < 20; ++round) {
        REQUIRE(::send(peer, message.data(), message.size(), 0) == 3'000);
        REQUIRE(run_task(loop, read_octets(server, 3'000)));
        server.acknowledge();
        int unsent = 0;
        REQUIRE(::ioctl(peer, SIOCOUTQ, &unsent) == 0);
        if (unsent == 0) ++acknowledged;
        REQUIRE(::send(peer, end.data(), end.size(), 0) == 2);
        REQUIRE(run_task(loop, read_octets(server, 2)));
        CHECK(run_task(loop, server.write_all("250 ok\r\n")));
    }
    CHECK(acknowledged >= 10);
    ::close(peer);
}
