#pragma once
/// protocols/smtp/relay_url: where and how to hand mail to a relay host, as one line of text without secrets. Pure.
///
///     smtp://user@host:587        STARTTLS required, certificate checked       (RFC 6409, RFC 3207)
///     smtps://user@host:465       TLS from the first octet, certificate checked (RFC 8314 3.3)
///     smtp+plain://host:25        in clear; only to this machine or a private network, never with a user
///     preset:NAME[:user][?...]    a known service (presets.h); ?region=, ?tenant= and ?port= where it has them
///     direct                      no relay: by MX
/// The user may hold '@' (the last one before the host counts) and %XX. Behind the port, or beside a preset's options:
///     ?name=mail.example.org              which name the certificate must bear, where the host is an address
///     ?certificate=/FILE.pem&key=/FILE    what is shown of us where the relay asks; the key may be in it
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::smtp {

struct RelayUrl {
    enum class Security { plain, starttls, implicit_tls };

    bool direct = false;
    Security security = Security::starttls;
    std::string user;  ///< "" where no login is made
    std::string host;  ///< lower-case name, or an address without brackets
    std::uint16_t port = 587;
    std::string tls_name;  ///< what the certificate must say
    std::string preset;    ///< name of the preset it came from, or ""
    std::string tenant;    ///< its ?tenant=, for the place where tokens are had
    std::string certificate_file;  ///< PEM, absolute; "" shows none
    std::string key_file;          ///< likewise, where certificate_file is set

    RelayUrl() = default;
    /// "smtp://user@host:587": what was parsed, presets resolved.
    std::string to_string() const;
    /// A password belongs to this way.
    bool needs_password() const { return !user.empty(); }
};

/// Errc::invalid with the sentence to show: what is wrong and what to write.
Result<RelayUrl> parse_relay_url(std::string_view text);

}  // namespace posthouse::smtp
