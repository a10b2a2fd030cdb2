#pragma once
/// relay/turn: one at a time, in the order in which they came. Threads: the loop's.
#include <deque>
#include <memory>

#include "protocols/net/loop.h"

namespace posthouse::relay {

class Turn {
 public:
    /// Waits until it is our turn; give() must follow.
    net::Task<void> take(net::Loop& loop) {
        if (!taken_) {
            taken_ = true;
            co_return;
        }
        const auto ours = std::make_shared<net::Event>(loop);
        waiting_.push_back(ours);
        co_await ours->wait();
    }
    void give() {
        taken_ = !waiting_.empty();
        if (!taken_) return;
        waiting_.front()->set();
        waiting_.pop_front();
    }

 private:
    std::deque<std::shared_ptr<net::Event>> waiting_;
    bool taken_ = false;
};

}  // namespace posthouse::relay
