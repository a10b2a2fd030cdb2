#pragma once
/// storage/check/holders (internal): who has a message. There is no index from messages to entries: one pass for all
/// that are asked about.
/// Threads: one.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "storage/check/fault.h"
#include "storage/context.h"

namespace posthouse::storage {

/// A row that names a message.
struct Holder {
    enum class Kind { entry, deleted, queue };
    Kind kind = Kind::entry;
    std::int64_t mailbox = 0;  ///< queue: the item
    std::int64_t uid = 0;
    Place place;  ///< account and mailbox as people know them
};

/// Nothing for a message that nobody has.
Result<std::map<std::int64_t, std::vector<Holder>>> find_holders(Connection& db,
                                                                 const std::set<std::int64_t>& messages);
/// "alice@a.example, INBOX, UID 7 and 2 more places".
std::string describe(const std::vector<Holder>& holders);

}  // namespace posthouse::storage
