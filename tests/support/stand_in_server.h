#pragma once
/// tests/support/stand_in_server: a StandInSite that speaks SMTP over a Stream, for tests of the whole relay. Replies
/// end with LF alone where the site's traits say so; after "silent" the connection stays open and says nothing.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/net/buffered_stream.h"
#include "tests/support/stand_in.h"

namespace posthouse::test {

class StandInServer {
 public:
    /// `heard` is called for every line, before it is answered.
    StandInServer(StandInSite& site, const Clock& clock, std::function<void()> heard = {})
        : site_(site), clock_(clock), heard_(std::move(heard)) {}

    /// One connection to host number `host` of the site.
    net::Task<void> serve(std::unique_ptr<net::Stream> stream, std::size_t host) {
        net::BufferedStream io(std::move(stream));
        const std::string banner = site_.connect(host);
        bool open = !banner.empty() && co_await write(io, banner);
        const bool let_in = banner.starts_with("220");
        while (open && let_in) {
            const auto line = co_await io.read_line(4096);
            if (!line) break;
            const std::string said(*line);
            if (heard_) heard_();
            open = co_await obey(io, said);
        }
        if (let_in) site_.disconnect();
        io.raw().close();
    }

 private:
    net::Task<bool> obey(net::BufferedStream& io, std::string line) {
        std::string reply = "250 2.0.0 Ok";
        if (ascii::starts_with_ci(line, "EHLO")) {
            reply = traits_end("250-mx.stand-in.example", "250-PIPELINING", "250 8BITMIME");
        } else if (ascii::starts_with_ci(line, "MAIL")) {
            recipients_.clear();
            reply = site_.mail(clock_.now());
        } else if (ascii::starts_with_ci(line, "RCPT")) {
            const std::size_t from = line.find('<') + 1;
            const std::string address = line.substr(from, line.find('>') - from);
            reply = site_.rcpt(address, clock_.now());
            if (reply.starts_with("250")) recipients_.push_back(address);
        } else if (ascii::starts_with_ci(line, "DATA")) {
            co_return co_await data(io);
        } else if (ascii::starts_with_ci(line, "QUIT")) {
            reply = "221 2.0.0 Bye";
        }
        const bool stays = co_await write(io, reply);
        co_return stays && !reply.starts_with("221") && !reply.starts_with("421");
    }

    net::Task<bool> data(net::BufferedStream& io) {
        std::string reply = "503 5.5.1 No recipients";
        if (recipients_.empty()) co_return co_await write(io, reply);
        reply = "354 Go on";
        if (!co_await write(io, reply)) co_return false;
        for (;;) {
            const auto line = co_await io.read_line(100'000);
            if (!line) co_return false;
            if (*line == ".") break;
        }
        if (heard_) heard_();
        // Each recipient is one copy; the site has one answer for the transaction.
        std::vector<std::string> copies;
        bool breaks = false;
        for (const std::string& address : recipients_) {
            const std::size_t before = site_.taken(address);
            reply = site_.dot(address);
            breaks = breaks || reply.empty();
            if (site_.taken(address) > before) copies.push_back(address);
        }
        if (breaks) reply.clear();
        const bool is_said = !reply.empty() && co_await write(io, reply);
        if (is_said) co_return true;
        for (const std::string& address : copies) site_.leave_unsaid(address);
        if (!reply.empty()) co_return false;
        if (site_.traits.silent_after_data <= 0) co_return false;
        const auto gone = co_await io.read_line(100);  // until the other side has had enough
        co_return gone.has_value();
    }

    std::string traits_end(std::string_view a, std::string_view b, std::string_view c) const {
        const std::string_view end = site_.traits.lf_only ? "\n" : "\r\n";
        return std::string(a).append(end).append(b).append(end).append(c);
    }
    net::Task<bool> write(net::BufferedStream& io, std::string reply) {
        reply += site_.traits.lf_only ? "\n" : "\r\n";
        const auto written = co_await io.write(reply);
        co_return written.has_value();
    }

    StandInSite& site_;
    const Clock& clock_;
    std::function<void()> heard_;
    std::vector<std::string> recipients_;
};

}  // namespace posthouse::test
