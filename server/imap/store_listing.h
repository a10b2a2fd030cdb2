#pragma once
/// server/imap/store_listing: what SORT and THREAD need of the store: one pass over what was kept at arrival; for
/// THREAD=REFERENCES also each header. Threads: any; blocking (the pool's).
#include <vector>

#include "server/imap/access.h"
#include "storage/mail.h"

namespace posthouse::server::imap {

/// Access::sort() and Access::thread(). `lines` are by UID.
Result<> gather_sort(const storage::MailView& mail, MailboxId mailbox, const std::vector<ListedLine>& lines,
                     posthouse::imap::Sorter& into);
Result<> gather_threads(const storage::MailView& mail, MailboxId mailbox, const std::vector<ListedLine>& lines,
                        posthouse::imap::Threader& into);

}  // namespace posthouse::server::imap
