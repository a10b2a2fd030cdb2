// Random command sequences against a small model of RFC 5321 4.1.4: the reply codes must be the model's.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "protocols/net/memory.h"
#include "server/smtp/service.h"
#include "tests/support/loop_runner.h"
#include "tests/support/smtp_test_backend.h"

using namespace posthouse;

namespace {

constexpr int kSessions = 1000;
constexpr int kCommands = 20;

// The reference: what a session is, in as few words as possible.
struct Model {
    enum class State { greeted, ready, mail, rcpt, chunks };
    State state = State::greeted;
    bool esmtp = false;
    std::size_t messages = 0;

    bool open() const { return state == State::mail || state == State::rcpt; }
    void forget() { state = state == State::greeted ? State::greeted : State::ready; }

    // Appends what to send and the codes that must come.
    void step(int choice, std::string& input, std::vector<int>& codes) {
        switch (choice) {
            case 0:
            case 1:
                esmtp = choice == 0;
                state = State::ready;
                return say(input, codes, esmtp ? "EHLO c.test" : "HELO c.test", 250);
            case 2: return say(input, codes, "EHLO", 501);
            case 3: return mail(input, codes, "MAIL FROM:<a@far.example>", 250);
            case 4: return mail(input, codes, "MAIL FROM:<a@far.example> SIZE=10", esmtp ? 250 : 555);
            case 5: return mail(input, codes, "MAIL FROM:a@far.example", 501);
            case 6:
                say(input, codes, "RCPT TO:<alice@home.example>", open() ? 250 : 503);
                if (open()) state = State::rcpt;
                return;
            case 7: return say(input, codes, "RCPT TO:<nobody@home.example>", open() ? 550 : 503);
            case 8: return say(input, codes, "RCPT TO:<x@far.example>", open() ? 554 : 503);
            case 9: return data(input, codes);
            case 10: return chunk(input, codes, false);
            case 11: return chunk(input, codes, true);
            case 12: forget(); return say(input, codes, "RSET", 250);
            case 13: return say(input, codes, "VRFY alice", 252);
            case 14: return say(input, codes, "STARTTLS", 502);
            case 15: return say(input, codes, "AUTH PLAIN AAA=", 502);
            case 16: return say(input, codes, "FROB", 500);
            default: return say(input, codes, "NOOP", 250);
        }
    }

    static void say(std::string& input, std::vector<int>& codes, std::string_view line, int code) {
        input += line;
        input += "\r\n";
        codes.push_back(code);
    }
    void mail(std::string& input, std::vector<int>& codes, std::string_view line, int code) {
        say(input, codes, line, state == State::ready ? code : 503);
        if (state == State::ready && code == 250) state = State::mail;
    }
    void data(std::string& input, std::vector<int>& codes) {
        if (state != State::rcpt) return say(input, codes, "DATA", state == State::mail ? 554 : 503);
        say(input, codes, "DATA", 354);
        say(input, codes, "Subject: x\r\n\r\nRSET\r\n.", 250);
        ++messages;
        state = State::ready;
    }
    void chunk(std::string& input, std::vector<int>& codes, bool last) {
        input += last ? "BDAT 6 LAST\r\nRSET\r\n" : "BDAT 6\r\nQUIT\r\n";
        if (esmtp && (state == State::rcpt || state == State::chunks)) {
            codes.push_back(250);
            messages += last ? 1 : 0;
            state = last ? State::ready : State::chunks;
            return;
        }
        codes.push_back(esmtp && state == State::mail ? 554 : 503);
        forget();
    }
};

net::Task<void> talk(std::unique_ptr<net::Stream> stream, const std::string& input, std::string& heard) {
    stream->expires_in(std::chrono::seconds(20));
    const auto written = co_await stream->write_all(input);
    char buffer[8192];
    while (written) {
        const std::span<char> into(buffer);
        const auto got = co_await stream->read_some(into);
        if (!got) break;
        heard.append(buffer, *got);
    }
}

std::vector<int> codes_of(std::string_view heard) {
    std::vector<int> codes;
    while (heard.size() > 4) {
        if (heard[3] == ' ') codes.push_back((heard[0] - '0') * 100 + (heard[1] - '0') * 10 + (heard[2] - '0'));
        heard.remove_prefix(std::min(heard.size(), heard.find('\n') + 1));
    }
    return codes;
}

}  // namespace

TEST_CASE("20,000 random commands are answered as the model says") {
    net::Loop loop;
    net::TaskGroup group(loop);
    Metrics metrics;
    std::mt19937 random(20261123);
    for (int session = 0; session < kSessions; ++session) {
        test::SmtpTestBackend backend;
        server::smtp::SmtpServiceOptions options("mx.home.example", server::smtp::Kind::reception);
        options.limits.errors_max = options.limits.recipient_errors_max = options.limits.idle_commands_max = 1000;
        server::smtp::SessionDeps deps;
        deps.options = &options;
        deps.backend = &backend;
        deps.metrics = &metrics;
        Model model;
        std::string input;
        std::vector<int> codes{220};
        Model::say(input, codes, "NOOP", 250);
        for (int i = 0; i < kCommands; ++i) model.step(static_cast<int>(random() % 18), input, codes);
        Model::say(input, codes, "QUIT", 221);

        auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
        std::string heard;
        group.spawn("session", server::smtp::serve_connection(std::move(pair.first), deps));
        test::run_task(loop, talk(std::move(pair.second), input, heard));
        test::run_task(loop, group.join());
        CAPTURE(session);
        CAPTURE(input);
        CAPTURE(heard);
        REQUIRE(codes_of(heard) == codes);
        REQUIRE(backend.messages.size() == model.messages);
    }
}
