#include "protocols/mime/encoding.h"

#include <array>
#include <cstdint>

#include "protocols/base/ascii.h"

namespace posthouse::mime {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kQuotedLineOctets = 76;  // RFC 2045 6.7 (5)

/// The value of each digit, -1 for what is none.
constexpr std::array<std::int8_t, 256> make_values() {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i)
        values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    return values;
}
constexpr std::array<std::int8_t, 256> kValues = make_values();

char digit(std::uint32_t bits) { return kAlphabet[bits & 0x3fU]; }

void append_quoted_octet(std::string& out, char c) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const auto octet = static_cast<unsigned char>(c);
    out.push_back('=');
    out.push_back(kHex[octet >> 4U]);
    out.push_back(kHex[octet & 0x0fU]);
}

/// CRLF, a bare LF, or the end of the text.
bool is_line_end_at(std::string_view text, std::size_t at) {
    return at == text.size() || text[at] == '\n' || (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n');
}

/// The soft line break at '=' (RFC 2045 6.7 (5)): octets it takes with the blanks before its line end, or 0.
std::size_t soft_break_octets(std::string_view text, std::size_t at) {
    std::size_t i = at + 1;
    while (i < text.size() && ascii::is_space(text[i])) ++i;
    if (!is_line_end_at(text, i)) return 0;
    if (i < text.size()) i += text[i] == '\r' ? 2 : 1;
    return i - at;
}

}  // namespace

std::string encode_base64(std::string_view data, std::size_t line_octets) {
    std::string out;
    out.reserve(data.size() / 3 * 4 + 8);
    std::size_t column = 0;
    for (std::size_t i = 0; i < data.size(); i += 3) {
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            bits <<= 8U;
            if (i + k < data.size()) bits |= static_cast<unsigned char>(data[i + k]);
        }
        out.push_back(digit(bits >> 18U));
        out.push_back(digit(bits >> 12U));
        out.push_back(i + 1 < data.size() ? digit(bits >> 6U) : '=');
        out.push_back(i + 2 < data.size() ? digit(bits) : '=');
        column += 4;
        if (line_octets > 0 && column + 4 > line_octets) {
            out += "\r\n";
            column = 0;
        }
    }
    if (line_octets > 0 && column > 0) out += "\r\n";
    return out;
}

Decoded decode_base64(std::string_view text) {
    TransferDecoder decoder(TransferEncoding::base64);
    Decoded out;
    out.data = decoder.feed(text);
    out.data += decoder.finish();
    out.damaged = decoder.damaged();
    return out;
}

std::string encode_quoted_printable(std::string_view data) {
    std::string out;
    out.reserve(data.size() + data.size() / 8);
    std::size_t line_start = 0;
    for (std::size_t i = 0; i < data.size(); ++i) {
        const char c = data[i];
        if (c == '\r' && i + 1 < data.size() && data[i + 1] == '\n') {
            out += "\r\n";
            line_start = out.size();
            ++i;
            continue;
        }
        const bool last_of_line = i + 1 == data.size() || is_line_end_at(data, i + 1);
        const bool plain = (ascii::is_printable(c) && c != '=') || c == '\t';
        // Blanks at a line's end, and a lone dot or "From " at its start, do not survive transport.
        const bool fragile = (ascii::is_space(c) && last_of_line) ||
                             (out.size() == line_start && (c == '.' || data.substr(i).starts_with("From ")));
        const std::size_t octets = plain && !fragile ? 1 : 3;
        if (out.size() - line_start + octets + (last_of_line ? 0 : 1) > kQuotedLineOctets) {
            out += "=\r\n";
            line_start = out.size();
        }
        if (octets == 1)
            out.push_back(c);
        else
            append_quoted_octet(out, c);
    }
    return out;
}

Decoded decode_quoted_printable(std::string_view text) {
    Decoded out;
    out.data.reserve(text.size());
    std::size_t i = 0;
    while (i < text.size()) {
        const char c = text[i];
        if (ascii::is_space(c)) {  // blanks before a line end were added in transport, RFC 2045 6.7 (3)
            std::size_t end = i;
            while (end < text.size() && ascii::is_space(text[end])) ++end;
            if (!is_line_end_at(text, end)) out.data += text.substr(i, end - i);
            i = end;
        } else if (c != '=') {
            out.data.push_back(c);
            ++i;
        } else if (i + 2 < text.size() && ascii::is_hex(text[i + 1]) && ascii::is_hex(text[i + 2])) {
            out.data.push_back(static_cast<char>(ascii::hex_value(text[i + 1]) * 16 + ascii::hex_value(text[i + 2])));
            i += 3;
        } else if (const std::size_t soft = soft_break_octets(text, i); soft > 0) {
            i += soft;
        } else {
            out.damaged = true;
            out.data.push_back(c);
            ++i;
        }
    }
    return out;
}

TransferEncoding transfer_encoding(std::string_view token) {
    token = ascii::trim(token);
    if (ascii::equals_ci(token, "base64")) return TransferEncoding::base64;
    if (ascii::equals_ci(token, "quoted-printable")) return TransferEncoding::quoted_printable;
    for (const std::string_view plain : {"", "7bit", "8bit", "binary"})
        if (ascii::equals_ci(token, plain)) return TransferEncoding::identity;
    return TransferEncoding::unknown;
}

Decoded decode_transfer(std::string_view body, TransferEncoding encoding) {
    switch (encoding) {
        case TransferEncoding::base64: return decode_base64(body);
        case TransferEncoding::quoted_printable: return decode_quoted_printable(body);
        case TransferEncoding::identity: return Decoded{.data = std::string(body), .damaged = false};
        case TransferEncoding::unknown: break;
    }
    return Decoded{.data = std::string(body), .damaged = true};
}

// What is left of a quantum that was not filled.
void TransferDecoder::end_base64(std::string& out) {
    if (digits_ >= 2) out.push_back(static_cast<char>(bits_ >> (digits_ == 2 ? 4U : 10U)));
    if (digits_ == 3) out.push_back(static_cast<char>(bits_ >> 2U));
}

// Octets outside the alphabet are skipped (RFC 2045 6.8); only those that are no white space are damage.
void TransferDecoder::take_base64(std::string& out, char c) {
    const int value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) {
        if (c == '=')
            ++pads_;
        else if (c != '\r' && c != '\n' && c != ' ' && c != '\t')
            damaged_ = true;
        return;
    }
    if (pads_ > 0) {  // digits after padding: two encodings set one after the other
        end_base64(out);
        bits_ = digits_ = pads_ = 0;
        damaged_ = true;
    }
    bits_ = (bits_ << 6U) | static_cast<std::uint32_t>(value);
    if (++digits_ < 4) return;
    out.push_back(static_cast<char>(bits_ >> 16U));
    out.push_back(static_cast<char>(bits_ >> 8U));
    out.push_back(static_cast<char>(bits_));
    bits_ = digits_ = 0;
}

std::string TransferDecoder::feed(std::string_view piece) {
    constexpr std::size_t kLineOctetsMax = 64UL * 1024;
    std::string out;
    if (encoding_ == TransferEncoding::base64) {
        out.reserve(piece.size() / 4 * 3 + 3);
        for (const char c : piece) take_base64(out, c);
        return out;
    }
    if (encoding_ != TransferEncoding::quoted_printable) {
        damaged_ = damaged_ || encoding_ == TransferEncoding::unknown;
        return std::string(piece);
    }
    // What was held has no line end, and once it is too long no place to cut: only the piece is searched.
    const std::size_t before = held_.size();
    held_ += piece;
    const std::size_t line_end = piece.rfind('\n');
    std::size_t cut = line_end == std::string_view::npos ? 0 : before + line_end + 1;
    if (cut == 0 && held_.size() > kLineOctetsMax) {
        // No line at all: anywhere but within "=XX", CRLF or a run of blanks, which may yet come before a line end.
        const std::size_t floor = before > kLineOctetsMax ? before : 2;
        cut = held_.size();
        const auto begins = [&](char c) { return ascii::is_space(c) || c == '=' || c == '\r'; };
        while (cut > floor && (begins(held_[cut - 1]) || held_[cut - 2] == '=')) --cut;
        if (cut <= floor) cut = 0;
    }
    Decoded decoded = decode_quoted_printable(std::string_view(held_).substr(0, cut));
    damaged_ = damaged_ || decoded.damaged;
    held_.erase(0, cut);
    return std::move(decoded.data);
}

std::string TransferDecoder::finish() {
    std::string out;
    if (encoding_ == TransferEncoding::base64) {
        end_base64(out);
        const bool cut = digits_ == 1 || (digits_ > 0 && digits_ + pads_ != 4) || (digits_ == 0 && pads_ > 0);
        damaged_ = damaged_ || cut;
        return out;
    }
    Decoded decoded = decode_quoted_printable(held_);
    damaged_ = damaged_ || decoded.damaged;
    return std::move(decoded.data);
}

}  // namespace posthouse::mime
