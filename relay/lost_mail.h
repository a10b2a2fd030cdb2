#pragma once
/// relay/lost_mail: what nobody else would hear of: mail of ours without a sender that could not be delivered, and
/// reports that could not be made. The postmaster is told of a day's in one mail, at the first look of the next day.
/// Threads: the loop's; note_lost within a write.
#include "protocols/net/task.h"
#include "relay/core.h"
#include "relay/outcome.h"

namespace posthouse::relay {

inline constexpr std::size_t kLostShown = 50;  ///< in one mail; the rest is counted

/// A recipient was given up: notes it where the mail was a report or an alarm of ours, or somebody's to a role
/// (postmaster, abuse) that an alias passes on, as `orcpt` says. Not that of this very notice.
Result<> note_lost(storage::Tx& tx, const storage::QueueItem& item, std::string_view orcpt, std::string_view recipient,
                   std::string_view reply);
/// Of days before today, if there is any.
net::Task<void> tell_lost(Core& core);

}  // namespace posthouse::relay
