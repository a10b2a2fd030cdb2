#pragma once
/// protocols/net/url: the pieces that our URLs of servers share (smtp://, imap://): RFC 3986 2.1 and 3.2.
/// Pure functions; an error is the reason alone, for a sentence that names the URL.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::net {

/// A user name as it stands in a URL. Errc::invalid for a broken escape and for control characters: it also stands in
/// logs and on one line of configuration.
Result<std::string> percent_decode(std::string_view text);

struct HostPort {
    std::string host;                   ///< lower case, without brackets; whether it is a name is for the caller
    std::optional<std::uint16_t> port;  ///< 1 to 65535
};
/// host [":" port], an IPv6 address in brackets.
Result<HostPort> parse_host_port(std::string_view text);

}  // namespace posthouse::net
