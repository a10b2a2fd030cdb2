#include "storage/background.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "protocols/base/log.h"

namespace posthouse::storage {

struct Background::Runner {
    std::unique_ptr<Job> job;
    mutable std::mutex mutex;
    std::condition_variable wake;
    bool poked = false;
    bool stopping = false;
    JobReport report;
    std::thread thread;
};

Background::Background() = default;
Background::~Background() { stop(); }

void Background::add(std::unique_ptr<Job> job) {
    auto runner = std::make_unique<Runner>();
    runner->report.name = job->name();
    runner->job = std::move(job);
    // In the list before its thread runs: a poke that comes during the first step must find it.
    const std::lock_guard list(mutex_);
    Runner& added = *runners_.emplace_back(std::move(runner));
    added.thread = std::thread([&added] { run(added); });
}

void Background::poke(std::string_view name) {
    const std::lock_guard list(mutex_);
    for (const auto& runner : runners_) {
        if (runner->report.name != name) continue;
        const std::lock_guard lock(runner->mutex);
        runner->poked = true;
        runner->wake.notify_one();
    }
}

void Background::stop() {
    {
        const std::lock_guard list(mutex_);
        for (const auto& runner : runners_) {
            const std::lock_guard lock(runner->mutex);
            runner->stopping = true;
            runner->job->stopping_ = true;
            runner->wake.notify_one();
        }
    }
    // Not under the lock: the last step of a job may poke another.
    for (const auto& runner : runners_) {
        if (runner->thread.joinable()) runner->thread.join();
    }
}

std::vector<JobReport> Background::report() const {
    std::vector<JobReport> out;
    const std::lock_guard list(mutex_);
    for (const auto& runner : runners_) {
        const std::lock_guard lock(runner->mutex);
        out.push_back(runner->report);
    }
    return out;
}

void Background::run(Runner& runner) {
    std::unique_lock lock(runner.mutex);
    while (!runner.stopping) {
        runner.poked = false;
        lock.unlock();
        Result<std::chrono::milliseconds> rest = std::chrono::milliseconds(0);
        try {
            rest = runner.job->step();
        } catch (const std::exception& thrown) {
            rest = Error(Errc::internal, std::string("an exception: ") + thrown.what());
        }
        lock.lock();
        ++runner.report.steps;
        std::chrono::milliseconds pause = kRetry;
        if (rest) {
            runner.report.last_error.clear();
            pause = *rest;
        } else {
            ++runner.report.failures;
            if (runner.report.last_error != rest.error().context) {
                log::error("storage", "{}: {}", runner.report.name, rest.error().context);
            }
            runner.report.last_error = rest.error().context;
        }
        runner.wake.wait_for(lock, pause, [&] { return runner.stopping || (runner.poked && rest.has_value()); });
    }
}

}  // namespace posthouse::storage
