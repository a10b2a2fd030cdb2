#pragma once
/// admin/undelete: lists and restores removed mail, for the command line and the HTTP API alike.
///
/// Both name a removed message "MAILBOX.UID", which no other message of the server ever had.
/// Invariants  1. restore() gives mail back in small transactions, so that other mail comes in between; each is durable
///                when the next begins. What ends it early says how much is back.
///             2. Nothing is restored while the disk is below its floor.
/// Errors: not_found (an id that is not there), invalid (an id that is none, a mailbox name), over_quota, no_space,
/// cancelled (`go_on` said no).  Threads: the caller's; it waits for the store, so never on a loop's.
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "storage/store.h"

namespace posthouse::admin {

/// Messages a transaction.
inline constexpr std::size_t kRestoreStep = 200;
/// Messages a page of a listing.
inline constexpr std::size_t kDeletedPage = 1000;

std::string removed_id(const storage::DeletedKey& key);
/// Asks for that one message. Errc::invalid where `id` names none.
Result<storage::DeletedQuery> query_of_id(std::string_view id);
/// Whether a removed mailbox itself is what `query` asks for.
bool fits(const storage::DeletedMailbox& gone, const storage::DeletedQuery& query);

/// All that fits `query`, page by page, each page from a snapshot of its own.
Result<> each_deleted(storage::Store& store, storage::AccountId account, storage::DeletedQuery query,
                      const std::function<void(const storage::DeletedEntry&)>& visit);

/// What to restore: the messages of these ids, or all that fits `query`.
struct RestoreRequest {
    std::vector<std::string> ids;
    storage::DeletedQuery query;  ///< `mailbox` and `since`; looked at where there are no ids
    std::string into;             ///< "": where it lay
};

struct RestoreReport {
    std::map<std::string, std::uint64_t> places;  ///< messages by mailbox; a mailbox made again may have none
    std::uint64_t messages = 0;
    std::uint64_t wanted = 0;
};

/// Between two transactions: how many messages are done; false ends it.
using GoOn = std::function<bool(std::uint64_t done, std::uint64_t wanted)>;

/// Fills `report` as far as it comes, also when it fails.
Result<> restore(storage::Store& store, storage::AccountId account, const RestoreRequest& request, const GoOn& go_on,
                 RestoreReport& report);

}  // namespace posthouse::admin
