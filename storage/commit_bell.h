#pragma once
/// storage/commit_bell (internal): the server hears at once that another process of ours has committed, instead of at
/// its next look (StoreOptions::watch_other_processes). A datagram to the socket DATA/run/commits, which nobody outside
/// the data directory can reach; what it says is only that a look is worth it. Where it fails the look of each second
/// finds the same.
/// Threads: ring() any; the listener has one of its own.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "protocols/base/descriptor.h"
#include "protocols/base/result.h"

namespace posthouse::storage {

/// Rings, where somebody listens; never waits. `data`: the data directory, also below.
void ring_commit_bell(const Descriptor& data);

class CommitBell {
 public:
    /// Calls `on_ring` on a thread of its own, once for rings that come together, until the object goes. `data` must
    /// outlive it.
    static Result<std::unique_ptr<CommitBell>> listen(const Descriptor& data, std::function<void()> on_ring);
    ~CommitBell();
    CommitBell(const CommitBell&) = delete;
    CommitBell& operator=(const CommitBell&) = delete;

 private:
    CommitBell(const Descriptor& data, Descriptor socket, std::function<void()> on_ring);
    void run();

    const Descriptor& data_;
    Descriptor socket_;
    std::function<void()> on_ring_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

}  // namespace posthouse::storage
