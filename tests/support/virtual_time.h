#pragma once
/// tests/support/virtual_time: a discrete clock: time jumps from event to event, and a day costs what happens in it.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>

#include "protocols/base/clock.h"

namespace posthouse::test {

/// Time jumps from event to event.
class VirtualTime {
 public:
    Time now() const { return now_; }
    void at(Time when, std::function<void()> what) { events_.push(Event{when, ++number_, std::move(what)}); }
    void in(Milliseconds span, std::function<void()> what) { at(now_ + span, std::move(what)); }
    /// The next event, where there is one until then.
    bool step(Time until) {
        if (events_.empty() || events_.top().when > until) return false;
        Event event = events_.top();
        events_.pop();
        now_ = std::max(now_, event.when);
        event.what();
        return true;
    }
    void run(Time until) {
        while (step(until)) {
        }
        now_ = until;
    }

 private:
    struct Event {
        Time when{};
        std::uint64_t number = 0;
        std::function<void()> what;
        bool operator<(const Event& other) const {
            return when != other.when ? when > other.when : number > other.number;
        }
    };
    Time now_ = from_unix_ms(1'764'000'000'000);
    std::uint64_t number_ = 0;
    std::priority_queue<Event> events_;
};

}  // namespace posthouse::test
