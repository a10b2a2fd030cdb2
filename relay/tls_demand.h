#pragma once
/// relay/tls_demand: what a connection must be before mail for a domain may go over it. A lane's connections serve
/// all domains of a site, so the demand belongs to the domain (and to the message), and an open connection is used
/// again only where it meets it.
/// Pure.
#include <cstdint>
#include <optional>

#include "protocols/net/stream.h"

namespace posthouse::relay {

enum class TlsLevel : std::uint8_t {
    opportunistic,  ///< encrypted where it works, else in clear (RFC 7435)
    verified,       ///< the certificate was checked, or nothing is said
};

struct TlsDemand {
    TlsLevel level = TlsLevel::opportunistic;

    bool is_met_by(const std::optional<net::TlsFacts>& facts) const {
        return level == TlsLevel::opportunistic || (facts && facts->peer_verified);
    }
};

}  // namespace posthouse::relay
