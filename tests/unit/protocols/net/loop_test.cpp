#include "protocols/net/loop.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <thread>

#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace posthouse::net;
using namespace std::chrono_literals;
using test::run_task;

namespace {

Task<int> number(int value) { co_return value; }
Task<int> throwing() {
    throw std::runtime_error("a bug");
    co_return 0;
}
Task<void> wait_and_count(Event& event, int& woken) {
    co_await event.wait();
    ++woken;
}
Task<void> throw_after(Event& event) {
    co_await event.wait();
    throw std::runtime_error("a bug in a task");
}

}  // namespace

TEST_CASE("run_task returns what the task returns, and throws what it throws") {
    Loop loop;
    CHECK(run_task(loop, number(7)) == 7);
    CHECK(run_task(loop, number(8)) == 8);
    CHECK_THROWS_AS(run_task(loop, throwing()), std::runtime_error);
}

TEST_CASE("a stop that comes before run still counts, and the loop runs again afterwards") {
    Loop loop;
    loop.stop();
    loop.run();
    int ran = 0;
    loop.post([&] { ++ran; });
    loop.poll();
    CHECK(ran == 1);
}

TEST_CASE("posts from other threads run on the loop's thread, batches in order") {
    Loop loop;
    std::string order;
    std::thread::id ran_on;
    std::thread other([&] {
        std::vector<Completion> batch;
        for (const char letter : {'a', 'b', 'c'}) batch.emplace_back([&order, letter] { order += letter; });
        batch.emplace_back([&] {
            ran_on = std::this_thread::get_id();
            loop.stop();
        });
        loop.post_batch(std::move(batch));
    });
    loop.run();
    other.join();
    CHECK(order == "abc");
    CHECK(ran_on == std::this_thread::get_id());
}

TEST_CASE("an exception out of a posted function does not end the loop") {
    Loop loop;
    loop.post([] { throw std::runtime_error("a bug in a handler"); });
    loop.post([&] { loop.stop(); });
    loop.run();
}

TEST_CASE("Event: set wakes every waiter, also when it is reset at once") {
    Loop loop;
    Event event(loop);
    TaskGroup group(loop);
    int woken = 0;
    for (int i = 0; i < 3; ++i) group.spawn("waiter", wait_and_count(event, woken));
    loop.poll();
    CHECK(woken == 0);
    CHECK(group.size() == 3);
    event.set();
    event.reset();
    CHECK_FALSE(event.is_set());
    run_task(loop, group.join());
    CHECK(woken == 3);

    group.spawn("again", wait_and_count(event, woken));
    loop.poll();
    CHECK(woken == 3);
    event.set();
    run_task(loop, group.join());
    CHECK(woken == 4);
    run_task(loop, event.wait());  // set: returns at once
}

TEST_CASE("Event: wait_for tells a timeout from the event") {
    Loop loop;
    Event event(loop);
    const auto late = run_task(loop, event.wait_for(1ms));
    REQUIRE_FALSE(late);
    CHECK(late.error().code == Errc::timeout);
    loop.post([&] { event.set(); });
    CHECK(run_task(loop, event.wait_for(1h)));
    CHECK(run_task(loop, event.wait_for(0ms)));
}

TEST_CASE("Event: waiters outlive it") {
    Loop loop;
    TaskGroup group(loop);
    int woken = 0;
    {
        Event event(loop);
        group.spawn("waiter", wait_and_count(event, woken));
        loop.poll();
    }
    run_task(loop, group.join());
    CHECK(woken == 1);
}

TEST_CASE("a loop that ends frees the tasks that still wait on it") {
    // Under LeakSanitizer this is the proof; the group is abandoned on purpose, as at the end of a fuzzer's round.
    static TaskGroup* abandoned = nullptr;
    auto loop = std::make_unique<Loop>();
    auto event = std::make_unique<Event>(*loop);
    abandoned = new TaskGroup(*loop);
    int woken = 0;
    abandoned->spawn("waiter", wait_and_count(*event, woken));
    loop->poll();
    loop.reset();
    CHECK(woken == 0);
}

TEST_CASE("sleep_for: the whole span, or until cancelled") {
    Loop loop;
    CHECK(run_task(loop, sleep_for(loop, 1ms, nullptr)));
    Event cancel(loop);
    CHECK(run_task(loop, sleep_for(loop, 1ms, &cancel)));
    loop.post([&] { cancel.set(); });
    CHECK_FALSE(run_task(loop, sleep_for(loop, 1h, &cancel)));
    CHECK_FALSE(run_task(loop, sleep_for(loop, 1h, &cancel)));
}

TEST_CASE("await_callback: now, later, and with a value that only moves") {
    Loop loop;
    using Callback = std::move_only_function<void(std::unique_ptr<int>)>;
    std::move_only_function<void(Callback)> at_once = [](Callback done) { done(std::make_unique<int>(1)); };
    CHECK(*run_task(loop, await_callback<std::unique_ptr<int>>(loop, std::move(at_once))) == 1);
    std::thread other;
    std::move_only_function<void(Callback)> later = [&](Callback done) {
        other = std::thread([&loop, done = std::move(done)]() mutable {
            loop.post([done = std::move(done)]() mutable { done(std::make_unique<int>(2)); });
        });
    };
    CHECK(*run_task(loop, await_callback<std::unique_ptr<int>>(loop, std::move(later))) == 2);
    other.join();
}

TEST_CASE("TaskGroup: an exception ends its own task only") {
    Loop loop;
    TaskGroup group(loop);
    Event event(loop);
    int woken = 0;
    group.spawn("bad", throw_after(event));
    group.spawn("good", wait_and_count(event, woken));
    loop.poll();
    CHECK(group.size() == 2);
    event.set();
    run_task(loop, group.join());
    CHECK(group.size() == 0);
    CHECK(group.failures() == 1);
    CHECK(woken == 1);
    run_task(loop, group.join());  // an empty group is joined at once
}
