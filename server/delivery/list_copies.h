#pragma once
/// server/delivery/list_copies: mail of a list to people who are here: each copy bears his own way to unsubscribe
/// (RFC 8058), as those that leave do (relay/job).
/// Threads: the loop's, but for the work on the pool.
#include <string>
#include <vector>

#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/task.h"
#include "storage/store.h"
#include "storage/streams.h"

namespace posthouse::server {

/// Gives the local copies of mail of this stream, where it is a list, octets of their own; they are added to `bodies`.
/// The recipients are noted as ones of the list in a commit of its own, since their tokens name them.
net::Task<Result<>> make_list_copies(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                     std::string hostname, storage::Stream stream, storage::Delivery& delivery,
                                     std::vector<storage::StagedBodyPtr>& bodies);

}  // namespace posthouse::server
