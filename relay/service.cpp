#include "relay/service.h"

#include <mutex>

#include "relay/runner.h"
#include "relay/tls_upkeep.h"
#include "relay/webhooks.h"

namespace posthouse::relay {

namespace {

// Between the commit thread and the loop: shut when the relay goes, since the store may outlive both.
struct Gate {
    std::mutex mutex;
    net::Loop* loop = nullptr;
    Runner* runner = nullptr;  // lives as long as `loop` stands here
};

}  // namespace

struct Relay::Impl {
    explicit Impl(RelayDeps deps)
        : core(std::move(deps)), runner(core), upkeep(core), webhooks(core), gate(std::make_shared<Gate>()) {
        gate->loop = core.deps.loop;
        gate->runner = &runner;
    }
    Core core;
    Runner runner;
    TlsUpkeep upkeep;
    Webhooks webhooks;
    std::shared_ptr<Gate> gate;
};

Relay::Relay(RelayDeps deps) : impl_(std::make_shared<Impl>(std::move(deps))) {
    const std::weak_ptr<Impl> weak = impl_;
    impl_->core.deps.store->subscribe([weak, gate = impl_->gate](const storage::CommitNotice& notice) {
        if (!notice.queue && !notice.catalog && !notice.external) return;
        const bool catalog = notice.catalog || notice.external;
        const bool due = notice.due || catalog;
        const std::lock_guard lock(gate->mutex);
        if (gate->loop == nullptr) return;
        if (notice.due) gate->runner->committed();
        if (catalog && !notice.due) gate->runner->overtaken();
        gate->loop->post([weak, catalog, due] {
            const auto impl = weak.lock();
            if (!impl) return;
            if (due) impl->runner.wake();
            impl->webhooks.wake(catalog);
        });
    });
}

Relay::~Relay() {
    const std::lock_guard lock(impl_->gate->mutex);
    impl_->gate->loop = nullptr;
}

void Relay::start() {
    RelayOptions& options = impl_->core.deps.options;
    options.give_up_from = impl_->core.now() + options.patience_after_start;
    impl_->upkeep.start();
    impl_->webhooks.start();
    impl_->runner.start();
}
void Relay::stop() {
    impl_->runner.stop();
    // A policy or a report can wait for the next start.
    for (net::Stream* stream : impl_->core.https_open) stream->interrupt();
}
net::Task<void> Relay::join() {
    co_await impl_->runner.join();
    co_await impl_->upkeep.join();
    co_await impl_->webhooks.join();
}
void Relay::wake() {
    impl_->runner.wake();
    impl_->webhooks.wake(true);
}
net::Task<void> Relay::drained() { co_await impl_->runner.drained(); }
net::Task<void> Relay::told() { co_await impl_->webhooks.drained(); }

}  // namespace posthouse::relay
