#pragma once
/// protocols/net/network: networks as people write them, and the gateways of this machine. Pure functions.
#include <string_view>
#include <vector>

#include "protocols/net/address.h"

namespace posthouse::net {

/// "192.0.2.7" or "192.0.2.0/28" holds `address`; false for what is no network.
bool network_holds(std::string_view network, const IpAddress& address);
/// The default gateways, from the text of Linux's /proc/net/route and /proc/net/ipv6_route.
std::vector<IpAddress> parse_gateways(std::string_view route, std::string_view ipv6_route);

}  // namespace posthouse::net
