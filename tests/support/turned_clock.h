#pragma once
/// tests/support/turned_clock: time that the test turns.   Threads: any.
#include <atomic>
#include <cstdint>

#include "protocols/base/clock.h"

namespace posthouse::test {

class TurnedClock final : public Clock {
 public:
    explicit TurnedClock(std::int64_t unix_ms = 1'764'000'000'000) : ms_(unix_ms) {}
    Time now() const override { return from_unix_ms(ms_.load()); }
    void advance(Milliseconds by) { ms_ += by.count(); }

 private:
    std::atomic<std::int64_t> ms_;
};

}  // namespace posthouse::test
