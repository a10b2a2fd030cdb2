#pragma once
/// relay/route: from the route table to a target: where a recipient's mail is handed over, and in which lane.
/// Pure.
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/net/address.h"
#include "protocols/smtp/relay_url.h"
#include "storage/catalog.h"

namespace posthouse::relay {

struct Target {
    std::string domain;  ///< by MX; "" for a relay host
    smtp::RelayUrl url;  ///< of the relay host
    std::string route;   ///< name of the route, for sentences
    std::string sealed_password;
    std::string ca_file;
    std::optional<net::IpAddress> source;  ///< local address to dial from; none: the system chooses
    std::string ehlo_name;                 ///< what we call ourselves from there; "": the server's name

    Target() = default;
    bool is_mx() const { return !domain.empty(); }
    /// Equal for what may share a lane; by MX all that come from one address, where the site makes the difference.
    std::string lane_key() const;
    /// "the mail servers of b.example", "relay.example:587"
    std::string describe() const;
};

/// Errc::invalid where the route's way cannot be read: put off, and say so.
Result<Target> choose_target(std::span<const storage::Route> routes, std::string_view reverse_path,
                             std::string_view recipient_domain);

}  // namespace posthouse::relay
