#pragma once
/// relay/dialogue: what was said to a remote server and what it answered, for the event log; secrets are masked.
///
///     * connected to mx.b.example [192.0.2.1]:25
///     S: 220 mx.b.example ESMTP
///     C: EHLO mail.example.org
/// A transaction for many is told to each with its own lines: RCPT of the others and the answers are left out.
/// Limits: kDialogueOctetsMax beside such lines, then one line says that the rest was left out.  Threads: values.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/smtp/reply.h"

namespace posthouse::relay {

inline constexpr std::size_t kDialogueOctetsMax = 16 * 1024;

class Dialogue {
 public:
    /// Lines of ours; a trailing CRLF is taken off. Several lines may be given at once.
    void client(std::string_view lines);
    void server(const smtp::Reply& reply);
    /// What happened beside the words: connections, TLS, breaks.
    void note(std::string_view text);
    /// The transaction that comes is for these recipients, by the numbers of whoever asks for text_for.
    void begin(std::vector<std::size_t> recipients) { recipients_ = std::move(recipients); }
    /// What comes now is about that one of the transaction alone; none: about all.
    void about(std::optional<std::size_t> recipient);
    /// From now on these octets are shown as "****" wherever they occur.
    void hide(std::string_view secret);

    const std::string& text() const { return text_; }
    std::string text_for(std::size_t recipient) const;
    bool empty() const { return text_.empty(); }

 private:
    void add(std::string_view prefix, std::string_view line);

    struct Span {
        std::size_t from = 0;
        std::size_t to = 0;
        std::size_t recipient = 0;
    };

    std::string text_;
    std::vector<Span> spans_;  // of `text_`, that are about one recipient
    std::size_t spans_octets_ = 0;
    std::vector<std::size_t> recipients_;
    std::optional<std::size_t> about_;
    std::vector<std::string> secrets_;
    bool cut_ = false;
};

}  // namespace posthouse::relay
