#pragma once
/// protocols/net/watch: descriptors and signals of others in the loop (libunbound's socket, SIGTERM), without Asio.
/// Threads: the loop's. A callback may destroy its own watch.
#include <functional>
#include <initializer_list>
#include <memory>

#include "protocols/net/loop.h"

namespace posthouse::net {

/// Calls back each time `descriptor` can be read. The descriptor stays its owner's and is not closed here; it must
/// stay open for as long as the watch lives.
class DescriptorWatch {
 public:
    DescriptorWatch(Loop& loop, int descriptor, std::function<void()> on_readable);
    ~DescriptorWatch();
    DescriptorWatch(const DescriptorWatch&) = delete;
    DescriptorWatch& operator=(const DescriptorWatch&) = delete;

 private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

/// Calls back on the loop's thread, as ordinary code, for each of `signals` (SIGTERM, SIGHUP, ...) that arrives.
class SignalWatch {
 public:
    SignalWatch(Loop& loop, std::initializer_list<int> signals, std::function<void(int)> on_signal);
    ~SignalWatch();
    SignalWatch(const SignalWatch&) = delete;
    SignalWatch& operator=(const SignalWatch&) = delete;

 private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace posthouse::net
