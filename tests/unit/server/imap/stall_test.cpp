// Whoever does not read what he asked for is cut after the limit, and holds nobody else meanwhile.
#include <doctest/doctest.h>

#include "protocols/net/buffered_stream.h"
#include "tests/support/imap_host.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;

namespace {

constexpr std::size_t kLargeOctets = 8UL * 1024 * 1024;  // several times what the pair of streams holds

struct Client {
    explicit Client(std::unique_ptr<net::Stream> end) : stream(std::move(end)) {}
    net::Task<std::string> say(std::string text, std::string until) {
        stream.put(text + "\r\n");
        static_cast<void>(co_await stream.flush());
        for (;;) {
            const auto line = co_await stream.read_line(64UL * 1024);
            if (!line) co_return std::string();
            if (line->starts_with(until)) co_return std::string(*line);
        }
    }
    net::BufferedStream stream;
};

struct House {
    net::Loop loop;
    test::ImapHost host{loop};
    net::TaskGroup sessions{loop};

    std::unique_ptr<Client> connect(net::Event& over) {
        const auto here = *net::IpAddress::parse("127.0.0.1");
        auto pair = net::make_memory_pair(loop, net::Endpoint(here, 143), net::Endpoint(here, 40000));
        sessions.spawn("imap", serve(std::move(pair.first), over));
        return std::make_unique<Client>(std::move(pair.second));
    }
    net::Task<void> serve(std::unique_ptr<net::Stream> stream, net::Event& over) {
        co_await server::imap::serve_connection(std::move(stream), host.deps);
        over.set();
    }
};

net::Task<void> play(House& house, std::string& other, std::string& stalled) {
    net::Event slow_over(house.loop);
    net::Event quick_over(house.loop);
    const auto slow = house.connect(slow_over);
    const auto quick = house.connect(quick_over);
    std::string login = "a1 LOGIN alice@a.test secret";
    std::string done = "a1 ";
    co_await slow->say(login, done);
    co_await quick->say(login, done);
    std::string select = "a2 SELECT INBOX";
    std::string selected = "a2 ";
    co_await slow->say(select, selected);
    slow->stream.put("a3 FETCH 1 BODY.PEEK[]\r\n");
    static_cast<void>(co_await slow->stream.flush());
    static_cast<void>(co_await slow->stream.read_line(64UL * 1024));  // the answer has begun; no more of it is read
    other = co_await quick->say(select, selected);
    // What the session left behind is less than the message: it was cut.
    co_await slow_over.wait();
    std::size_t octets = 0;
    for (;;) {
        const auto piece = co_await slow->stream.read_some(64UL * 1024);
        if (!piece) break;
        octets += piece->size();
    }
    stalled = octets < kLargeOctets ? "cut" : "whole";
    CHECK(!quick_over.is_set());
    quick->stream.raw().close();
    co_await quick_over.wait();
}

net::Task<void> whole(House& house, std::string& other, std::string& stalled) {
    co_await play(house, other, stalled);
    co_await house.sessions.join();
}

}  // namespace

TEST_CASE("a reader that stalls is cut after the limit, and others go on meanwhile") {
    House house;
    house.host.deps.limits.output_stall_max = std::chrono::milliseconds(300);
    const auto alice = house.host.add_account("alice@a.test", "secret");
    REQUIRE(house.host.deliver(alice, "INBOX", "Subject: large\r\n\r\n" + std::string(kLargeOctets, 'x') + "\r\n"));
    std::string other;
    std::string stalled;
    test::run_task(house.loop, whole(house, other, stalled));
    CHECK(other.starts_with("a2 OK"));
    CHECK(stalled == "cut");
}
