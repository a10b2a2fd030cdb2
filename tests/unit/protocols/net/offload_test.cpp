#include "protocols/net/offload.h"

#include <doctest/doctest.h>

#include <latch>
#include <stdexcept>
#include <thread>

#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace posthouse::net;
using test::run_task;

TEST_CASE("offload runs elsewhere and resumes here") {
    Loop loop;
    ThreadPool pool("test", 2);
    auto work = []() -> Result<std::thread::id> { return std::this_thread::get_id(); };
    const auto ran_on = run_task(loop, offload(pool, loop, std::move(work)));
    REQUIRE(ran_on);
    CHECK(*ran_on != std::this_thread::get_id());

    auto with_move_only = [held = std::make_unique<int>(5)]() -> Result<std::unique_ptr<int>> {
        return std::make_unique<int>(*held + 1);
    };
    const auto six = run_task(loop, offload(pool, loop, std::move(with_move_only)));
    REQUIRE(six);
    CHECK(**six == 6);

    auto failing = []() -> Result<> { return Error(Errc::not_found, "no such row"); };
    CHECK(run_task(loop, offload(pool, loop, std::move(failing))).error().code == Errc::not_found);
}

TEST_CASE("work that throws releases its waiter with Errc::internal, and the thread lives on") {
    Loop loop;
    ThreadPool pool("test", 1);
    auto bad = []() -> Result<int> { throw std::runtime_error("a bug"); };
    CHECK(run_task(loop, offload(pool, loop, std::move(bad))).error().code == Errc::internal);
    CHECK(pool.submit([] { throw std::runtime_error("another bug"); }));
    auto good = []() -> Result<int> { return 1; };
    CHECK(run_task(loop, offload(pool, loop, std::move(good))).value_or(0) == 1);
}

TEST_CASE("a full pool says so at once; what was queued is finished before the pool ends") {
    Loop loop;
    std::latch started(1);
    std::latch release(1);
    int done = 0;
    {
        ThreadPool pool("test", 1, 2);
        CHECK(pool.submit([&] {
            started.count_down();
            release.wait();
        }));
        started.wait();  // the one thread is busy; two more fit into the queue
        CHECK(pool.submit([&] { ++done; }));
        CHECK(pool.submit([&] { ++done; }));
        CHECK_FALSE(pool.submit([&] { ++done; }));
        auto refused = []() -> Result<int> { return 1; };
        CHECK(run_task(loop, offload(pool, loop, std::move(refused))).error().code == Errc::unavailable);
        release.count_down();
    }
    CHECK(done == 2);
}
