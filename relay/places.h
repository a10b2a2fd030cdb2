#pragma once
/// relay/places: how many workers may be at work at once, over all lanes.
///
///   most       places in all; the last fifth of them is kept for lanes with letters (interactive mail), so that jobs
///              never take everything
///   patience   who has been at one parcel for longer waits for a server that hangs, and gives its place to others, up
///              to slow_max of those: a hundred dead hosts stop nobody else
///   turn       while other lanes wait for a place, a worker gives its own back after so long
/// Pure; the runner (relay/runner) gives the places out.
#include <algorithm>
#include <cstddef>
#include <list>
#include <optional>

#include "protocols/base/clock.h"

namespace posthouse::relay {

class Places {
 public:
    struct Bounds {
        std::size_t most = 100;
        std::size_t slow_max = 400;
        Milliseconds patience{5'000};
        Milliseconds turn{1'000};
    };
    /// Who is at a parcel, since when; `slow`: his place is another's.
    struct Work {
        Time since{};
        bool slow = false;
    };
    using Ticket = std::list<Work>::iterator;

    explicit Places(Bounds bounds) : bounds_(bounds) {}

    bool has_room(bool for_letters) const {
        const std::size_t taken = workers_ - std::min(slow_.size(), bounds_.slow_max);
        return taken < bounds_.most - (for_letters ? 0 : bounds_.most / 5);
    }
    void come() { ++workers_; }
    void go() { --workers_; }
    std::size_t workers() const { return workers_; }
    std::size_t slow() const { return slow_.size(); }

    /// A worker begins with a parcel, and is done with it.
    Ticket begin(Time now) { return at_work_.insert(at_work_.end(), Work{now}); }
    void end(Ticket ticket) { (ticket->slow ? slow_ : at_work_).erase(ticket); }
    /// Whether somebody has just become slow, so that there may be room.
    bool age(Time now) {
        const auto before = slow_.size();
        while (!at_work_.empty() && now - at_work_.front().since >= bounds_.patience) {
            at_work_.front().slow = true;
            slow_.splice(slow_.end(), at_work_, at_work_.begin());
        }
        return slow_.size() > before;
    }
    /// When the next one becomes slow.
    std::optional<Time> next() const {
        if (at_work_.empty()) return std::nullopt;
        return at_work_.front().since + bounds_.patience;
    }
    bool turn_is_over(Time since, Time now) const { return now - since >= bounds_.turn; }

 private:
    Bounds bounds_;
    std::size_t workers_ = 0;
    std::list<Work> at_work_;  // who began first stands first
    std::list<Work> slow_;
};

}  // namespace posthouse::relay
