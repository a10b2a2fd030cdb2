#pragma once
/// protocols/net/loop: one event loop, one thread. Sessions live on the loop that accepted them, without locks.
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/completion.h"
#include "protocols/base/result.h"
#include "protocols/net/task.h"

namespace posthouse::net {

class Loop final : public CompletionQueue {
 public:
    Loop();
    ~Loop() override;
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    /// Runs until stop(), on the calling thread, which becomes the loop's thread.
    void run();
    /// Runs what is ready and returns (tests, fuzzers).
    void poll();
    /// Makes run() return soon. Any thread.
    void stop();
    /// Runs `function` on the loop's thread. Any thread.
    void post(std::move_only_function<void()> function);
    void post_batch(std::vector<Completion> batch) override;
    boost::asio::any_io_executor executor();

    struct Impl;
    Impl& impl() { return *impl_; }

 private:
    std::unique_ptr<Impl> impl_;
};

/// Something that happens on this loop: set() wakes every waiter; reset() arms it again.
/// Threads: set, reset and wait on the loop's thread (other threads go through Loop::post).
class Event {
 public:
    explicit Event(Loop& loop);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void set();
    void reset();
    bool is_set() const;
    /// Returns at once where it is set.
    Task<void> wait();
    /// The same, with Errc::timeout after `span`.
    Task<Result<>> wait_for(std::chrono::milliseconds span);

 private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

/// Sleeps on the loop. Returns false where `cancel` was set first (may be null).
Task<bool> sleep_for(Loop& loop, std::chrono::milliseconds span, Event* cancel);

/// Calls `start` with a callback; resumes on the loop's thread with the value given to it. The callback may be called
/// from the loop's thread only (see CompletionQueue for handing results over from other threads).
template <class T>
Task<T> await_callback(Loop& loop, std::move_only_function<void(std::move_only_function<void(T)>)> start) {
    struct State {
        explicit State(Loop& on) : done(on) {}
        Event done;
        std::unique_ptr<T> value;
    };
    const auto state = std::make_shared<State>(loop);
    start([state](T value) {
        state->value = std::make_unique<T>(std::move(value));
        state->done.set();
    });
    co_await state->done.wait();
    co_return std::move(*state->value);
}

/// Tasks that belong together: nothing is ever detached. An exception that leaves a task is a bug: it is logged and
/// counted, the others go on. Threads: the loop's, but for size().
class TaskGroup {
 public:
    explicit TaskGroup(Loop& loop);
    ~TaskGroup();  ///< asserts that all tasks have ended
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;

    void spawn(std::string_view name, Task<void> task);
    /// Completes when no task is left.
    Task<void> join();
    std::size_t size() const;
    /// Tasks that ended by an exception since the group was made.
    std::size_t failures() const;
    Loop& loop();

 private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace posthouse::net
