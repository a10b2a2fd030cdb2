#include "protocols/net/buffered_stream.h"

#include "tests/unit/protocols/net/pair.h"
#include "tests/support/memory_dialer.h"

using namespace posthouse;
using namespace posthouse::net;
using namespace std::chrono_literals;

namespace {

struct Fixture {
    Fixture() {
        MemoryPair pair = make_memory_pair(loop, loopback(25), Endpoint(IpAddress::v4(0xc0000209), 4711));
        stream = std::make_unique<BufferedStream>(std::move(pair.first));
        peer = std::move(pair.second);
    }
    void send(std::string_view octets) { REQUIRE(run_task(loop, peer->write_all(octets))); }
    Result<std::string> line(std::size_t octets_max = 512) {
        const auto got = run_task(loop, stream->read_line(octets_max));
        if (!got) return got.error();
        return std::string(*got);
    }

    Loop loop;
    std::unique_ptr<BufferedStream> stream;
    std::unique_ptr<Stream> peer;
};

Task<void> send_in_pieces(Stream& peer, Loop& loop, std::vector<std::string> pieces) {
    for (const std::string& piece : pieces) {
        CHECK(co_await peer.write_all(piece));
        co_await sleep_for(loop, 0ms, nullptr);  // lets the reader see each piece by itself
    }
}

Task<void> collect_lines(BufferedStream& stream, std::size_t count, std::vector<std::string>& lines) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto line = co_await stream.read_line(64);
        lines.push_back(line ? std::string(*line) : std::string(to_string(line.error().code)));
    }
}

}  // namespace

TEST_CASE("lines are cut at CRLF only, wherever the packets end") {
    struct Case {
        std::vector<std::string> packets;
        std::vector<std::string> lines;
    };
    const Case cases[] = {
        {{"EHLO a\r\n"}, {"EHLO a"}},
        {{"MAIL\r\nRCPT\r\nDATA\r\n"}, {"MAIL", "RCPT", "DATA"}},
        {{"MA", "IL", "\r", "\n", "\r\n"}, {"MAIL", ""}},
        {{"a\r", "\nb\r", "\n"}, {"a", "b"}},
        {{"bare\nlf\r\n", "bare\rcr\r\n"}, {"bare\nlf", "bare\rcr"}},
        {{"a\r\r\n"}, {"a\r"}},
        {{std::string("nul\0in\r\n", 8)}, {std::string("nul\0in", 6)}},
        {{std::string(62, 'x') + "\r\n"}, {std::string(62, 'x')}},
        {{std::string(63, 'x') + "\r\nnext\r\n"}, {"too_large", "next"}},
        {{std::string(62, 'x') + "\r", "\n", "next\r\n"}, {std::string(62, 'x'), "next"}},
        {{std::string(64, 'x'), std::string(5000, 'y') + "\r", "\r\nnext\r\n"}, {"too_large", "next"}},
        {{std::string(64, 'x') + "\r", "\nnext\r\n"}, {"too_large", "next"}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.lines.front());
        Fixture f;
        std::vector<std::string> lines;
        run_task(f.loop, run_both(f.loop, send_in_pieces(*f.peer, f.loop, c.packets),
                                  collect_lines(*f.stream, c.lines.size(), lines)));
        CHECK(lines == c.lines);
        CHECK(f.stream->buffered().empty());
    }
}

TEST_CASE("an endless line is swallowed in bounded memory, and then the connection is closed") {
    Fixture f;
    std::vector<std::string> lines;
    std::vector<std::string> packets(BufferedStream::swallow_octets_max / 65536 + 2, std::string(65536, 'x'));
    packets.pop_back();
    packets.back() += "x";
    packets.emplace_back("xx");
    TaskGroup group(f.loop);
    group.spawn("reader", collect_lines(*f.stream, 2, lines));
    bool refused = false;
    for (const std::string& packet : packets) {
        if (!run_task(f.loop, f.peer->write_all(packet))) refused = true;
    }
    run_task(f.loop, group.join());
    CHECK(lines == std::vector<std::string>{"closed", "closed"});
    CHECK_FALSE(run_task(f.loop, f.peer->write_all("more")));
    static_cast<void>(refused);  // how far the sender gets before it notices is a matter of scheduling
}

TEST_CASE("the end of the stream, and what comes before it") {
    Fixture f;
    f.send("QUIT\r\nhalf");
    f.peer->close();
    CHECK(f.line().value_or("?") == "QUIT");
    CHECK(f.line().error().code == Errc::closed);
    CHECK(f.stream->buffered() == "half");
}

TEST_CASE("read_some takes from the buffer first, and never more than asked for") {
    Fixture f;
    f.send("DATA\r\n0123456789");
    CHECK(f.line().value_or("?") == "DATA");
    CHECK(f.stream->buffered() == "0123456789");
    CHECK(run_task(f.loop, f.stream->read_some(4)).value_or("") == "0123");
    f.stream->consume(1);
    CHECK(run_task(f.loop, f.stream->read_some(100)).value_or("") == "56789");
    f.send("next");
    CHECK(run_task(f.loop, f.stream->read_some(2)).value_or("") == "ne");
    CHECK(f.stream->buffered() == "xt");
}

TEST_CASE("fill_more adds behind what is there, up to its limit") {
    Fixture f;
    f.send("abc");
    CHECK(run_task(f.loop, f.stream->fill_more(5)));
    CHECK(f.stream->buffered() == "abc");
    f.send("defgh");
    CHECK(run_task(f.loop, f.stream->fill_more(5)));
    CHECK(f.stream->buffered() == "abcde");
    CHECK(run_task(f.loop, f.stream->fill_more(5)).error().code == Errc::too_large);
    f.stream->consume(2);
    CHECK(run_task(f.loop, f.stream->fill_more(5)));
    CHECK(f.stream->buffered() == "cdefg");
}

TEST_CASE("drop_buffered forgets commands that came before the handshake") {
    Fixture f;
    f.send("STARTTLS\r\nMAIL FROM:<evil@example>\r\n");
    CHECK(f.line().value_or("?") == "STARTTLS");
    CHECK_FALSE(f.stream->buffered().empty());
    f.stream->drop_buffered();
    CHECK(f.stream->buffered().empty());
    f.send("EHLO a\r\n");
    CHECK(f.line().value_or("?") == "EHLO a");
}

TEST_CASE("output is gathered until it is flushed, and keeps its order") {
    Fixture f;
    f.stream->put("250-a\r\n");
    f.stream->put("250 b\r\n");
    CHECK(f.stream->pending_output() == 14);
    CHECK(run_task(f.loop, f.stream->flush()));
    CHECK(f.stream->pending_output() == 0);
    CHECK(run_task(f.loop, f.stream->flush()));
    f.stream->put("354\r\n");
    CHECK(run_task(f.loop, f.stream->write("body")));
    CHECK(run_task(f.loop, read_octets(*f.peer, 23)).value_or("") == "250-a\r\n250 b\r\n354\r\nbody");

    const std::string big(200'000, 'z');
    f.stream->put(big);
    CHECK(run_task(f.loop, f.stream->flush()));
    CHECK(run_task(f.loop, read_octets(*f.peer, big.size())).value_or("") == big);
    f.peer->close();
    f.stream->put("x");
    CHECK(run_task(f.loop, f.stream->flush()).error().code == Errc::closed);
}

TEST_CASE("memory streams: peers, played TLS, deadlines, interrupts, a full pipe") {
    Fixture f;
    CHECK(f.stream->raw().peer().to_string() == "192.0.2.9:4711");
    CHECK(f.peer->peer().port == 25);
    CHECK_FALSE(f.stream->raw().tls());

    f.stream->raw().expires_in(1ms);
    CHECK(f.line().error().code == Errc::timeout);
    CHECK(f.line().error().code == Errc::timeout);  // until it is set again
    f.stream->raw().expires_in(0ms);
    f.send("still here\r\n");
    CHECK(f.line().value_or("?") == "still here");

    TaskGroup group(f.loop);
    std::vector<std::string> lines;
    group.spawn("reader", collect_lines(*f.stream, 1, lines));
    f.loop.poll();
    f.stream->raw().interrupt();
    run_task(f.loop, group.join());
    CHECK(lines == std::vector<std::string>{"cancelled"});
    f.stream->put("421 bye\r\n");
    CHECK(run_task(f.loop, f.stream->flush()));  // writes go on
    CHECK(run_task(f.loop, read_octets(*f.peer, 9)).value_or("") == "421 bye\r\n");

    Fixture g;
    g.peer->expires_in(1ms);
    const std::string flood(2 * 1024 * 1024, 'f');
    CHECK(run_task(g.loop, g.peer->write_all(flood)).error().code == Errc::timeout);
    g.stream->raw().close();
    CHECK(g.line().error().code == Errc::closed);
}

namespace {

Task<void> greet(std::unique_ptr<Stream> stream) {
    const std::string greeting = "220 " + stream->peer().address.to_string() + "\r\n";
    static_cast<void>(co_await stream->write_all(greeting));
}

}  // namespace

TEST_CASE("the dialer of the tests: sessions in memory, refusals, and who was dialled") {
    Loop loop;
    test::MemoryDialer dialer(loop);
    const Endpoint mx = Endpoint::parse("192.0.2.1:25").value();
    const Endpoint deaf = Endpoint::parse("192.0.2.2:25").value();
    dialer.serve(mx, greet);
    dialer.fail(deaf, Error(Errc::timeout, "no answer"));
    const auto stream = run_task(loop, dialer.dial(mx, DialOptions()));
    REQUIRE(stream);
    CHECK((*stream)->peer() == mx);
    CHECK(run_task(loop, read_octets(**stream, 15)).value_or("") == "220 127.0.0.1\r\n");
    CHECK(run_task(loop, dialer.dial(deaf, DialOptions())).error().code == Errc::timeout);
    CHECK(run_task(loop, dialer.dial(loopback(1), DialOptions())).error().code == Errc::refused);
    CHECK(dialer.dialled() == std::vector<Endpoint>{mx, deaf, loopback(1)});
    run_task(loop, dialer.join());
}
