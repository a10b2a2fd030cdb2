#pragma once
/// storage/upkeep/pace (internal): spreads work over time, so that the quiet work stays quiet. Threads: one.
#include <chrono>
#include <functional>

namespace posthouse::storage {

class Pace {
 public:
    /// `stopping` is asked while it rests.
    explicit Pace(std::function<bool()> stopping) : stopping_(std::move(stopping)) {}
    /// `amount` was done: rests until it is due at `per_second`. What was idle before is not saved up.
    void spend(double amount, double per_second);
    bool stopping() const { return stopping_(); }

 private:
    std::function<bool()> stopping_;
    std::chrono::steady_clock::time_point due_{};
};

}  // namespace posthouse::storage
