#include "protocols/net/offload.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "protocols/base/log.h"

namespace posthouse::net {

struct ThreadPool::Impl {
    void work() {
        for (;;) {
            std::move_only_function<void()> job;
            {
                std::unique_lock lock(mutex);
                wake.wait(lock, [this] { return ending || !jobs.empty(); });
                if (jobs.empty()) return;  // ending, and all that was queued is done
                job = std::move(jobs.front());
                jobs.pop_front();
            }
            try {
                job();
            } catch (const std::exception& e) {
                log::error("net", "a job of pool {} ended by an exception: {}", name, e.what());
            }
        }
    }

    std::string name;
    std::size_t queued_max = 0;
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::move_only_function<void()>> jobs;
    bool ending = false;
    std::vector<std::thread> threads;
};

ThreadPool::ThreadPool(std::string name, unsigned threads, std::size_t queued_max) : impl_(std::make_unique<Impl>()) {
    ASSERT(threads > 0);
    impl_->name = std::move(name);
    impl_->queued_max = queued_max;
    for (unsigned i = 0; i < threads; ++i) impl_->threads.emplace_back([impl = impl_.get()] { impl->work(); });
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->ending = true;
    }
    impl_->wake.notify_all();
    for (std::thread& thread : impl_->threads) thread.join();
}

bool ThreadPool::submit(std::move_only_function<void()> job) {
    {
        const std::lock_guard lock(impl_->mutex);
        if (impl_->ending || impl_->jobs.size() >= impl_->queued_max) return false;
        impl_->jobs.push_back(std::move(job));
    }
    impl_->wake.notify_one();
    return true;
}

}  // namespace posthouse::net
