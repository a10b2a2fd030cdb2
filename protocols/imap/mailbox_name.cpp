#include "protocols/imap/mailbox_name.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "protocols/base/ascii.h"

namespace posthouse::imap {

namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

void append_utf8(std::string& out, std::uint32_t code) {
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xc0U | (code >> 6U));
        out += static_cast<char>(0x80U | (code & 0x3fU));
    } else if (code < 0x10000) {
        out += static_cast<char>(0xe0U | (code >> 12U));
        out += static_cast<char>(0x80U | ((code >> 6U) & 0x3fU));
        out += static_cast<char>(0x80U | (code & 0x3fU));
    } else {
        out += static_cast<char>(0xf0U | (code >> 18U));
        out += static_cast<char>(0x80U | ((code >> 12U) & 0x3fU));
        out += static_cast<char>(0x80U | ((code >> 6U) & 0x3fU));
        out += static_cast<char>(0x80U | (code & 0x3fU));
    }
}

// UTF-16BE units in modified base64, without the shift octets. Nothing: bad characters, lone surrogates.
bool append_shifted(std::string& out, std::string_view base64) {
    std::uint32_t bits = 0;
    unsigned count = 0;
    std::uint32_t high = 0;  // a high surrogate that waits for its low one
    for (const char c : base64) {
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos) return false;
        bits = (bits << 6U) | static_cast<std::uint32_t>(value);
        count += 6;
        if (count < 16) continue;
        count -= 16;
        const std::uint32_t unit = (bits >> count) & 0xffffU;
        bits &= (1U << count) - 1U;
        if (unit >= 0xd800 && unit <= 0xdbff && high == 0) {
            high = unit;
        } else if (unit >= 0xdc00 && unit <= 0xdfff && high != 0) {
            append_utf8(out, 0x10000U + ((high - 0xd800U) << 10U) + (unit - 0xdc00U));
            high = 0;
        } else if (high != 0 || (unit >= 0xd800 && unit <= 0xdfff)) {
            return false;
        } else {
            append_utf8(out, unit);
        }
    }
    return high == 0 && bits == 0 && count < 6;
}

std::uint32_t take_code_point(std::string_view utf8, std::size_t& at) {
    const auto octet = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(utf8[i])); };
    const std::uint32_t lead = octet(at);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (at + more >= utf8.size()) {
        at = utf8.size();
        return 0xfffd;
    }
    std::uint32_t code = more == 0 ? lead : lead & (0x3fU >> more);
    for (std::size_t i = 1; i <= more; ++i) code = (code << 6U) | (octet(at + i) & 0x3fU);
    at += more + 1;
    return code;
}

void append_base64(std::string& out, const std::vector<std::uint16_t>& units) {
    std::uint32_t bits = 0;
    unsigned count = 0;
    out += '&';
    for (const std::uint16_t unit : units) {
        bits = (bits << 16U) | unit;
        count += 16;
        while (count >= 6) {
            count -= 6;
            out += kAlphabet[(bits >> count) & 0x3fU];
        }
        bits &= (1U << count) - 1U;
    }
    if (count > 0) out += kAlphabet[(bits << (6U - count)) & 0x3fU];
    out += '-';
}

Result<std::string> decode_modified_utf7(std::string_view wire) {
    const Error invalid(Errc::invalid, "Mailbox name is not valid modified UTF-7");
    std::string out;
    for (std::size_t at = 0; at < wire.size();) {
        const char c = wire[at];
        if (!ascii::is_printable(c)) return invalid;
        if (c != '&') {
            out += c;
            ++at;
            continue;
        }
        const std::size_t end = wire.find('-', at);
        if (end == std::string_view::npos) return invalid;
        if (end == at + 1)
            out += '&';
        else if (!append_shifted(out, wire.substr(at + 1, end - at - 1)))
            return invalid;
        at = end + 1;
    }
    // One meaning has one spelling: everything else is refused by writing it again (RFC 3501 5.1.3).
    if (encode_mailbox(out) != wire) return invalid;
    return out;
}

// Net-Unicode without what would break a line (RFC 9755 3, RFC 5198 2).
Result<std::string> check_utf8(std::string_view wire) {
    const Error invalid(Errc::invalid, "Mailbox name is not valid UTF-8 without control characters");
    if (!ascii::is_valid_utf8(wire)) return invalid;
    for (std::size_t at = 0; at < wire.size();) {
        const std::uint32_t code = take_code_point(wire, at);
        const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        if (control || code == 0x2028 || code == 0x2029) return invalid;
    }
    return std::string(wire);
}

}  // namespace

std::string encode_mailbox(std::string_view utf8, NameForm form) {
    if (form == NameForm::utf8) return std::string(utf8);
    std::string out;
    std::vector<std::uint16_t> units;
    for (std::size_t at = 0; at < utf8.size();) {
        const char c = utf8[at];
        if (ascii::is_printable(c)) {
            if (!units.empty()) append_base64(out, units);
            units.clear();
            out += c;
            if (c == '&') out += '-';
            ++at;
            continue;
        }
        const std::uint32_t code = take_code_point(utf8, at);
        if (code >= 0x10000) {
            units.push_back(static_cast<std::uint16_t>(0xd800U + ((code - 0x10000U) >> 10U)));
            units.push_back(static_cast<std::uint16_t>(0xdc00U + ((code - 0x10000U) & 0x3ffU)));
        } else {
            units.push_back(static_cast<std::uint16_t>(code));
        }
    }
    if (!units.empty()) append_base64(out, units);
    return out;
}

Result<std::string> decode_mailbox(std::string_view wire, NameForm form) {
    TRY(std::string out, form == NameForm::utf8 ? check_utf8(wire) : decode_modified_utf7(wire));
    const std::string_view first = std::string_view(out).substr(0, out.find(kDelimiter));
    if (ascii::equals_ci(first, "INBOX")) out.replace(0, first.size(), "INBOX");
    return out;
}

bool matches_pattern(std::string_view name, std::string_view pattern) {
    const std::string_view first = name.substr(0, name.find(kDelimiter));
    const std::size_t inbox = first == "INBOX" ? first.size() : 0;
    // The positions of the pattern that the name read so far can have reached: no backtracking.
    std::vector<char> reached(pattern.size() + 1, 0);
    std::vector<char> next(pattern.size() + 1, 0);
    const auto skip_wildcards = [&](std::vector<char>& set) {
        for (std::size_t p = 0; p < pattern.size(); ++p) {
            if (set[p] != 0 && (pattern[p] == '*' || pattern[p] == '%')) set[p + 1] = 1;
        }
    };
    reached[0] = 1;
    skip_wildcards(reached);
    for (std::size_t i = 0; i < name.size(); ++i) {
        std::fill(next.begin(), next.end(), static_cast<char>(0));
        for (std::size_t p = 0; p < pattern.size(); ++p) {
            if (reached[p] == 0) continue;
            const char wanted = pattern[p];
            if (wanted == '*' || (wanted == '%' && name[i] != kDelimiter))
                next[p] = 1;
            else if (wanted == name[i] || (i < inbox && ascii::upper(wanted) == name[i]))
                next[p + 1] = 1;
        }
        skip_wildcards(next);
        reached.swap(next);
    }
    return reached[pattern.size()] != 0;
}

}  // namespace posthouse::imap
