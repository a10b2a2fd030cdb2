#pragma once
/// relay/address_check: what block lists and the reverse DNS say of our own addresses, every hour or so, by our own
/// resolver. Each list is tested first (127.0.0.2 must be listed, 127.0.0.1 must not): one that fails says nothing.
/// A finding that changes is an incident that begins or ends; two lists, or Spamhaus, drain the address everywhere
/// (relay/reputation). Who says that a listing is mended has it asked again at once (IncidentTx::mended).
/// The addresses are those of the pools and those of the server's own name.
/// Through a public resolver lists do not answer, or not truly: they are not asked then (RelayDeps::dns_servers).
/// Threads: the loop's.   Limits: kListsMax lists, kOwnAddressesMax addresses.
#include "relay/core.h"

namespace posthouse::relay {

inline constexpr std::size_t kListsMax = 20;
inline constexpr std::size_t kOwnAddressesMax = 1'000;

/// True where anything was found that is news.
net::Task<bool> check_own_addresses(Core& core);
/// An hour, a tenth more or less.
Milliseconds next_address_check(Random& random);

}  // namespace posthouse::relay
