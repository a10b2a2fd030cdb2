#include "protocols/mailauth/canonical.h"

#include <algorithm>
#include <cstring>

#include "protocols/base/ascii.h"

namespace posthouse::mailauth {

namespace {

constexpr std::string_view kCrlf = "\r\n";

// RFC 6376 3.4.2: unfolded, runs of blanks one space, none at the end and none around the colon.
std::string relaxed_field(std::string_view field) {
    const std::size_t colon = std::min(field.find(':'), field.size());
    std::string out = ascii::to_lower(ascii::trim(field.substr(0, colon)));
    out += ':';
    bool blank = false;
    const std::string_view value = ascii::trim(field.substr(std::min(colon + 1, field.size())));
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (value.substr(i, 2) == kCrlf) {
            ++i;
            continue;
        }
        if (ascii::is_space(value[i])) {
            blank = true;
            continue;
        }
        if (blank) out += ' ';
        blank = false;
        out += value[i];
    }
    return out.append(kCrlf);
}

}  // namespace

std::string canonical_field(Canonical form, std::string_view raw_field) {
    if (raw_field.ends_with(kCrlf)) raw_field.remove_suffix(kCrlf.size());
    if (form == Canonical::relaxed) return relaxed_field(raw_field);
    return std::string(raw_field).append(kCrlf);  // RFC 6376 3.4.1: not changed in any way
}

void BodyCanonicaliser::update(std::string_view piece) {
    if (piece.empty()) return;
    if (cr_) {  // the CR of the piece before is half a line end, or an octet of its own
        cr_ = false;
        if (piece.front() == '\n') {
            end_line();
            piece.remove_prefix(1);
        } else {
            put("\r");
        }
    }
    if (piece.ends_with('\r')) {
        cr_ = true;
        piece.remove_suffix(1);
    }
    if (form_ == Canonical::simple) {
        update_simple(piece);
    } else {
        update_relaxed(piece);
    }
}

void BodyCanonicaliser::update_simple(std::string_view piece) {
    while (!piece.empty()) {
        const std::size_t end = piece.find(kCrlf);
        put(piece.substr(0, end));
        if (end == std::string_view::npos) return;
        end_line();
        piece.remove_prefix(end + kCrlf.size());
    }
}

void BodyCanonicaliser::update_relaxed(std::string_view piece) {
    std::size_t start = 0;  // of the run of octets that go out as they are
    std::size_t at = 0;
    while (at < piece.size()) {
        const char c = piece[at];
        const bool line_end = c == '\r' && at + 1 < piece.size() && piece[at + 1] == '\n';
        if (!line_end && !ascii::is_space(c)) {
            ++at;
            continue;
        }
        put(piece.substr(start, at - start));
        if (line_end) {
            end_line();
        } else {
            blank_ = true;
        }
        at += line_end ? kCrlf.size() : 1;
        start = at;
    }
    put(piece.substr(start));
}

void BodyCanonicaliser::end_line() {
    blank_ = false;  // RFC 6376 3.4.4: blanks at the end of a line are not there
    ++line_ends_;
}

void BodyCanonicaliser::put(std::string_view octets) {
    if (octets.empty()) return;
    flush_line_ends();
    any_ = true;
    if (blank_) {
        blank_ = false;
        if (used_ == buffer_.size()) flush_buffer();
        buffer_[used_++] = ' ';
    }
    if (octets.size() > buffer_.size() - used_) flush_buffer();
    if (octets.size() > buffer_.size()) {
        sink_(octets);
        return;
    }
    std::memcpy(buffer_.data() + used_, octets.data(), octets.size());
    used_ += octets.size();
}

void BodyCanonicaliser::flush_line_ends() {
    for (; line_ends_ > 0; --line_ends_) {
        if (buffer_.size() - used_ < kCrlf.size()) flush_buffer();
        std::memcpy(buffer_.data() + used_, kCrlf.data(), kCrlf.size());
        used_ += kCrlf.size();
    }
}

void BodyCanonicaliser::flush_buffer() {
    if (used_ > 0) sink_(std::string_view(buffer_.data(), used_));
    used_ = 0;
}

void BodyCanonicaliser::finish() {
    if (cr_) put("\r");
    cr_ = false;
    blank_ = false;
    // Of the line ends at the end one is left; a last line without one is given it. A body that is empty after this
    // is one CRLF in simple form and nothing in relaxed form (RFC 6376 3.4.3 and 3.4.4).
    line_ends_ = any_ || form_ == Canonical::simple ? 1 : 0;
    flush_line_ends();
    flush_buffer();
}

}  // namespace posthouse::mailauth
