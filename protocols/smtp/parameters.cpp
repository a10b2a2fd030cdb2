#include "protocols/smtp/parameters.h"

#include <algorithm>
#include <limits>

#include "protocols/smtp/limits.h"
#include "protocols/smtp/xtext.h"

namespace posthouse::smtp {

namespace {

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

// esmtp-param = esmtp-keyword ["=" esmtp-value]
// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-");  esmtp-value = 1*(%d33-60 / %d62-126)
Result<Parameter> take_parameter(Cursor& in) {
    Parameter out;
    const std::string_view keyword = in.take_while([](char c) { return ascii::is_alnum(c) || c == '-'; });
    if (keyword.empty() || keyword.front() == '-') return bad("a parameter without a keyword");
    out.keyword = ascii::to_upper(keyword);
    if (in.take('=')) {
        out.has_value = true;
        out.value = in.take_while([](char c) { return ascii::is_8bit(c) || (c > 0x20 && c < 0x7f && c != '='); });
        if (out.value.empty()) return bad("a parameter with an empty value");
    }
    return out;
}

}  // namespace

Result<std::vector<Parameter>> take_parameters(Cursor& in) {
    std::vector<Parameter> out;
    for (;;) {
        const bool blank = !in.take_while(ascii::is_space).empty();
        if (in.at_end()) return out;
        if (!blank) return bad("parameters are parted by blanks");
        if (out.size() >= kParametersMax) return Error(Errc::limit, "too many parameters");
        TRY(Parameter next, take_parameter(in));
        if (std::ranges::any_of(out, [&](const Parameter& p) { return p.keyword == next.keyword; })) {
            return bad("a parameter is given twice");
        }
        out.push_back(std::move(next));
    }
}

Result<std::uint64_t> parse_size(std::string_view value) {
    if (value.empty() || value.size() > 20) return bad("SIZE takes 1 to 20 digits");
    for (const char c : value) {
        if (!ascii::is_digit(c)) return bad("SIZE takes digits only");
    }
    // 20 digits may pass 2^64: more than any limit all the same.
    return ascii::parse_number(value).value_or(std::numeric_limits<std::uint64_t>::max());
}

Result<std::uint8_t> parse_notify(std::string_view value) {
    if (ascii::equals_ci(value, "NEVER")) return std::uint8_t{1};
    std::uint8_t bits = 0;
    Cursor in(value);
    do {
        const std::string_view word = in.take_until(',');
        if (ascii::equals_ci(word, "SUCCESS")) {
            bits |= 2;
        } else if (ascii::equals_ci(word, "FAILURE")) {
            bits |= 4;
        } else if (ascii::equals_ci(word, "DELAY")) {
            bits |= 8;
        } else {
            return bad("NOTIFY takes NEVER, or SUCCESS, FAILURE and DELAY");
        }
    } while (in.take(','));
    return bits;
}

Result<std::string> parse_orcpt(std::string_view value) {
    if (value.size() > kOrcptOctetsMax) return bad("ORCPT is too long");
    const std::size_t semicolon = value.find(';');
    if (semicolon == std::string_view::npos || semicolon == 0) return bad("ORCPT takes type;address");
    const std::string_view type = value.substr(0, semicolon);
    for (const char c : type) {
        if (!ascii::is_alnum(c) && c != '-') return bad("a bad address type in ORCPT");
    }
    const std::string_view address = value.substr(semicolon + 1);
    if (address.empty()) return bad("an empty address in ORCPT");
    // "utf-8;" may carry raw UTF-8 (RFC 6533 3): kept as it stands.
    if (ascii::has_8bit(address)) {
        if (!ascii::equals_ci(type, "utf-8")) return bad("8-bit octets in ORCPT");
        return std::string(value);
    }
    TRY(std::string decoded, decode_xtext(address));
    for (const char c : decoded) {
        if (ascii::is_control(c)) return bad("a control octet in ORCPT");
    }
    return std::string(type) + ";" + decoded;
}

Result<std::string> parse_envid(std::string_view value) {
    TRY(std::string decoded, decode_xtext(value));
    if (decoded.empty() || decoded.size() > kEnvidOctetsMax) return bad("ENVID has 1 to 100 characters");
    for (const char c : decoded) {
        if (!ascii::is_printable(c)) return bad("ENVID is printable US-ASCII");
    }
    return decoded;
}

Result<ChunkHeader> parse_chunk_header(std::string_view args) {
    Cursor in(args);
    const std::string_view digits = in.take_while(ascii::is_digit);
    if (digits.empty()) return bad("BDAT takes a chunk size");
    ChunkHeader out;
    in.skip_blanks();
    if (!in.at_end()) {
        if (!in.take_word("LAST")) return bad("BDAT takes a size and LAST");
        out.last = true;
        in.skip_blanks();
        if (!in.at_end()) return bad("BDAT takes a size and LAST");
    }
    const auto octets = ascii::parse_number(digits);
    if (!octets || *octets > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return Error(Errc::too_large, "a chunk of more than 2^63 octets");
    }
    out.octets = *octets;
    return out;
}

}  // namespace posthouse::smtp
