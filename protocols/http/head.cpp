#include "protocols/http/head.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/net/address.h"
#include "protocols/net/url.h"

namespace posthouse::http {

namespace {

constexpr std::size_t kHostOctetsMax = 253;
constexpr std::size_t kStatusDigits = 3;
constexpr std::size_t kChunkDigitsMax = 8;

// tchar                                                                    RFC 9110 5.6.2
bool is_token_octet(char c) {
    return ascii::is_alnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_octet); }
bool is_value_octet(char c) { return !ascii::is_control(c) || c == '\t'; }
bool is_host_octet(char c) { return ascii::is_alnum(c) || c == '-' || c == '.' || c == '_'; }
bool is_target_octet(char c) { return ascii::is_printable(c) && c != ' ' && c != '#'; }

// Its last label is a number, as some read them: decimal, octal, hexadecimal.
bool ends_in_a_number(std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    const std::string_view last = host.substr(host.rfind('.') + 1);
    if (last.size() > 1 && last[0] == '0' && ascii::lower(last[1]) == 'x') return true;
    return !last.empty() && std::ranges::all_of(last, ascii::is_digit);
}

bool is_host(std::string_view host) {
    return !host.empty() && host.size() <= kHostOctetsMax && std::ranges::all_of(host, is_host_octet) &&
           !ends_in_a_number(host);
}

bool is_host_of(const Request& request) {
    return request.address ? request.host == request.address->to_string() : is_host(request.host);
}

// Host = uri-host [ ":" port ]                                             RFC 9110 7.2
std::string host_field(const Request& request) {
    const bool v6 = request.address && request.address->family() == net::IpAddress::Family::v6;
    std::string out = v6 ? fmt::format("[{}]", request.host) : request.host;
    const std::uint16_t usual = request.plain ? 80 : 443;
    if (request.port != usual) out += fmt::format(":{}", request.port);
    return out;
}

}  // namespace

std::string_view Response::field(std::string_view name) const {
    const auto found = std::ranges::find_if(fields, [&](const auto& f) { return ascii::equals_ci(f.first, name); });
    return found == fields.end() ? std::string_view() : std::string_view(found->second);
}

std::string Response::media_type() const {
    Cursor in(field("Content-Type"));
    return ascii::to_lower(ascii::trim(in.take_until(';')));
}

Result<Request> request_for(std::string_view url, UrlFrom from) {
    Cursor in(url);
    const bool of_house = from == UrlFrom::house;
    const bool plain = of_house && in.take_word("http://");
    if (!plain && !in.take_word("https://")) return Error(Errc::invalid, "the URL does not begin with https://");
    const std::size_t slash = in.rest().find('/');
    const std::string_view authority = in.take_octets(slash == std::string_view::npos ? in.rest().size() : slash);
    if (authority.find('@') != std::string_view::npos) return Error(Errc::invalid, "the URL has a user name");
    if (authority.find('?') != std::string_view::npos) return Error(Errc::invalid, "the URL has no path");
    TRY(net::HostPort at, net::parse_host_port(authority));
    Request request;
    request.plain = plain;
    request.host = std::move(at.host);
    request.port = at.port.value_or(plain ? std::uint16_t{80} : request.port);
    const auto address = net::IpAddress::parse(request.host);
    if (address && !of_house) return Error(Errc::invalid, "the URL has an IP address in place of a host name");
    if (address) {
        request.address = *address;
        request.host = address->to_string();
    }
    if (!in.at_end()) request.target = in.rest();
    if (!is_host_of(request)) return Error(Errc::invalid, "the URL has no host name");
    if (!std::ranges::all_of(request.target, is_target_octet)) {
        return Error(Errc::invalid, "the URL has an octet that must be escaped, or a fragment");
    }
    return request;
}

Result<std::string> format_head(const Request& request) {
    const bool has_body = !request.body.empty() || request.method == "POST" || request.method == "PUT";
    if (!is_token(request.method) || !is_host_of(request) || !request.target.starts_with('/') ||
        !std::ranges::all_of(request.target, is_target_octet)) {
        return Error(Errc::invalid, "the HTTP request line cannot be written");
    }
    std::string out = fmt::format("{} {} HTTP/1.1\r\nHost: {}", request.method, request.target, host_field(request));
    out += "\r\nConnection: close\r\nUser-Agent: Posthouse\r\n";
    if (has_body) out += fmt::format("Content-Length: {}\r\n", request.body.size());
    for (const auto& [name, value] : request.fields) {
        if (!is_token(name) || !std::ranges::all_of(value, is_value_octet)) {
            return Error(Errc::invalid, fmt::format("the HTTP field {} cannot be written", name));
        }
        out += fmt::format("{}: {}\r\n", name, value);
    }
    return out + "\r\n";
}

Result<int> parse_status_line(std::string_view line) {
    Cursor in(line);
    if (!in.take("HTTP/1.")) return Error(Errc::invalid, "the answer is not HTTP/1.1");
    const bool known = ascii::is_digit(in.peek());
    in.take_octets(1);
    const std::string_view blank = in.take_octets(1);
    const auto status = ascii::parse_number(in.take_octets(kStatusDigits));
    const bool ended = in.at_end() || in.peek() == ' ';
    if (!known || blank != " " || !status || *status < 100 || !ended) {
        return Error(Errc::invalid, "the status line of the answer cannot be read");
    }
    return static_cast<int>(*status);
}

Result<std::pair<std::string, std::string>> parse_field_line(std::string_view line) {
    Cursor in(line);
    const std::string_view name = in.take_while(is_token_octet);
    // A blank before the colon, and a folded line, are refused: RFC 9112 5.1, 5.2.
    if (name.empty() || !in.take(':')) return Error(Errc::invalid, "a field of the answer cannot be read");
    const std::string_view value = ascii::trim(in.rest());
    if (!std::ranges::all_of(value, is_value_octet)) {
        return Error(Errc::invalid, fmt::format("the field {} of the answer has control octets", name));
    }
    return std::pair(std::string(name), std::string(value));
}

Result<Framing> framing_of(const Response& response, std::string_view method) {
    Framing out;
    // RFC 9112 6.3 1
    if (method == "HEAD" || response.status < 200 || response.status == 204 || response.status == 304) {
        out.octets = 0;
        return out;
    }
    for (const auto& [name, value] : response.fields) {
        if (ascii::equals_ci(name, "Transfer-Encoding")) {
            if (out.chunked || !ascii::equals_ci(value, "chunked")) {
                return Error(Errc::unsupported, fmt::format("the answer has the transfer coding {}", value));
            }
            out.chunked = true;
        }
        if (!ascii::equals_ci(name, "Content-Length")) continue;
        const auto octets = ascii::parse_number(value);
        if (!octets || (out.octets && *out.octets != *octets)) {
            return Error(Errc::invalid, "the length of the answer cannot be read");
        }
        out.octets = octets;
    }
    if (out.chunked && out.octets) return Error(Errc::invalid, "the answer has two lengths");
    return out;
}

Result<std::uint64_t> parse_chunk_size(std::string_view line) {
    Cursor in(line);
    const std::string_view digits = in.take_while(ascii::is_hex);
    in.skip_blanks();
    if (digits.empty() || digits.size() > kChunkDigitsMax || (!in.at_end() && in.peek() != ';')) {
        return Error(Errc::invalid, "a chunk of the answer has no size");
    }
    std::uint64_t size = 0;
    for (const char c : digits) size = size * 16 + static_cast<std::uint64_t>(ascii::hex_value(c));
    return size;
}

}  // namespace posthouse::http
