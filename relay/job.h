#pragma once
/// relay/job: some recipients of one message that go by one way in one transaction, and the steps of an attempt that
/// need no connection: recording the start, reading and signing, settling without a word to anybody.
/// Threads: the loop's.
#include <cstdint>
#include <string>
#include <vector>

#include "relay/core.h"
#include "relay/outcome.h"
#include "relay/route.h"
#include "relay/site.h"

namespace posthouse::relay {

/// By MX all recipients are of one domain: big sites refuse transactions for several.
struct Job {
    storage::QueueItem item;
    std::vector<storage::QueueRecipient> recipients;
    Target target;             ///< the way that was chosen
    DomainPlanPtr plan;        ///< by MX; null for a relay host
    std::uint64_t number = 0;  ///< in order of arrival
    Job() = default;
};

/// Records the start. Recipients that are no longer waiting (held, cancelled) drop out; false where none is left.
net::Task<bool> start_attempt(Core& core, Job& job);
net::Task<Result<OutgoingMessagePtr>> load_for(Core& core, const Job& job);
/// The same verdict for every recipient.
std::vector<Settled> settle_all(const Job& job, const Verdict& verdict, const std::string& remote);
/// An attempt that ends before anybody was dialled: no such domain, no usable route.
net::Task<void> settle_unsent(Core& core, Job job, Verdict verdict);

}  // namespace posthouse::relay
