#pragma once
/// tests/support/loop_runner: runs one task on a loop to its end, from ordinary test code.
///
///     Loop loop;
///     const auto line = test::run_task(loop, stream.read_line(512));
///
/// An exception that leaves the task comes out of run_task. What else was spawned on the loop runs along meanwhile.
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "protocols/net/loop.h"

namespace posthouse::test {

namespace detail {

template <class T>
net::Task<void> keep_result(net::Loop& loop, net::Task<T> task, std::optional<T>& result, std::exception_ptr& thrown) {
    try {
        result.emplace(co_await std::move(task));
    } catch (...) {
        thrown = std::current_exception();
    }
    loop.stop();
}

inline net::Task<void> keep_end(net::Loop& loop, net::Task<void> task, std::exception_ptr& thrown) {
    try {
        co_await std::move(task);
    } catch (...) {
        thrown = std::current_exception();
    }
    loop.stop();
}

}  // namespace detail

/// Turns `loop` until `done` holds: its events are all that can bring that about.
template <class Done>
void run_until(net::Loop& loop, const Done& done) {
    while (!done()) loop.poll();
}

/// Runs `loop` on the calling thread until `task` has ended; returns what it returned.
template <class T>
T run_task(net::Loop& loop, net::Task<T> task) {
    std::exception_ptr thrown;
    net::TaskGroup group(loop);
    if constexpr (std::is_void_v<T>) {
        group.spawn("test", detail::keep_end(loop, std::move(task), thrown));
        loop.run();
        while (group.size() > 0) loop.poll();  // the group hears of the end a step later
        if (thrown) std::rethrow_exception(thrown);
    } else {
        std::optional<T> result;
        group.spawn("test", detail::keep_result<T>(loop, std::move(task), result, thrown));
        loop.run();
        while (group.size() > 0) loop.poll();
        if (thrown) std::rethrow_exception(thrown);
        return std::move(*result);
    }
}

}  // namespace posthouse::test
