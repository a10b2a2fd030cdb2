#pragma once
/// server/delivery/staged_sink: the octets of a message that comes in, into the store's staging.
/// Threads: the loop's; a spooled body (storage::kSpoolOctets) is copied on the pool.
#include <memory>

#include "protocols/net/offload.h"
#include "server/smtp/backend.h"
#include "storage/store.h"

namespace posthouse::server {

class StagedSink : public smtp::BodySink {
 public:
    /// The whole, once.
    virtual Result<storage::StagedBodyPtr> finish() = 0;
};

/// All outlive the sink and what it has under way.
std::unique_ptr<StagedSink> make_staged_sink(storage::Store& store, net::ThreadPool& pool, net::Loop& loop);

}  // namespace posthouse::server
