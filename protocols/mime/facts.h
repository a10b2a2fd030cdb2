#pragma once
/// protocols/mime/facts: what the store keeps about a message so that listing a folder never reads a body.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"

namespace posthouse::mime {

struct MessageFacts {
    std::string envelope;      ///< IMAP text of ENVELOPE, ready to send
    std::string structure;     ///< encode_structure() of the MIME tree
    std::string subject;       ///< decoded UTF-8, at most kFactOctetsMax
    std::string from;          ///< first author: display name or address, decoded, at most kFactOctetsMax
    std::string to;            ///< recipients of To, likewise, separated by ", "
    std::string message_id;    ///< with its angle brackets; empty where absent
    std::string in_reply_to;   ///< first id of In-Reply-To with its angle brackets; empty where absent
    std::optional<Time> date;  ///< of the Date field
    std::uint64_t size_octets = 0;
    std::uint32_t header_octets = 0;
    std::uint32_t received_hops = 0;  ///< Received fields, RFC 5321 6.3
};
inline constexpr std::size_t kFactOctetsMax = 512;

/// Never fails. Computed once when a message arrives.
MessageFacts compute_facts(std::string_view message);

}  // namespace posthouse::mime
