#pragma once
/// server/imap/finder: which messages of a mailbox a search program matches, for SEARCH, SORT, THREAD and ESEARCH.
///
/// Flags, dates, sizes and sets are judged from memory; what asks for the entry (SAVEDON, EMAILID) by one pass over the
/// entries; of what only the content decides the index rules out most and settles some, and the rest is read in
/// batches on the pool.
/// Threads: the loop's.   Limits: kBatchCost in finder.cpp bounds a turn on the pool.
#include <cstdint>
#include <memory>
#include <vector>

#include "protocols/imap/search.h"
#include "server/imap/access.h"
#include "server/imap/progress.h"
#include "server/imap/selected.h"

namespace posthouse::server::imap {

using SharedProgram = std::shared_ptr<const posthouse::imap::SearchProgram>;

/// The program with its sets and intervals resolved for `selected` as its client sees it now.
SharedProgram resolve_program(posthouse::imap::SearchProgram program, const Selected& selected, Time now);

/// Numbers of the messages that match, ascending; those that are gone match nothing. `selected` must not change
/// meanwhile. `count`, where there is one, tells how far it is with what must be read.
net::Task<Result<std::vector<std::uint32_t>>> find_messages(Access& access, const Selected& selected,
                                                            SharedProgram program, ProgressCount* count = nullptr);

}  // namespace posthouse::server::imap
