// The HTTPS client against servers that answer as a test wrote it down. (TLS itself: protocols/net/tls_test.)
#include "protocols/http/client.h"

#include <doctest/doctest.h>

#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"
#include "tests/support/memory_dialer.h"

namespace posthouse::http {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view kAddress = "192.0.2.80";

// Handshake, request up to its empty line, the answer, end.
net::Task<void> answer_once(std::unique_ptr<net::Stream> stream, net::TlsClientContext& context, std::string text,
                            std::string& heard) {
    // The memory stream's handshake marks one end only; which side is named does not matter to it.
    const auto secure = co_await stream->start_tls_client(context, net::TlsPeer("server"));
    if (!secure) co_return;
    std::string buffer(4096, '\0');
    while (heard.find("\r\n\r\n") == std::string::npos) {
        const auto got = co_await stream->read_some(std::span<char>(buffer.data(), buffer.size()));
        if (!got) co_return;
        heard.append(buffer.data(), *got);
    }
    const auto ignored = co_await stream->write_all(text);
    static_cast<void>(ignored);
}

struct Bench {
    Bench() {
        resolver.add_a("web.test", kAddress);
        auto made = net::TlsClientContext::make(net::Verify::required, "");
        REQUIRE(made.has_value());
        tls = *std::move(made);
        deps.resolver = &resolver;
        deps.dialer = &dialer;
        deps.tls = tls.get();
    }
    Result<Response> get(std::string answer, Limits limits = Limits()) {
        heard.clear();
        const net::Endpoint at(net::IpAddress::parse(kAddress).value(), 443);
        dialer.serve(at, [this, answer](std::unique_ptr<net::Stream> stream) {
            return answer_once(std::move(stream), *tls, answer, heard);
        });
        Request request = request_for("https://web.test/.well-known/x?a=b").value();
        auto out = test::run_task(loop, exchange(deps, std::move(request), limits));
        test::run_task(loop, dialer.join());
        return out;
    }

    net::Loop loop;
    test::FakeResolver resolver;
    test::MemoryDialer dialer{loop};
    std::unique_ptr<net::TlsClientContext> tls;
    Deps deps;
    std::string heard;
};

}  // namespace

TEST_CASE("RFC 9112: one request, and the answer by length or in chunks") {
    Bench bench;
    const auto plain =
        bench.get("HTTP/1.1 200 OK\r\ncontent-type: Text/Plain; charset=utf-8\r\nContent-Length: 3\r\n\r\nabc");
    REQUIRE(plain.has_value());
    CHECK(plain->status == 200);
    CHECK(plain->body == "abc");
    CHECK(plain->media_type() == "text/plain");
    CHECK(bench.heard.starts_with("GET /.well-known/x?a=b HTTP/1.1\r\nHost: web.test\r\n"));
    const auto chunked = bench.get(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n");
    REQUIRE(chunked.has_value());
    CHECK(chunked->status == 201);
    CHECK(chunked->body == "abcde");
    // A redirect is an answer.
    const auto moved = bench.get("HTTP/1.1 302 Found\r\nLocation: https://other.test/\r\nContent-Length: 0\r\n\r\n");
    REQUIRE(moved.has_value());
    CHECK(moved->status == 302);
    CHECK(bench.dialer.dialled().size() == 3);
}

TEST_CASE("what cannot be told apart, has no end or is too long is no answer") {
    Bench bench;
    Limits small;
    small.body_octets_max = 4;
    small.time_max = 300ms;
    struct Case {
        std::string answer;
        Errc code;
    };
    const Case cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", Errc::too_large},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", Errc::too_large},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", Errc::invalid},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", Errc::invalid},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Errc::unsupported},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", Errc::invalid},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", Errc::invalid},
        {"HTTP/1.1 200 OK\r\n\r\nabc", Errc::unsupported},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", Errc::closed},
        {"HTTP/1.1 200 OK\r\nname : value\r\n\r\n", Errc::invalid},
        {"HTTP/2 200\r\n\r\n", Errc::invalid},
        {"220 mail.test ESMTP\r\n", Errc::invalid},
        {"HTTP/1.1 200 OK\r\nx: " + std::string(kHeadOctetsMax, 'x') + "\r\n\r\n", Errc::too_large},
        {"", Errc::closed},
    };
    for (const Case& c : cases) {
        CAPTURE(c.answer.substr(0, 80));
        const auto got = bench.get(c.answer, small);
        REQUIRE_FALSE(got.has_value());
        CHECK(got.error().code == c.code);
    }
}

TEST_CASE("a name of others must not lead into our house") {
    Bench bench;
    bench.resolver.clear();
    bench.resolver.add_a("web.test", "127.0.0.1");
    bench.resolver.add_a("web.test", "10.0.0.1");
    CHECK(bench.get("").error().code == Errc::denied);
    CHECK(bench.dialer.dialled().empty());
    bench.resolver.clear();
    CHECK(bench.get("").error().code == Errc::not_found);
    bench.resolver.set_failure("web.test", Errc::dns_bogus);
    CHECK(bench.get("").error().code == Errc::dns_bogus);
}

TEST_CASE("a server that says nothing is given up in time") {
    Bench bench;
    Limits quick;
    quick.time_max = 50ms;
    const net::Endpoint at(net::IpAddress::parse(kAddress).value(), 443);
    net::Event over(bench.loop);
    bench.dialer.serve(at, [&](std::unique_ptr<net::Stream> stream) -> net::Task<void> {
        return [](std::unique_ptr<net::Stream> held, net::Event& end) -> net::Task<void> {
            co_await end.wait();
            held->close();
        }(std::move(stream), over);
    });
    Request request = request_for("https://web.test/").value();
    const auto got = test::run_task(bench.loop, exchange(bench.deps, std::move(request), quick));
    CHECK(got.error().code == Errc::timeout);
    over.set();
    test::run_task(bench.loop, bench.dialer.join());
}

TEST_CASE("URLs: https, a host name, nothing that breaks the request apart") {
    CHECK(request_for("https://r.test/v1/tlsrpt")->target == "/v1/tlsrpt");
    CHECK(request_for("https://R.test:8443")->port == 8443);
    CHECK(request_for("https://r.test")->target == "/");
    for (const char* bad : {"http://r.test/", "https://u@r.test/", "https://192.0.2.1/", "https://[::1]/", "https:///x",
                            "https://r.test/a b", "https://r.test/\r\nX: y", "https://r.test/#f", "https://r.test?x"}) {
        CAPTURE(bad);
        CHECK_FALSE(request_for(bad).has_value());
    }
    Request request = request_for("https://r.test/").value();
    request.fields.emplace_back("X-Y", "a\r\nB: c");
    CHECK_FALSE(format_head(request).has_value());
    request.fields.clear();
    request.method = "POST";
    CHECK(format_head(request)->find("Content-Length: 0\r\n") != std::string::npos);
}

}  // namespace posthouse::http
