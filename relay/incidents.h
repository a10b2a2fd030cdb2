#pragma once
/// relay/incidents: mail that is refused for a fault of ours is held instead of lost, and let go when that is mended.
///
///   a refusal   -> fault_of(): our address, the proof of our domain, our login -> an incident in the outcome's commit
///   watch       every kWatchEvery: one held message tries again when its probe is due; what a changed route can take
///               is let go; senders hear of the delay; what was held too long fails with the words it was refused with;
///               the postmaster is told, once, of each beginning and each end; of what began and ended before the
///               mail went, of its end alone
///   nobody      writes there any more: where nothing is held, and nothing was said for kRefusalEnds, a refusal is over
///   a delivery  by a way that an open incident stops: it is over, and all it held is due at once
///   a warning   what a receiver says against us while it only puts mail off (4yz for our address, SPF, DKIM, DMARC; a
///               bad name; the same words for 48 h), or of what nothing is held for: told at once; over an hour after
///               it was said last, with the next delivery, or when it was not said for kWarningEnds
/// Invariants  1. While an incident is open nothing but its probes (and what is let go by hand) meets it.
///             2. A restart loses nothing: all of it is read from the store.
/// Threads: the loop's.   Limits: kStepMax recipients a step.
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/metrics.h"
#include "protocols/net/task.h"
#include "storage/incidents.h"

namespace posthouse::relay {

struct Core;
struct Job;
struct Settled;
struct Target;
struct Warning;

inline constexpr Milliseconds kWatchEvery{10'000};
inline constexpr std::size_t kStepMax = 1'000;
inline constexpr std::chrono::hours kPutOffTold{48};  ///< so long put off as too fast: somebody must look
inline constexpr std::chrono::hours kWarningHeals{1};
inline constexpr std::chrono::hours kWarningEnds{7 * 24};
inline constexpr std::chrono::hours kRefusalEnds{30 * 24};  ///< what holds nothing, and was not said since
inline constexpr std::size_t kMailsAtOnce = 6;  ///< about incidents, in an hour; then one in ten minutes
inline constexpr std::size_t kStoppedShown = 50;  ///< destinations with a metric of their own; the rest are "other"

/// Those that are open, as of the last look, and what was counted.
class Incidents {
 public:
    explicit Incidents(Metrics& metrics);
    void apply(std::vector<storage::Incident> open);
    const std::vector<storage::Incident>& open() const { return open_; }
    /// The one that mail of `sender` by this way would meet, where the attempt began after it was seen last.
    const storage::Incident* met_by(const Target& target, std::string_view site, std::string_view sender,
                                    Time began) const;
    /// Likewise a warning that it shows to be over.
    const storage::Incident* warned_by(const Target& target, std::string_view site, std::string_view sender,
                                       Time began) const;

    Metrics::Value& held;  ///< recipients
    bool recheck = false;  ///< routes or addresses have changed: what is held may go another way
    std::deque<Time> mails;  ///< when those of the last hour were sent to the postmaster

 private:
    void tell_stopped();

    Metrics& metrics_;
    std::vector<storage::Incident> open_;
    std::set<std::string> shown_;  // destinations that have a gauge
};

/// Nothing where the refusal is no fault of ours.
std::optional<storage::IncidentKey> fault_of(const Job& job, const Settled& settled);
/// What must be told of this answer although nothing is held for it.
std::vector<Warning> warnings_of(const Core& core, const Job& job, const Settled& settled);
/// Marks who answered, what is refused for a fault of ours, and what shows that an incident is over.
void mark_faults(const Core& core, const Job& job, std::vector<Settled>& settled);
/// What the receiver said of the address that sent (relay/reputation).
void note_reputation(Core& core, const Job& job, const std::vector<Settled>& settled);

/// One round of the watch.
struct Watched {
    bool is_due = false;   ///< mail became due by it
    bool drained = false;  ///< an address is drained since the last round
    bool asks = false;     ///< somebody says that a listing is mended: the lists are to be asked now
};
net::Task<Watched> watch_incidents(Core& core);
/// Mails of what has begun and ended: each alone and soon, of many one, of ever more one in ten minutes. What was sent
/// before a start is not counted.
net::Task<void> tell_incidents(Core& core);

}  // namespace posthouse::relay
