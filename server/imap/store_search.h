#pragma once
/// server/imap/store_search: SEARCH over the store: what the index can say of it, and judging by the content.
/// Threads: any; blocking (the pool's).
#include <vector>

#include "protocols/imap/search.h"
#include "server/imap/access.h"
#include "storage/mail.h"
#include "storage/search/search_index.h"

namespace posthouse::server::imap {

/// The program as the index can help with it. Keys that a session judges from memory count as met where all keys of the
/// program must be: it asks only about messages that they do not rule out.
storage::search::Condition condition_of(const posthouse::imap::SearchProgram& program);

/// Access::saved().
Result<std::vector<posthouse::imap::SearchSaved>> read_saved(const storage::MailView& mail, MailboxId mailbox,
                                                             const std::vector<Uid>& uids);
/// Access::narrow(). `index` may be null. Never fails for want of an index: then all are `in_mail`.
Result<std::vector<SearchVerdict>> narrow_search(const storage::MailView& mail, storage::search::SearchIndex* index,
                                                 MailboxId mailbox, const posthouse::imap::SearchProgram& program,
                                                 const std::vector<Uid>& uids);
/// Access::search(). What stays unreadable matches nothing: a search goes on past one damaged message.
Result<std::vector<Uid>> run_search(const storage::MailView& mail, storage::search::SearchIndex* index,
                                    MailboxId mailbox, const posthouse::imap::SearchProgram& program,
                                    const std::vector<SearchCandidate>& candidates);

}  // namespace posthouse::server::imap
