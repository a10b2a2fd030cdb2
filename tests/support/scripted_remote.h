#pragma once
/// tests/support/scripted_remote: an SMTP server that says what a test tells it to, over any Stream.
///
///     ScriptedRemote remote;
///     remote.once("RCPT TO", "450 4.2.0 greylisted");     the next RCPT gets this, later ones the default
///     remote.always("AUTH", "535 5.7.8 no");
/// A reply may end with kHangUp: the connection is closed behind it; kHangUp alone closes without a word. The reply to
/// "(greeting)", "(message)" (in the middle of DATA) and "." can be written down too. CRLF is added where it is
/// missing.
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/net/buffered_stream.h"
#include "protocols/net/tls.h"

namespace posthouse::test {

inline constexpr std::string_view kHangUp = "<hang up>";

class ScriptedRemote {
 public:
    std::vector<std::string> keywords{"PIPELINING", "8BITMIME", "SIZE 10000000", "DSN"};
    std::vector<std::string> keywords_tls;  ///< after STARTTLS; empty: as before
    net::TlsServerContext* tls = nullptr;   ///< STARTTLS is carried out with it

    std::vector<std::string> lines;     ///< all that was said, but for message contents
    std::vector<std::string> messages;  ///< with dots taken off
    std::size_t connections = 0;
    std::function<void()> on_message;  ///< one more is in `messages`

    void once(std::string key, std::string reply) { once_[std::move(key)].push_back(std::move(reply)); }
    void always(std::string key, std::string reply) { always_[std::move(key)] = std::move(reply); }
    std::size_t count(std::string_view prefix) const {
        std::size_t found = 0;
        for (const std::string& line : lines) found += ascii::starts_with_ci(line, prefix) ? 1 : 0;
        return found;
    }

    net::Task<void> serve(std::unique_ptr<net::Stream> stream) {
        ++connections;
        net::BufferedStream io(std::move(stream));
        bool open = co_await answer(io, "(greeting)", "220 remote.test ESMTP");
        while (open) {
            const auto line = co_await io.read_line(4096);
            if (!line) break;
            const std::string said(*line);
            lines.push_back(said);
            open = co_await obey(io, said);
        }
        io.raw().close();
    }

 private:
    net::Task<bool> obey(net::BufferedStream& io, std::string line) {
        if (ascii::starts_with_ci(line, "EHLO")) co_return co_await answer(io, line, ehlo(io.raw().tls().has_value()));
        if (ascii::starts_with_ci(line, "DATA")) co_return co_await data(io);
        if (ascii::starts_with_ci(line, "STARTTLS")) co_return co_await starttls(io);
        if (ascii::starts_with_ci(line, "AUTH")) co_return co_await answer(io, line, "235 2.7.0 in");
        if (ascii::starts_with_ci(line, "QUIT")) co_return co_await answer(io, line, "221 bye<hang up>");
        co_return co_await answer(io, line, "250 ok");
    }

    net::Task<bool> data(net::BufferedStream& io) {
        const std::string reply = take("DATA", "354 go");
        if (!co_await write(io, reply)) co_return false;
        if (!reply.starts_with("354")) co_return true;
        std::string message;
        const std::string middle = take("(message)", "");
        if (!middle.empty() && !co_await write(io, middle)) co_return false;
        for (;;) {
            const auto line = co_await io.read_line(100'000);
            if (!line) co_return false;
            if (*line == ".") break;
            message += std::string(line->substr(line->starts_with('.') ? 1 : 0)) + "\r\n";
        }
        messages.push_back(std::move(message));
        if (on_message) on_message();
        co_return co_await answer(io, ".", "250 2.0.0 queued");
    }

    net::Task<bool> starttls(net::BufferedStream& io) {
        const std::string reply = take("STARTTLS", tls == nullptr ? "502 no" : "220 go");
        if (!co_await write(io, reply)) co_return false;
        if (!reply.starts_with("220")) co_return true;
        const auto done = co_await io.raw().start_tls_server(*tls);
        co_return done.has_value();
    }

    std::string ehlo(bool encrypted) const {
        const auto& all = encrypted && !keywords_tls.empty() ? keywords_tls : keywords;
        std::string out = all.empty() ? "250 remote.test" : "250-remote.test\r\n";
        for (std::size_t i = 0; i < all.size(); ++i) {
            out += (i + 1 == all.size() ? "250 " : "250-") + all[i] + "\r\n";
        }
        return out;
    }

    // The test's reply for a line that begins with its key; else `standard`.
    std::string take(std::string_view line, std::string standard) {
        for (auto& [key, replies] : once_) {
            if (replies.empty() || !ascii::starts_with_ci(line, key)) continue;
            std::string out = std::move(replies.front());
            replies.pop_front();
            return out;
        }
        // The longest key first: "RCPT TO:<bob@" before "RCPT".
        for (auto it = always_.rbegin(); it != always_.rend(); ++it) {
            if (ascii::starts_with_ci(line, it->first)) return it->second;
        }
        return standard;
    }

    net::Task<bool> answer(net::BufferedStream& io, std::string line, std::string standard) {
        const std::string reply = take(line, std::move(standard));
        co_return co_await write(io, reply);
    }

    net::Task<bool> write(net::BufferedStream& io, std::string reply) {
        const bool hang_up = reply.ends_with(kHangUp);
        if (hang_up) reply.resize(reply.size() - kHangUp.size());
        if (!reply.empty() && !reply.ends_with('\n')) reply += "\r\n";
        const auto written = co_await io.write(reply);
        co_return written.has_value() && !hang_up;
    }

    std::map<std::string, std::deque<std::string>> once_;
    std::map<std::string, std::string> always_;
};

}  // namespace posthouse::test
