#include "protocols/mailauth/auth_results.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/mime/header.h"

namespace posthouse::mailauth {

namespace {

// token of RFC 2045 5.1, with "@" since header.i is an address.
bool is_plain_octet(char c) {
    return ascii::is_printable(c) && std::string_view(" ()<>,;:\\\"/[]?=").find(c) == std::string_view::npos;
}

bool is_blank(char c) { return ascii::is_space(c) || c == '\r' || c == '\n'; }

// value = token / quoted-string. RFC 8601 2.2
std::string value_of(std::string_view text) {
    if (!text.empty() && std::ranges::all_of(text, is_plain_octet)) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (ascii::is_control(c)) continue;
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out += '"';
}

// Comments nest; counted, not recursed into (RFC 5322 3.2.2). False where one does not end.
bool skip_cfws(Cursor& in) {
    for (;;) {
        in.take_while(is_blank);
        if (!in.take('(')) return true;
        for (std::size_t depth = 1; depth > 0;) {
            if (in.at_end()) return false;
            const char c = in.take_octets(1).front();
            if (c == '\\') in.take_octets(1);
            if (c == '(') ++depth;
            if (c == ')') --depth;
        }
    }
}

// authserv-id = value. Nothing where it cannot be read.
std::optional<std::string> read_authserv_id(std::string_view raw_value) {
    Cursor in(raw_value);
    if (!skip_cfws(in)) return std::nullopt;
    std::string id;
    if (in.take('"')) {
        while (!in.take('"')) {
            if (in.at_end()) return std::nullopt;
            in.take('\\');
            id += in.take_octets(1);
        }
    } else {
        id = in.take_while(is_plain_octet);
    }
    if (id.empty() || !skip_cfws(in)) return std::nullopt;
    // What follows is a version, the results or nothing; another octet means that this is no name of a server.
    if (!in.at_end() && in.peek() != ';' && !ascii::is_digit(in.peek())) return std::nullopt;
    return id;
}

std::string_view without_final_dot(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    return name;
}

}  // namespace

AuthResult to_auth_result(const DkimResult& result) {
    AuthResult out;
    out.method = "dkim";
    out.result = to_string(result.status);
    out.reason = result.reason;
    if (!result.domain.empty()) out.properties.emplace_back("header.d", result.domain);
    if (!result.selector.empty()) out.properties.emplace_back("header.s", result.selector);
    if (!result.algorithm.empty()) out.properties.emplace_back("header.a", result.algorithm);
    if (!result.signature_start.empty()) out.properties.emplace_back("header.b", result.signature_start);  // RFC 6008
    return out;
}

std::string format_auth_results(std::string_view authserv_id, const std::vector<AuthResult>& results) {
    std::string out = "Authentication-Results: " + value_of(authserv_id) + ";";
    if (results.empty()) return out + " none\r\n";
    for (std::size_t i = 0; i < results.size(); ++i) {
        const AuthResult& result = results[i];
        out += "\r\n\t" + result.method + "=" + result.result;
        if (!result.reason.empty()) out += "\r\n\t reason=" + value_of(result.reason);
        for (const auto& [name, value] : result.properties) out += " " + name + "=" + value_of(value);
        if (i + 1 < results.size()) out += ';';
    }
    return out + "\r\n";
}

std::string remove_foreign(std::string_view header_block, std::string_view authserv_id) {
    mime::Limits limits;  // a forged field must not hide behind a limit
    limits.fields_max = limits.header_octets_max = limits.field_octets_max = std::numeric_limits<std::size_t>::max();
    std::string out;
    std::size_t kept_to = 0;
    for (const mime::Field& field : mime::parse_fields(header_block, nullptr, limits)) {
        if (!ascii::equals_ci(field.name, "authentication-results")) continue;
        const auto id = read_authserv_id(field.raw_value);
        if (id && !ascii::equals_ci(without_final_dot(*id), without_final_dot(authserv_id))) continue;
        out += header_block.substr(kept_to, field.offset - kept_to);
        kept_to = field.offset + field.length;
    }
    return out.append(header_block.substr(kept_to));
}

}  // namespace posthouse::mailauth
