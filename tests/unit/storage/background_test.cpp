// The threads of the quiet work: every wait in here ends by an event of the job itself.
#include "storage/background.h"

#include <doctest/doctest.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <semaphore>
#include <stdexcept>

using namespace posthouse;
using namespace posthouse::storage;
using std::chrono::milliseconds;

namespace {

struct Counter {
    std::mutex mutex;
    std::condition_variable changed;
    int steps = 0;

    void add() {
        const std::lock_guard lock(mutex);
        ++steps;
        changed.notify_all();
    }
    void wait_for(int wanted) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return steps >= wanted; });
    }
};

class TestJob final : public Job {
 public:
    TestJob(Counter& counter, std::function<Result<milliseconds>(int)> act) : counter_(counter), act_(std::move(act)) {}
    std::string_view name() const override { return "test"; }
    Result<milliseconds> step() override {
        counter_.add();
        return act_(++count_);
    }

 private:
    Counter& counter_;
    std::function<Result<milliseconds>(int)> act_;
    int count_ = 0;
};

constexpr milliseconds kForever = std::chrono::hours(24);

}  // namespace

TEST_CASE("a job steps at once, goes on while it has work, and rests until it is poked") {
    Counter counter;
    Background background;
    background.add(std::make_unique<TestJob>(
        counter, [](int count) -> Result<milliseconds> { return count < 3 ? milliseconds(0) : kForever; }));
    counter.wait_for(3);
    background.poke("another");
    background.poke("test");
    counter.wait_for(4);
    background.stop();
    CHECK(counter.steps == 4);
}

TEST_CASE("a poke during a step is not lost") {
    Counter counter;
    Background background;
    background.add(std::make_unique<TestJob>(counter, [&](int count) -> Result<milliseconds> {
        if (count == 1) background.poke("test");
        return kForever;
    }));
    counter.wait_for(2);
}

TEST_CASE("a step that fails or throws is reported and the thread lives on") {
    Counter counter;
    std::binary_semaphore gate(0);
    Background background;
    background.add(std::make_unique<TestJob>(counter, [&](int count) -> Result<milliseconds> {
        if (count == 2) gate.acquire();
        if (count == 1) return milliseconds(0);
        throw std::runtime_error("a bug");
    }));
    counter.wait_for(2);
    CHECK(background.report()[0].failures == 0);
    gate.release();
    background.stop();  // joins: the step is over
    const JobReport report = background.report()[0];
    CHECK(report.failures == 1);
    CHECK(report.last_error == "an exception: a bug");
}

TEST_CASE("stop ends a rest of any length, and may be called twice") {
    Counter counter;
    Background background;
    background.add(std::make_unique<TestJob>(counter, [](int) -> Result<milliseconds> { return kForever; }));
    counter.wait_for(1);
    background.stop();
    background.stop();
    CHECK(counter.steps == 1);
}
