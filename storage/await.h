#pragma once
/// storage/await: the store from a coroutine. The only file of this room that knows loops.
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "storage/store.h"

namespace posthouse::storage {

namespace detail {

template <class F>
struct Writing {
    explicit Writing(F f) : fn(std::move(f)) {}
    Result<> run(Tx& tx) {
        value.emplace(fn(tx));
        if (!*value) return Error(value->error());
        return {};
    }
    F fn;
    std::optional<std::invoke_result_t<F, Tx&>> value;
};

}  // namespace detail

/// Submits `fn(Tx&)`, which returns a Result, and resumes on `loop` when it is durable or has failed.
template <class F>
net::Task<std::invoke_result_t<F, Tx&>> commit(Store& store, net::Loop& loop, std::vector<StagedBodyPtr> bodies, F fn) {
    const auto state = std::make_shared<detail::Writing<F>>(std::move(fn));
    std::move_only_function<void(std::move_only_function<void(Result<>)>)> start =
        [&store, &loop, &bodies, state](std::move_only_function<void(Result<>)> done) {
            store.submit(std::move(bodies), [state](Tx& tx) { return state->run(tx); }, loop, std::move(done));
        };
    const Result<> durable = co_await net::await_callback<Result<>>(loop, std::move(start));
    if (!durable) co_return Error(durable.error());
    co_return std::move(*state->value);
}

/// The same for what a power cut may forget (Store::submit_ordered).
template <class F>
net::Task<std::invoke_result_t<F, Tx&>> commit_ordered(Store& store, net::Loop& loop, F fn) {
    const auto state = std::make_shared<detail::Writing<F>>(std::move(fn));
    std::move_only_function<void(std::move_only_function<void(Result<>)>)> start =
        [&store, &loop, state](std::move_only_function<void(Result<>)> done) {
            store.submit_ordered([state](Tx& tx) { return state->run(tx); }, loop, std::move(done));
        };
    const Result<> written = co_await net::await_callback<Result<>>(loop, std::move(start));
    if (!written) co_return Error(written.error());
    co_return std::move(*state->value);
}

/// Runs `fn(const Snapshot&)`, which returns a Result, on the pool and resumes on `loop`.
template <class F>
net::Task<std::invoke_result_t<F, const Snapshot&>> read(Store& store, net::ThreadPool& pool, net::Loop& loop, F fn) {
    auto job = [&store, work = std::move(fn)]() mutable { return store.read(std::move(work)); };
    co_return co_await net::offload(pool, loop, std::move(job));
}

}  // namespace posthouse::storage
