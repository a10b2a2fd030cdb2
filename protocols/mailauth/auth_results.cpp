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
    return "Authentication-Results: " + value_of(authserv_id) + ";" + format_results(results) + "\r\n";
}

std::string format_results(const std::vector<AuthResult>& results) {
    std::string out;
    if (results.empty()) return " none";
    for (std::size_t i = 0; i < results.size(); ++i) {
        const AuthResult& result = results[i];
        out += "\r\n\t" + result.method + "=" + result.result;
        if (!result.reason.empty()) out += "\r\n\t reason=" + value_of(result.reason);
        for (const auto& [name, value] : result.properties) out += " " + name + "=" + value_of(value);
        if (i + 1 < results.size()) out += ';';
    }
    return out;
}

std::string ReadAuthResults::result_of(std::string_view method) const {
    const auto found = std::ranges::find(results, method, &AuthResult::method);
    return found == results.end() ? std::string() : found->result;
}

namespace {

bool is_word_octet(char c) { return is_plain_octet(c) && c != '='; }

// propspec = ptype [CFWS] "." [CFWS] property [CFWS] "=" pvalue, or reason= of the result       RFC 8601 2.2
bool take_property(Cursor& in, AuthResult& out) {
    std::string name = ascii::to_lower(in.take_while(is_word_octet));
    if (name.empty() || !skip_cfws(in) || !in.take('=') || !skip_cfws(in)) return false;
    std::string value;
    if (in.take('"')) {
        while (!in.take('"')) {
            if (in.at_end()) return false;
            in.take('\\');
            value += in.take_octets(1);
        }
    } else {
        value = in.take_while([](char c) { return !is_blank(c) && c != ';' && c != '('; });
    }
    if (name != "reason") out.properties.emplace_back(std::move(name), std::move(value));
    return skip_cfws(in);
}

// resinfo = [CFWS] ";" methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ]; method may have a version: "dkim/1"
bool take_result(Cursor& in, AuthResult& out) {
    if (!skip_cfws(in)) return false;
    out.method = ascii::to_lower(in.take_while(is_word_octet));
    if (!skip_cfws(in)) return false;
    if (in.take('/')) {
        if (!skip_cfws(in)) return false;
        in.take_while(ascii::is_digit);
        if (!skip_cfws(in)) return false;
    }
    if (out.method.empty() || !in.take('=') || !skip_cfws(in)) return false;
    out.result = ascii::to_lower(in.take_while(is_word_octet));
    if (out.result.empty() || !skip_cfws(in)) return false;
    while (!in.at_end() && in.peek() != ';') {
        if (!take_property(in, out)) return false;
    }
    return true;
}

}  // namespace

Result<ReadAuthResults> parse_auth_results(std::string_view raw_value) {
    ReadAuthResults out;
    auto id = read_authserv_id(raw_value);
    if (!id) return Error(Errc::invalid, "the authserv-id cannot be read");
    out.authserv_id = *std::move(id);
    // Behind the id there may be a version; what it is cannot matter, there is only one.
    Cursor in(raw_value);
    skip_cfws(in);
    if (in.take('"')) {
        while (!in.at_end() && !in.take('"')) {
            in.take('\\');
            in.take_octets(1);
        }
    } else {
        in.take_while(is_plain_octet);
    }
    in.take_until(';');
    in.take(';');
    out.text = in.rest();
    while (!in.at_end() && out.results.size() < kAuthResultsMax) {
        AuthResult one;
        if (!take_result(in, one)) break;
        out.results.push_back(std::move(one));
        if (!in.take(';')) break;
    }
    return out;
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
