#pragma once
/// tests/support/hand_queue: a CompletionQueue without a loop: what was posted runs when a test says so.
/// Threads: post_batch any, the rest the test's.
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "protocols/base/completion.h"

namespace posthouse::test {

/// Runs completions on the thread that calls run().
class HandQueue final : public CompletionQueue {
 public:
    void post_batch(std::vector<Completion> batch) override {
        const std::lock_guard lock(mutex_);
        ++batches;
        for (Completion& completion : batch) waiting_.push_back(std::move(completion));
        posted_.notify_all();
    }
    void run(std::size_t count) {
        std::vector<Completion> ready;
        {
            std::unique_lock lock(mutex_);
            posted_.wait(lock, [&] { return waiting_.size() >= count; });
            ready.swap(waiting_);
        }
        for (Completion& completion : ready) completion();
    }
    int batches = 0;

 private:
    std::mutex mutex_;
    std::condition_variable posted_;
    std::vector<Completion> waiting_;
};

}  // namespace posthouse::test
