#pragma once
/// tests/support/imap_client: an IMAP client over a stream, for tests that compare whole answers.
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "protocols/imap/grammar.h"
#include "protocols/net/buffered_stream.h"

namespace posthouse::test {

/// Sends a command, whose tag is "t", and gathers the whole answer, literals among it.
class ImapClient {
 public:
    explicit ImapClient(std::unique_ptr<net::Stream> stream) : stream_(std::move(stream)) {
        stream_.raw().expires_in(std::chrono::minutes(1));
    }
    net::Task<Result<std::string>> ask(std::string command) {
        co_await write(command + "\r\n");
        co_return co_await answer();
    }
    net::Task<void> write(std::string octets) { static_cast<void>(co_await stream_.write(octets)); }
    net::Task<Result<std::string>> answer() {
        std::string out;
        for (;;) {
            const auto line = co_await stream_.read_line(1024UL * 1024);
            if (!line) co_return Error(line.error());
            const auto mark = imap::literal_at_end(*line);
            const bool tagged = line->starts_with("t ") && !in_literal_line_;
            out += *line;
            out += "\r\n";
            in_literal_line_ = mark.has_value();
            if (tagged) co_return out;
            for (std::uint64_t left = mark ? mark->octets : 0; left > 0;) {
                const auto piece = co_await stream_.read_some(static_cast<std::size_t>(left));
                if (!piece) co_return Error(piece.error());
                out += *piece;
                left -= piece->size();
            }
        }
    }
    void close() { stream_.raw().close(); }

 private:
    net::BufferedStream stream_;
    bool in_literal_line_ = false;  // the line goes on behind a literal: it cannot be a tagged one
};

}  // namespace posthouse::test
