#pragma once
/// server/delivery/unwilling: which recipients get no mail of a program for now (storage/suppression): those who want
/// none of its stream, and whom its sender's scope or everybody's keeps from mail of this class.
/// Threads: the loop's, but for the work on the pool.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/task.h"
#include "storage/store.h"
#include "storage/suppression.h"

namespace posthouse::server {

struct UnwillingQuestion {
    std::string sender;  ///< reverse-path; "": the stream alone is looked at
    std::string stream;  ///< or ""
    std::vector<std::string> addresses;
    std::uint8_t mail_class = 0;  ///< as in QueueClass
    Time now{};

    UnwillingQuestion() = default;
};

/// By address in lower case.
using Unwilling = std::map<std::string, storage::Suppression>;
net::Task<Result<Unwilling>> find_unwilling(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                            UnwillingQuestion question);

}  // namespace posthouse::server
