#pragma once
/// relay/address_check: what block lists and the reverse DNS say of our own addresses, every hour or so, by our own
/// resolver. Each list is tested first (127.0.0.2 must be listed, 127.0.0.1 must not): one that fails says nothing.
/// A finding that changes is an incident that begins or ends; two lists, or Spamhaus, drain the address everywhere
/// (relay/reputation).
/// The addresses are those of the pools; where there is none, those of the server's own name.
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
