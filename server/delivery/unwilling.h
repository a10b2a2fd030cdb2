#pragma once
/// server/delivery/unwilling: which recipients want no mail of a stream (storage/suppression, in its scope).
/// Threads: the loop's, but for the work on the pool.
#include <map>
#include <string>
#include <vector>

#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/task.h"
#include "storage/store.h"
#include "storage/suppression.h"

namespace posthouse::server {

/// By address in lower case.
using Unwilling = std::map<std::string, storage::Suppression>;
/// Those of `addresses` that any of `scopes` keeps from mail at `now`.
net::Task<Result<Unwilling>> find_unwilling(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                            std::vector<std::string> scopes, std::vector<std::string> addresses,
                                            Time now);

}  // namespace posthouse::server
