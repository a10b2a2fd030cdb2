#include "protocols/mime/build.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/header.h"

namespace posthouse::mime {
namespace {

constexpr std::size_t kLineOctets = 78;  // RFC 5322 2.1.1
constexpr std::size_t kRandomCharacters = 20;

bool breaks_header(char c) { return c == '\r' || c == '\n' || c == '\0'; }

/// The fields one after the other, folded, without the empty line.
std::string assemble_headers(std::span<const std::pair<std::string, HeaderValue>> headers) {
    std::string out;
    for (const auto& [name, value] : headers) out += format_field(name, value);
    return out;
}

}  // namespace

Result<HeaderValue> HeaderValue::exactly(std::string_view text) {
    if (std::any_of(text.begin(), text.end(), breaks_header))
        return {Errc::invalid, "a header value must not hold a line end or NUL"};
    return HeaderValue(std::string(text));
}

// Controls become blanks one by one, so that the octets after them keep their place in error reports.
HeaderValue HeaderValue::cleaned(std::string_view text) {
    std::string value(text);
    std::replace_if(value.begin(), value.end(), ascii::is_control, ' ');
    return HeaderValue(std::move(value));
}

HeaderValue HeaderValue::text(std::string_view utf8) { return HeaderValue(encode_words(utf8)); }

std::string format_field(std::string_view name, const HeaderValue& value) {
    std::string out(name);
    out.push_back(':');
    std::size_t column = out.size();
    std::string_view rest = value.view();
    while (!rest.empty() && ascii::is_space(rest.front())) rest.remove_prefix(1);
    while (!rest.empty() && ascii::is_space(rest.back())) rest.remove_suffix(1);
    bool first = true;
    while (!rest.empty()) {
        // One word with the blanks before it: a line may only be folded before blanks (RFC 5322 2.2.3), and the
        // blanks stay, so that unfolding gives the value back.
        const std::size_t word = std::min(rest.find_first_not_of(" \t"), rest.size());
        const std::size_t end = std::min(rest.find_first_of(" \t", word), rest.size());
        const std::size_t octets = end + (first ? 1 : 0);
        if (!first && column + octets > kLineOctets) {
            out += "\r\n";
            column = 0;
        }
        if (first) out.push_back(' ');
        out += rest.substr(0, end);
        column += octets;
        rest.remove_prefix(end);
        first = false;
    }
    return out += "\r\n";
}

std::string add_field(std::string_view message, std::string_view name, const HeaderValue& value) {
    std::string out = format_field(name, value);
    out += message;
    return out;
}

std::string remove_fields(std::string_view message, std::span<const std::string_view> names) {
    Limits limits;  // every field counts here, or a Bcc after the last one seen would be sent on
    limits.fields_max = limits.header_octets_max = limits.field_octets_max = static_cast<std::size_t>(-1);
    std::string out;
    out.reserve(message.size());
    std::size_t kept_to = 0;
    for (const Field& field : parse_fields(message, nullptr, limits)) {
        const bool gone = std::any_of(names.begin(), names.end(),
                                      [&](std::string_view n) { return ascii::equals_ci(n, field.name); });
        if (!gone) continue;
        out += message.substr(kept_to, field.offset - kept_to);
        kept_to = field.offset + field.length;
    }
    out += message.substr(kept_to);
    return out;
}

std::string make_message_id(Random& random, Time now, std::string_view domain) {
    return fmt::format("<{:x}.{}@{}>", to_unix_ms(now), random.token(kRandomCharacters), domain);
}

std::string make_boundary(Random& random) { return "=_" + random.token(kRandomCharacters); }

std::string normalise_crlf(std::string_view text) {
    std::string out;
    out.reserve(text.size() + text.size() / 32);
    // memchr for the LF and again for stray CRs: two fast scans instead of one slow one.
    while (!text.empty()) {
        const std::size_t newline = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, newline);
        if (newline < text.size() && line.ends_with('\r')) line.remove_suffix(1);
        for (std::size_t cr = line.find('\r'); cr != std::string_view::npos; cr = line.find('\r')) {
            out += line.substr(0, cr);
            out += "\r\n";
            line.remove_prefix(cr + 1);
        }
        out += line;
        if (newline == text.size()) break;
        out += "\r\n";
        text.remove_prefix(newline + 1);
    }
    return out;
}

bool has_only_crlf(std::string_view text) {
    for (auto cr = text.find('\r'); cr != std::string_view::npos; cr = text.find('\r')) {
        if (text.substr(0, cr).contains('\n') || text.substr(cr, 2) != "\r\n") return false;
        text.remove_prefix(cr + 2);
    }
    return !text.contains('\n');
}

std::string assemble_multipart(std::string_view boundary, std::span<const BodyPart> parts) {
    std::string out;
    for (const BodyPart& part : parts) {
        out += fmt::format("--{}\r\n", boundary);
        out += assemble_headers(part.headers);
        out += "\r\n";
        out += part.body;
        out += "\r\n";
    }
    return out += fmt::format("--{}--\r\n", boundary);
}

std::string assemble_report(std::span<const std::pair<std::string, HeaderValue>> headers, std::string_view report_type,
                            std::string_view boundary, std::span<const BodyPart> parts) {
    std::string out = assemble_headers(headers);
    out += "MIME-Version: 1.0\r\n";
    out += format_field(
        "Content-Type",
        HeaderValue::cleaned(fmt::format("multipart/report; report-type={}; boundary=\"{}\"", report_type, boundary)));
    out += "\r\n";
    return out += assemble_multipart(boundary, parts);
}

}  // namespace posthouse::mime
