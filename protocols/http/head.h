#pragma once
/// protocols/http/head: the head of an HTTP/1.1 message as a client writes and reads it (RFC 9112). Pure functions.
///   out: Request -> octets          in: status line, field lines, chunk sizes -> values
/// Strict: what two readers could take for two things (both lengths, two different lengths, a coding that is not
/// "chunked") is Errc::invalid.   Limits: the caller's, on lines and their number.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/address.h"

namespace posthouse::http {

using Fields = std::vector<std::pair<std::string, std::string>>;

/// One request. `host` stands in SNI, in the certificate and in Host; where `address` is given it is that one's text.
struct Request {
    std::string method = "GET";
    std::string host;
    std::uint16_t port = 443;
    std::string target = "/";               ///< path and query, encoded
    Fields fields;                          ///< besides Host, Connection, Content-Length, User-Agent
    std::string body;                       ///< sent with its length where it is not empty or the method is POST or PUT
    std::optional<net::IpAddress> address;  ///< nobody is asked for: the URL says it
    bool plain = false;                     ///< without TLS: only into networks that are allowed by name
    Request() = default;
};

struct Response {
    int status = 0;
    Fields fields;  ///< as received, names not folded
    std::string body;

    /// The first field of that name; "" where there is none.
    std::string_view field(std::string_view name) const;
    /// "text/plain" of "Text/Plain; charset=utf-8".
    std::string media_type() const;
    Response() = default;
};

/// Whose URL it is: a stranger's may hold a name alone, and https; one for the own house also an address, or http.
enum class UrlFrom { stranger, house };
/// An "https" URL without user and fragment: GET by default. Errc::invalid says what is wrong with it. A host that ends
/// in a number is an address or nothing: "127.1", "0x7f.1" and "2130706433" are refused, whatever a resolver makes of
/// them.
Result<Request> request_for(std::string_view url, UrlFrom from = UrlFrom::stranger);
/// Errc::invalid where a part would break the message apart (CR, LF, blanks in the target).
Result<std::string> format_head(const Request& request);

/// status-line = HTTP-version SP status-code SP [reason-phrase]             RFC 9112 4
Result<int> parse_status_line(std::string_view line);
/// field-line = field-name ":" OWS field-value OWS                          RFC 9112 5
Result<std::pair<std::string, std::string>> parse_field_line(std::string_view line);

/// How the body ends (RFC 9112 6.3).
struct Framing {
    bool chunked = false;
    std::optional<std::uint64_t> octets;  ///< nothing: it goes on until the connection ends
};
Result<Framing> framing_of(const Response& response, std::string_view method);
/// chunk-size [chunk-ext]                                                   RFC 9112 7.1
Result<std::uint64_t> parse_chunk_size(std::string_view line);

}  // namespace posthouse::http
