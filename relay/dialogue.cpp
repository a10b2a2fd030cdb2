#include "relay/dialogue.h"

#include "protocols/base/ascii.h"

namespace posthouse::relay {

void Dialogue::add(std::string_view prefix, std::string_view line) {
    if (cut_) return;
    if (text_.size() - spans_octets_ + line.size() > kDialogueOctetsMax) {
        text_ += "* the rest of the dialogue is left out\n";
        cut_ = true;
        return;
    }
    const std::size_t from = text_.size();
    std::string shown(line);
    for (const std::string& secret : secrets_) {
        for (std::size_t at = shown.find(secret); at != std::string::npos; at = shown.find(secret, at + 4)) {
            shown.replace(at, secret.size(), "****");
        }
    }
    for (char& c : shown) {
        if (ascii::is_control(c)) c = '?';
    }
    text_.append(prefix).append(shown).append("\n");
    if (!about_) return;
    spans_octets_ += text_.size() - from;
    if (!spans_.empty() && spans_.back().to == from && spans_.back().recipient == *about_) {
        spans_.back().to = text_.size();
    } else {
        spans_.push_back(Span(from, text_.size(), *about_));
    }
}

void Dialogue::about(std::optional<std::size_t> recipient) {
    about_ = recipient && *recipient < recipients_.size() ? std::optional(recipients_[*recipient]) : std::nullopt;
}

std::string Dialogue::text_for(std::size_t recipient) const {
    std::string out;
    std::size_t at = 0;
    std::size_t others = 0;
    for (const Span& span : spans_) {
        if (span.recipient == recipient) continue;
        out.append(text_, at, span.from - at);
        if (others++ == 0) out += "* the lines about the others are left out\n";
        at = span.to;
    }
    out.append(text_, at);
    return out;
}

void Dialogue::client(std::string_view lines) {
    while (!lines.empty()) {
        const std::size_t end = lines.find("\r\n");
        add("C: ", lines.substr(0, end));
        if (end == std::string_view::npos) return;
        lines.remove_prefix(end + 2);
    }
}

void Dialogue::server(const smtp::Reply& reply) {
    std::string lines = smtp::format_reply(reply);
    std::string_view rest = lines;
    while (!rest.empty()) {
        const std::size_t end = rest.find("\r\n");
        add("S: ", rest.substr(0, end));
        if (end == std::string_view::npos) return;
        rest.remove_prefix(end + 2);
    }
}

void Dialogue::note(std::string_view text) { add("* ", text); }

void Dialogue::hide(std::string_view secret) {
    if (secret.size() >= 3) secrets_.emplace_back(secret);  // shorter ones would hide half the alphabet
}

}  // namespace posthouse::relay
