#pragma once
/// protocols/smtp/block_list: lists of addresses in the DNS (RFC 5782): how they are asked, what an answer means, which
/// of them are alive. A list that is dead answers nothing or everything: it is refused by name.
///
///   question   the address backwards before the list's zone             RFC 5782 2.1, 2.4
///   answer     127.0.0.x of the list's own codes: listed; 127.255.255.x and other words for "you may not ask": unknown
///   test       127.0.0.2 is always listed, 127.0.0.1 never               RFC 5782 5
/// Pure.
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/net/address.h"

namespace posthouse::smtp {

struct BlockList {
    std::string_view zone;
    std::string_view codes;  ///< last octets that mean "listed": "2-11 15"
    std::string_view note;   ///< on what terms
};
/// The known ones, alive.
std::span<const BlockList> block_lists();
/// Null where nothing is known of it: 127.0.0.2 to 127.0.0.254 count then.
const BlockList* find_block_list(std::string_view zone);
/// Why this one is not asked: closed, or of no use; nothing for the others.
std::optional<std::string_view> why_dead(std::string_view zone);
/// A space-separated list of zones: the first sentence against it, or nothing.
std::optional<std::string> judge_block_lists(std::string_view zones);

inline constexpr std::string_view kSpamhausZen = "zen.spamhaus.org";
/// "KEY.zen.dq.spamhaus.net": the zone to ask, for the list named kSpamhausZen.
std::string spamhaus_zone(std::string_view key);

/// "2.0.0.127" for 127.0.0.2; nibbles for IPv6.
std::string reversed(const net::IpAddress& address);

enum class BlockAnswer : unsigned char { clear, listed, refused };
/// What one A record says, for the list of that name.
BlockAnswer judge_block_answer(std::string_view list, const net::IpAddress& answer);

}  // namespace posthouse::smtp
