#pragma once
/// protocols/net/offload: blocking work (SQLite reads, argon2, large parses) away from the loop's thread.
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include "protocols/net/loop.h"

namespace posthouse::net {

/// A fixed number of threads and a bounded queue. Threads: submit from any.
class ThreadPool {
 public:
    ThreadPool(std::string name, unsigned threads, std::size_t queued_max = 4096);
    ~ThreadPool();  ///< finishes what is queued, then joins
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    /// False where the queue is full: answer "try again later".
    bool submit(std::move_only_function<void()> job);

 private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// What `work` returns; an exception, which is a bug, becomes Errc::internal so that the waiter is always released.
template <class R, class F>
R run_guarded(F& work) {
    try {
        return work();
    } catch (const std::exception& e) {
        return R(Error(Errc::internal, std::string("blocking work threw: ") + e.what()));
    }
}

/// Runs `fn` (returning a Result) on the pool and resumes on `loop` with what it returned; Errc::unavailable where the
/// pool's queue is full. `fn` runs to its end even where nobody waits any more: it owns what it uses.
/// The pool is destroyed before the loop.
template <class F>
Task<std::invoke_result_t<F>> offload(ThreadPool& pool, Loop& loop, F fn) {
    using R = std::invoke_result_t<F>;
    std::move_only_function<void(std::move_only_function<void(R)>)> start =
        [&pool, &loop, &fn](std::move_only_function<void(R)> done) {
            auto shared = std::make_shared<std::move_only_function<void(R)>>(std::move(done));
            const bool taken = pool.submit([shared, &loop, work = std::move(fn)]() mutable {
                auto result = std::make_shared<R>(run_guarded<R>(work));
                loop.post([shared, result] { (*shared)(std::move(*result)); });
            });
            if (!taken) (*shared)(R(Error(Errc::unavailable, "too much work is queued")));
        };
    co_return co_await await_callback<R>(loop, std::move(start));
}

}  // namespace posthouse::net
