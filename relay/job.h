#pragma once
/// relay/job: some recipients of one message that go by one way in one transaction, and the steps of an attempt that
/// need no connection: reading and signing, recording the start, settling without a word to anybody.
/// Threads: the loop's.
#include <memory>
#include <optional>
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
    Time began{};                                     ///< when its start went to the store
    Job() = default;
};

/// Errc::not_found where nothing of it waits any more. What is under way counts as waiting: whoever calls has it in
/// hand alone, and its own start may be recorded beside the reading.
net::Task<Result<Job>> load_job(Core& core, const Parcel& parcel, const Target& target, Loading what);
/// The start of an attempt on its way into the store: the message is read and the remote spoken to meanwhile, but its
/// octets wait until it is there.
struct Beginning {
    Beginning(net::Loop& loop, Time now) : known(loop), at(now) {}
    net::Event known;  ///< set when the store has answered
    Time at;
    std::optional<Error> error;                         ///< it cannot be recorded
    std::vector<storage::StartedRecipient> recipients;  ///< those that were still waiting
    bool covers(const std::vector<storage::QueueRecipient>& all) const;
};
using BeginningPtr = std::shared_ptr<Beginning>;
/// Begins to record it; does not wait.
BeginningPtr begin_attempt(Core& core, std::vector<storage::RecipientId> ids);

/// What became of the start. Recipients that are no longer waiting (held, cancelled) drop out.
enum class Started {
    yes,
    nobody,  ///< none is left
    cannot,  ///< the store cannot record it, so nothing is tried
};
/// Waits for it, and says in the job who is left and how many attempts each had.
net::Task<Started> begun(Core& core, BeginningPtr beginning, Job& job);
/// Both.
net::Task<Started> start_attempt(Core& core, Job& job);
/// Nothing was handed over: who was started waits again, without an attempt counted. Tries until it is recorded or the
/// server stops (then the next start takes them up).
net::Task<void> give_back(Core& core, BeginningPtr beginning);
/// `source`, but its first octets wait for the start; an error where it covers not all of `recipients`.
std::unique_ptr<MessageSource> behind(BeginningPtr beginning, std::vector<storage::QueueRecipient> recipients,
                                      std::unique_ptr<MessageSource> source);
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
