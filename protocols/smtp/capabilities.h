#pragma once
/// protocols/smtp/capabilities: what a server said to EHLO (RFC 5321 4.1.1.1), read leniently. Pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/smtp/reply.h"

namespace posthouse::smtp {

struct Capabilities {
    std::string greeting;                         ///< first line of the reply: the name the server gives itself
    bool pipelining = false;                      ///< RFC 2920
    bool eight_bit_mime = false;                  ///< RFC 6152
    bool smtputf8 = false;                        ///< RFC 6531
    bool chunking = false;                        ///< RFC 3030
    bool binary_mime = false;                     ///< RFC 3030
    bool starttls = false;                        ///< RFC 3207
    bool dsn = false;                             ///< RFC 3461
    bool enhanced_status_codes = false;           ///< RFC 2034
    bool require_tls = false;                     ///< RFC 8689
    bool size = false;                            ///< RFC 1870 was offered
    std::uint64_t size_octets_max = 0;            ///< 0: no fixed limit
    std::vector<std::string> auth;                ///< mechanisms in upper case, in the server's order (RFC 4954)
    std::optional<std::uint64_t> mail_max;        ///< RFC 9422 MAILMAX
    std::optional<std::uint64_t> recipients_max;  ///< RFC 9422 RCPTMAX

    bool has_auth(std::string_view mechanism) const;
};

/// Reads a 250 reply to EHLO; unknown keywords and bad parameters are passed over. "AUTH=LOGIN" of old servers counts.
Capabilities parse_capabilities(const Reply& reply);

}  // namespace posthouse::smtp
