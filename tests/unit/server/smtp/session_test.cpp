#include "server/smtp/service.h"

#include <doctest/doctest.h>

#include "protocols/net/buffered_stream.h"
#include "protocols/net/memory.h"
#include "protocols/smtp/reply.h"
#include "tests/support/loop_runner.h"
#include "tests/support/smtp_test_backend.h"

using namespace posthouse;
using server::smtp::Kind;
using server::smtp::SessionDeps;
using server::smtp::SmtpServiceOptions;

namespace {

struct Fixture {
    explicit Fixture(Kind kind = Kind::reception) : options("mx.home.example", kind), group(loop) {
        deps.options = &options;
        deps.backend = &backend;
        deps.metrics = &metrics;
    }

    /// Says all of `input`, ends the connection's sending side by QUIT or close, and returns everything heard.
    std::string talk(std::string_view input) {
        auto pair = net::make_memory_pair(loop, net::Endpoint(), *net::Endpoint::parse("192.0.2.7:4000"));
        group.spawn("session", server::smtp::serve_connection(std::move(pair.first), deps));
        std::string heard;
        test::run_task(loop, dialogue(std::move(pair.second), input, heard));
        test::run_task(loop, group.join());
        return heard;
    }

    static net::Task<void> dialogue(std::unique_ptr<net::Stream> stream, std::string_view input, std::string& heard) {
        stream->expires_in(std::chrono::seconds(20));
        const auto written = co_await stream->write_all(input);
        char buffer[4096];
        while (written) {
            const std::span<char> into(buffer);
            const auto got = co_await stream->read_some(into);
            if (!got) break;
            heard.append(buffer, *got);
        }
        stream->close();
    }

    net::Loop loop;
    SmtpServiceOptions options;
    test::SmtpTestBackend backend;
    Metrics metrics;
    SessionDeps deps;
    net::TaskGroup group;
};

}  // namespace

TEST_CASE("one pipelined message is stored with its trace fields on top") {
    Fixture fixture;
    const std::string heard = fixture.talk(
        "EHLO client.test\r\n"
        "MAIL FROM:<x@far.example> SIZE=20\r\nRCPT TO:<Alice@home.example>\r\nRCPT TO:<nobody@home.example>\r\nDATA\r\n"
        "Subject: a\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    CAPTURE(heard);
    CHECK(heard.starts_with("220 mx.home.example ESMTP"));
    CHECK(heard.contains("250 2.1.5 Recipient ok\r\n550 5.1.1 No such user here\r\n354 "));
    CHECK(heard.ends_with("250 2.0.0 Ok: queued as m1\r\n221 2.0.0 Goodbye\r\n"));
    REQUIRE(fixture.backend.messages.size() == 1);
    const auto& message = fixture.backend.messages[0];
    CHECK(message.envelope.sender.spec() == "x@far.example");
    CHECK(message.octets.starts_with("Return-Path: <x@far.example>\r\nReceived: from client.test ([192.0.2.7])\r\n"));
    CHECK(message.octets.contains("for <Alice@home.example>"));
    CHECK(message.octets.ends_with("Subject: a\r\n\r\n.dot\r\n"));
}

TEST_CASE("suppressed recipients are no errors of who sends: the others are sent, however many there are") {
    Fixture fixture;
    std::string input = "EHLO client.test\r\nMAIL FROM:<alice@home.example>\r\n";
    const std::size_t count = fixture.options.limits.recipient_errors_max + 5;
    for (std::size_t i = 0; i < count; ++i) input += "RCPT TO:<unwanted" + std::to_string(i) + "@far.example>\r\n";
    input += "RCPT TO:<bob@far.example>\r\nDATA\r\nSubject: a\r\n\r\nx\r\n.\r\nQUIT\r\n";
    fixture.backend.neighbour = server::smtp::Login(1, "alice@home.example");
    const std::string heard = fixture.talk(input);
    CAPTURE(heard);
    CHECK_FALSE(heard.contains("\r\n421 "));
    REQUIRE(fixture.backend.messages.size() == 1);
    CHECK(fixture.backend.messages.front().envelope.recipients.size() == 1);
    // Those that do not exist here still end it.
    std::string bad = "EHLO client.test\r\nMAIL FROM:<alice@home.example>\r\n";
    for (std::size_t i = 0; i < count; ++i) bad += "RCPT TO:<nobody" + std::to_string(i) + "@home.example>\r\n";
    CHECK(fixture.talk(bad).contains("\r\n421 4.7.0 Too many errors"));
}
