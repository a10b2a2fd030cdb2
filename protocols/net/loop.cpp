#include "protocols/net/loop.h"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <list>

#include "protocols/base/log.h"
#include "protocols/net/loop_impl.h"

namespace posthouse::net {

namespace asio = boost::asio;

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

void Loop::run() {
    for (;;) {
        try {
            impl_->context.run();
            break;
        } catch (const std::exception& e) {
            // A handler let an exception out, which is a bug; one bug must not end every session of the thread.
            log::error("net", "an exception reached the event loop: {}", e.what());
        }
    }
    impl_->context.restart();  // here, not before run(): a stop() that came first still counts
}

void Loop::poll() {
    impl_->context.poll();
    if (impl_->context.stopped()) impl_->context.restart();
}

void Loop::stop() { impl_->context.stop(); }

void Loop::post(std::move_only_function<void()> function) { asio::post(impl_->context, std::move(function)); }

void Loop::post_batch(std::vector<Completion> batch) {
    asio::post(impl_->context, [batch = std::move(batch)]() mutable {
        for (Completion& completion : batch) completion();
    });
}

asio::any_io_executor Loop::executor() { return impl_->context.get_executor(); }

// --- Event ---

// A waiter is a timer of its own: set() cancels it, and a loop that is torn down frees it with everything it holds.
struct Event::Impl {
    struct Waiter {
        explicit Waiter(Loop& loop) : timer(loop.impl().context) {}
        Timer timer;
        bool woken = false;
    };

    explicit Impl(Loop& on) : loop(on) {}

    void wake_all() {
        for (Waiter* waiter : waiters) {
            waiter->woken = true;
            waiter->timer.cancel();
        }
    }

    Loop& loop;
    bool set = false;
    std::list<Waiter*> waiters;
};

namespace {

// Keeps a waiter in the list for as long as its coroutine lives, even if that is destroyed while it waits.
template <class List, class Waiter>
class Enlisted {
 public:
    Enlisted(List& list, Waiter* waiter) : list_(list), at_(list.insert(list.end(), waiter)) {}
    ~Enlisted() { list_.erase(at_); }
    Enlisted(const Enlisted&) = delete;
    Enlisted& operator=(const Enlisted&) = delete;

 private:
    List& list_;
    typename List::iterator at_;
};

constexpr auto kNever = std::chrono::steady_clock::time_point::max();

}  // namespace

Event::Event(Loop& loop) : impl_(std::make_shared<Impl>(loop)) {}
Event::~Event() { impl_->wake_all(); }  // a waiter that outlives its event goes on rather than hang for ever

void Event::set() {
    impl_->set = true;
    impl_->wake_all();
}

void Event::reset() { impl_->set = false; }
bool Event::is_set() const { return impl_->set; }

Task<void> Event::wait() {
    const std::shared_ptr<Impl> impl = impl_;
    if (impl->set) co_return;
    Impl::Waiter waiter(impl->loop);
    const Enlisted enlisted(impl->waiters, &waiter);
    waiter.timer.expires_at(kNever);
    boost::system::error_code ignored;
    co_await waiter.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

Task<Result<>> Event::wait_for(std::chrono::milliseconds span) {
    const std::shared_ptr<Impl> impl = impl_;
    if (impl->set) co_return Result<>();
    Impl::Waiter waiter(impl->loop);
    const Enlisted enlisted(impl->waiters, &waiter);
    waiter.timer.expires_after(span);
    boost::system::error_code ignored;
    co_await waiter.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (waiter.woken) co_return Result<>();
    co_return Error(Errc::timeout, "nothing happened in time");
}

Task<bool> sleep_for(Loop& loop, std::chrono::milliseconds span, Event* cancel) {
    if (cancel != nullptr) {
        const auto woken = co_await cancel->wait_for(span);
        co_return !woken.has_value();
    }
    Timer timer(loop.impl().context);
    timer.expires_after(span);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    co_return true;
}

// --- TaskGroup ---

struct TaskGroup::Impl {
    explicit Impl(Loop& on) : loop(on), idle(on) { idle.set(); }
    Loop& loop;
    Event idle;
    std::atomic<std::size_t> running = 0;  // read from other threads by size()
    std::atomic<std::size_t> failures = 0;
};

TaskGroup::TaskGroup(Loop& loop) : impl_(std::make_shared<Impl>(loop)) {}
TaskGroup::~TaskGroup() { ASSERT(impl_->running == 0); }

void TaskGroup::spawn(std::string_view name, Task<void> task) {
    ++impl_->running;
    impl_->idle.reset();
    auto ended = [impl = impl_, name = std::string(name)](std::exception_ptr thrown) {
        if (thrown) {
            ++impl->failures;
            try {
                std::rethrow_exception(thrown);
            } catch (const std::exception& e) {
                log::error("net", "task {} ended by an exception: {}", name, e.what());
            } catch (...) {
                log::error("net", "task {} ended by an unknown exception", name);
            }
        }
        if (--impl->running == 0) impl->idle.set();
    };
    asio::co_spawn(impl_->loop.impl().context, std::move(task), std::move(ended));
}

Task<void> TaskGroup::join() {
    const std::shared_ptr<Impl> impl = impl_;
    while (impl->running != 0) co_await impl->idle.wait();
}

std::size_t TaskGroup::size() const { return impl_->running; }
std::size_t TaskGroup::failures() const { return impl_->failures; }
Loop& TaskGroup::loop() { return impl_->loop; }

}  // namespace posthouse::net
