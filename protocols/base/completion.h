#pragma once
/// protocols/base/completion: how a thread that finished work for an event loop hands the results back.
/// The commit thread posts one batch per loop and commit, not one wake-up per waiter.
#include <functional>
#include <vector>

namespace posthouse {

using Completion = std::move_only_function<void()>;

class CompletionQueue {
 public:
    virtual ~CompletionQueue() = default;
    /// Runs every completion, in order, on the loop's own thread. May be called from any thread.
    virtual void post_batch(std::vector<Completion> batch) = 0;
};

}  // namespace posthouse
