#pragma once
/// relay/family: IPv4 or IPv6, by MX.
///
///   an address of a pool    hosts are dialled in its family alone; a site without one is remembered, and another
///                           address of the pool takes the mail
///   the system chooses      IPv4 first, IPv6 where there is no other; a site that refuses us over IPv6 for our address
///                           (no reverse name: Gmail 5.7.25, "IPv6 sending guidelines") is dialled over IPv4 from then
///                           on, for kKeepOff, and the message goes there at once
/// What is remembered lies in route_memory under the address kIpv6, so that a restart knows it.
/// Threads: the loop's.
#include <chrono>
#include <string_view>
#include <vector>

#include "protocols/net/address.h"
#include "protocols/net/task.h"

namespace posthouse::relay {

struct Core;
struct Job;
struct Settled;
struct Target;

inline constexpr std::string_view kIpv6 = "ipv6";
inline constexpr std::chrono::hours kKeepOff{7 * 24};

/// Addresses of a host that may be dialled, in their order.
std::vector<net::IpAddress> dialled_addresses(const Core& core, const Target& target, std::string_view site,
                                              const std::vector<net::IpAddress>& addresses);
/// "mx.b.example [2001:db8::1]"
bool is_over_ipv6(std::string_view remote);

/// Remembers that the site refuses us over IPv6, and marks those recipients to go another way at once. True where there
/// were any: the connection is of no use any more.
net::Task<bool> keep_off_ipv6(Core& core, const Job& job, std::vector<Settled>& settled);

}  // namespace posthouse::relay
