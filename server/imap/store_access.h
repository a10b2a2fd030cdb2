#pragma once
/// server/imap/store_access: Access over the store: reads on the pool's snapshots, writes through the group commit.
/// Threads: the loop's.
#include <memory>

#include "protocols/net/offload.h"
#include "server/imap/access.h"
#include "server/imap/mailbox_cache.h"
#include "storage/search/search_index.h"
#include "storage/store.h"

namespace posthouse::server::imap {

/// All must outlive what is made. Without `index` every search reads every message it must look into.
std::unique_ptr<Access> make_store_access(storage::Store& store, storage::search::SearchIndex* index,
                                          MailboxCache& cache, net::Loop& loop, net::ThreadPool& read_pool,
                                          storage::AccountId account);

}  // namespace posthouse::server::imap
