#pragma once
/// relay/schedule: the decisions of one lane without its connections: whose mail next, whether now, over how many
/// connections, and what follows from each verdict. Puts fairness, controller and retry together; the coroutines of
/// relay/lane only carry out what it says, and the tests run it against a stand-in internet under a virtual clock.
/// Pure: time comes in as a parameter.   Limits: those of its parts.
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "relay/controller.h"
#include "relay/fairness.h"
#include "relay/retry.h"
#include "storage/lane_limits.h"

namespace posthouse::relay {

class LaneSchedule {
 public:
    LaneSchedule(const Shaping& shaping, Time now) : shaping_(shaping), controller_(shaping, now) {}

    void add(storage::QueueClass priority, const std::string& flow, const LaneEntry& entry) {
        queue_.push(priority, flow, entry);
    }
    /// The next transaction, where the lane may begin one now.
    std::optional<Parcel> take(Time now, std::size_t recipients_max);
    /// It was taken but nothing came of it; stays first of its sender's.
    void put_back(const Parcel& parcel) { queue_.put_back(parcel); }

    /// Other bounds from now on.
    void reshape(const Shaping& shaping);

    /// Connections that should be open (those that are count).
    std::size_t connections_wanted(Time now) const {
        return controller_.connections_wanted(queue_.size() + busy_, now);
    }
    Time earliest(Time now) const { return controller_.earliest(now); }
    void opened(Time now);
    void closed() { --open_; }
    std::size_t open() const { return open_; }

    /// What one transaction's verdicts mean for each recipient; the lane learns once from all. `host` said it;
    /// `attempts` are those before this one.
    struct Said {
        Verdict verdict;
        std::uint32_t attempts = 0;
        Said() = default;
    };
    std::vector<Aftermath> settle(std::span<const Said> all, std::string_view host, Stage stage, Time now,
                                  Random& random);
    /// A parcel that was taken is out of the way, whatever became of it.
    void done() { --busy_; }

    const Shaping& shaping() const { return shaping_; }
    FairQueue& queue() { return queue_; }
    const FairQueue& queue() const { return queue_; }
    LaneController& controller() { return controller_; }
    const LaneController& controller() const { return controller_; }
    /// The words of the last refusal that slowed the lane; "" before the first.
    const std::string& why() const { return why_; }
    /// Why what waits now waits.
    storage::WaitCause cause(Time now) const;
    std::size_t busy() const { return busy_; }

 private:
    bool learn(const Aftermath& after, Stage stage, Time now);

    Shaping shaping_;
    FairQueue queue_;
    LaneController controller_;
    std::size_t open_ = 0;
    std::size_t busy_ = 0;
    std::string why_;
    storage::WaitCause cause_ = storage::WaitCause::lane_window;
};

/// Of several signals in one transaction the one that counts.
LaneSignal gravest_of(std::span<const Aftermath> all);

/// What is known of a big site before the first word: connections, messages a connection, rate. Table in shaping.cpp.
/// `site` is a provider's name or a relay host's; the two bounds are the administrator's. `by_hand`, where not null, is
/// what he set for this very site: it goes before both.
Shaping shaping_for(std::string_view site, std::size_t connections_max, std::size_t messages_max,
                    const storage::LaneLimit* by_hand = nullptr);

}  // namespace posthouse::relay
