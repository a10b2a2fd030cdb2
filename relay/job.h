#pragma once
/// relay/job: some recipients of one message that go by one way in one transaction, and the steps of an attempt that
/// need no connection: reading and signing, recording the start, settling without a word to anybody.
/// Threads: the loop's.
#include <string>
#include <vector>

#include "relay/core.h"
#include "relay/fairness.h"
#include "relay/outcome.h"
#include "relay/route.h"
#include "relay/site.h"
#include "relay/suppress.h"

namespace posthouse::relay {

/// By MX all recipients are of one domain: big sites refuse transactions for several.
struct Job {
    storage::QueueItem item;
    std::vector<storage::QueueRecipient> recipients;  ///< those of the parcel that still wait
    Target target;                                    ///< the way that was chosen
    DomainPlanPtr plan;                               ///< by MX; null for a relay host
    std::string reverse_path;                         ///< that it leaves with (relay/reverse_path.h)
    OutgoingMessagePtr message;                       ///< null where it cannot be read
    std::string unreadable;                           ///< why not
    Suppressed suppressed;                            ///< of the recipients, since they were routed
    Time began{};                                     ///< when its start was recorded
    Job() = default;
};

enum class Loading { rows, rows_and_message };

/// Errc::not_found where nothing of it waits any more.
net::Task<Result<Job>> load_job(Core& core, const Parcel& parcel, const Target& target, Loading what);
/// Records the start. Recipients that are no longer waiting (held, cancelled) drop out.
enum class Started {
    yes,
    nobody,  ///< none is left
    cannot,  ///< the store cannot record it, so nothing is tried
};
net::Task<Started> start_attempt(Core& core, Job& job);
/// The same verdict for every recipient.
std::vector<Settled> settle_all(const Job& job, const Verdict& verdict, const std::string& remote);
/// Why a parcel goes to nobody: no such domain, no usable route.
struct Unsent {
    explicit Unsent(Verdict said) : verdict(std::move(said)) {}
    Verdict verdict;
    storage::WaitCause cause = storage::WaitCause::none;  ///< for what is put off
    Time until{};                                         ///< likewise: when it may be otherwise; none: nobody knows
    Suppressed suppressed;                                ///< each of these has words of its own, and no attempt
};
/// An attempt that ends before anybody was dialled. False where the store could not be asked: it is due still.
net::Task<bool> settle_unsent(Core& core, const Parcel& parcel, const Unsent& unsent);

}  // namespace posthouse::relay
