#pragma once
/// relay/dialogue: what was said to a remote server and what it answered, for the event log; secrets are masked.
///
///     * connected to mx.b.example [192.0.2.1]:25
///     S: 220 mx.b.example ESMTP
///     C: EHLO mail.example.org
/// Limits: kDialogueOctetsMax, then one line says that the rest was left out.  Threads: values.
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
    /// From now on these octets are shown as "****" wherever they occur.
    void hide(std::string_view secret);

    const std::string& text() const { return text_; }
    bool empty() const { return text_.empty(); }

 private:
    void add(std::string_view prefix, std::string_view line);

    std::string text_;
    std::vector<std::string> secrets_;
    bool cut_ = false;
};

}  // namespace posthouse::relay
