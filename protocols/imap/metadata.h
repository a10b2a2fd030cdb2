#pragma once
/// protocols/imap/metadata: the arguments of GETMETADATA and SETMETADATA (RFC 5464 4, 5). Pure.
/// An entry's name begins with /private or /shared and is kept in lower case: it has no case (RFC 5464 3.2).
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"
#include "protocols/imap/limits.h"

namespace posthouse::imap {

struct GetMetadata {
    enum class Depth { self, children, all };
    std::string mailbox_wire;  ///< as sent; "" is the server
    std::uint32_t octets_max = std::numeric_limits<std::uint32_t>::max();
    Depth depth = Depth::self;
    std::vector<std::string> entries;
};

struct SetMetadata {
    std::string mailbox_wire;
    std::vector<std::pair<std::string, std::optional<std::string>>> values;  ///< nothing: to be removed
};

/// Behind the verb and its SP, to the end. Options stand before the mailbox (RFC 5464 5) or behind it, as in the
/// examples of 4.2.
Result<GetMetadata> take_get_metadata(Cursor& in, const Limits& limits = {});
Result<SetMetadata> take_set_metadata(Cursor& in, const Limits& limits = {});

/// "(" entry *(SP entry) ")", as LIST takes it too (RFC 9590 5).
Result<std::vector<std::string>> take_metadata_entries(Cursor& in, const Limits& limits = {});

/// Whether GETMETADATA of `wanted` names `entry` (RFC 5464 4.2.2).
bool names_entry(std::string_view wanted, GetMetadata::Depth depth, std::string_view entry);

}  // namespace posthouse::imap
