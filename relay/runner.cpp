#include "relay/runner.h"

#include <algorithm>
#include <tuple>

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr std::chrono::milliseconds kLookAtLeastEvery{60'000};

}  // namespace

Runner::Runner(Core& core) : core_(core), tasks_(*core.deps.loop), wake_(*core.deps.loop), quiet_(*core.deps.loop) {}

void Runner::start() { tasks_.spawn("relay.runner", run()); }

void Runner::stop() {
    if (core_.stopping.is_set()) return;
    core_.stopping.set();
    wake_.set();
    for (auto& [key, lane] : lanes_) lane->release_idle();
    if (tasks_.size() > 0) tasks_.spawn("relay.cut", cut_when_late());
}

net::Task<void> Runner::join() { co_await tasks_.join(); }

void Runner::wake() {
    quiet_.reset();
    wake_.set();
}

net::Task<void> Runner::drained() { co_await quiet_.wait(); }

net::Task<void> Runner::run() {
    co_await recover();
    while (!core_.stopping.is_set()) {
        wake_.reset();
        co_await refill();
        pump();
        const bool idle = held_.empty() && !more_on_disk_ && !wake_.is_set();
        if (idle) quiet_.set();
        // Many commits in a row are one look at the queue.
        static_cast<void>(
            co_await net::sleep_for(*core_.deps.loop, core_.deps.options.refill_interval, &core_.stopping));
        co_await wait_for_work();
    }
    quiet_.set();
}

// What a crash left between the start of an attempt and its outcome waits again.
net::Task<void> Runner::recover() {
    for (;;) {
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto recover = [](storage::Tx& tx) { return tx.queue().recover(); };
        const auto count =
            co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(recover));
        if (count && *count > 0)
            log::info("relay", "{} deliveries were under way at the last stop and are tried again", *count);
        if (count || core_.stopping.is_set()) co_return;
        log::error("relay", "the queue cannot be taken up: {}", count.error().context);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
    }
}

net::Task<void> Runner::wait_for_work() {
    auto span = kLookAtLeastEvery;
    if (next_due_) span = std::clamp<Milliseconds>(*next_due_ - core_.now(), Milliseconds(10), kLookAtLeastEvery);
    const auto woken = co_await wake_.wait_for(span);
    if (!woken) co_return;  // time has come
}

// After the patience is over, reads are interrupted: those messages are put off, the connections say goodbye.
net::Task<void> Runner::cut_when_late() {
    const auto until = std::chrono::steady_clock::now() + core_.deps.options.stop_patience;
    while (tasks_.size() > 1 && std::chrono::steady_clock::now() < until) {
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(20), nullptr));
    }
    for (Client* client : core_.open) client->interrupt();
}

net::Task<Result<Runner::Picture>> Runner::look() {
    auto read = [now = core_.now(), most = core_.deps.options.recipients_in_memory_max](
                    const storage::Snapshot& snapshot) -> Result<Picture> {
        Picture out;
        TRY(out.due, snapshot.queue().due(now, most));
        TRY(out.next_due, snapshot.queue().next_due());
        TRY(out.routes, snapshot.catalog().routes());
        for (const storage::QueueRecipient& recipient : out.due) {
            if (out.items.contains(recipient.queue)) continue;
            TRY(storage::QueueItem item, snapshot.queue().item(recipient.queue));
            out.items.emplace(recipient.queue, std::move(item));
        }
        return out;
    };
    co_return co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
}

net::Task<void> Runner::refill() {
    // With half of it still to do there is no use in asking for more.
    if (more_on_disk_ && held_.size() * 2 > core_.deps.options.recipients_in_memory_max) co_return;
    auto picture = co_await look();
    if (!picture) {
        log::error("relay", "the queue cannot be read: {}", picture.error().context);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
        wake_.set();
        co_return;
    }
    more_on_disk_ = picture->due.size() >= core_.deps.options.recipients_in_memory_max;
    // The next due time counts only where it lies ahead: what is due now is in hand already.
    next_due_ = picture->next_due && *picture->next_due > core_.now() ? picture->next_due : std::nullopt;
    enqueue(*std::move(picture));
}

// Jobs are recipients of one message by one way; by MX of one domain too.
void Runner::enqueue(Picture picture) {
    using Key = std::tuple<storage::QueueId, std::string, std::string>;
    std::map<Key, Waiting> jobs;
    std::vector<Key> order;
    for (storage::QueueRecipient& recipient : picture.due) {
        if (held_.size() >= core_.deps.options.recipients_in_memory_max) break;
        if (!held_.insert(recipient.id).second) continue;
        const storage::QueueItem& item = picture.items.at(recipient.queue);
        auto target = choose_target(picture.routes, item.reverse_path, recipient.domain);
        if (!target) {
            // A route that cannot be read is the administrator's to mend; the mail waits and says why.
            Verdict verdict(Fate::deferred, "4.3.5", "No way to send this: " + target.error().context);
            Job job;
            job.item = item;
            job.recipients.push_back(std::move(recipient));
            tasks_.spawn("relay.put_off", settle(std::move(job), std::move(verdict)));
            continue;
        }
        const Key key(recipient.queue, target->lane_key(), target->domain);
        const auto [at, is_new] = jobs.try_emplace(key);
        if (is_new) {
            order.push_back(key);
            at->second.target = *std::move(target);
            at->second.job.item = item;
        }
        at->second.job.recipients.push_back(std::move(recipient));
    }
    if (!held_.empty()) quiet_.reset();
    for (const Key& key : order) {
        Waiting& waiting = jobs.at(key);
        const std::string domain = waiting.target.domain;
        if (!waiting.target.is_mx()) {
            dispatch(std::move(waiting.target), std::move(waiting.job));
        } else if (auto plan = plans_.find(domain, core_.now())) {
            waiting.job.plan = std::move(plan);
            dispatch(std::move(waiting.target), std::move(waiting.job));
        } else {
            auto& others = unplanned_[domain];
            others.push_back(std::move(waiting));
            if (others.size() == 1) tasks_.spawn("relay.plan", this->plan(domain));
        }
    }
}

// Asks for the hosts of a domain; then the jobs that waited for it know their lane.
net::Task<void> Runner::plan(std::string domain) {
    const DomainPlanPtr found = co_await find_plan(core_, domain);
    plans_.keep(found, core_.now());
    auto waiting = std::move(unplanned_[domain]);
    unplanned_.erase(domain);
    for (Waiting& one : waiting) {
        one.job.plan = found;
        dispatch(std::move(one.target), std::move(one.job));
    }
    pump();
}

void Runner::dispatch(Target target, Job job) {
    job.number = ++jobs_made_;
    if (job.plan && job.plan->refusal) {
        Verdict verdict = *job.plan->refusal;
        tasks_.spawn("relay.refused", settle(std::move(job), std::move(verdict)));
        return;
    }
    std::string key = target.lane_key();
    if (job.plan) key += ":" + job.plan->site;
    auto& lane = lanes_[key];
    if (!lane) lane = std::make_shared<Lane>(core_, target, [this](const Job& done) { released(done); });
    lane->add(std::move(job));
}

net::Task<void> Runner::settle(Job job, Verdict verdict) {
    const Job done = job;
    if (!core_.stopping.is_set()) co_await settle_unsent(core_, std::move(job), std::move(verdict));
    released(done);
}

// Gives workers to lanes, beginning behind the lane that got the last one.
void Runner::pump() {
    if (core_.stopping.is_set()) return;
    std::size_t working = 0;
    for (const auto& [key, lane] : lanes_) working += lane->workers();
    const std::size_t most = core_.deps.options.connections_max;
    // Chosen first, spawned after: a worker may begin to run, and change the lanes, at once.
    std::vector<std::shared_ptr<Lane>> chosen;
    bool progress = true;
    while (progress && working < most) {
        progress = false;
        auto at = lanes_.upper_bound(last_lane_);
        for (std::size_t i = 0; i < lanes_.size() && working < most; ++i, ++at) {
            if (at == lanes_.end()) at = lanes_.begin();
            if (!at->second->wants_worker()) continue;
            at->second->worker_comes();
            chosen.push_back(at->second);
            last_lane_ = at->first;
            ++working;
            progress = true;
        }
    }
    const bool starved =
        std::ranges::any_of(lanes_, [](const auto& l) { return l.second->has_jobs() && l.second->workers() == 0; });
    if (starved) {
        for (auto& [key, lane] : lanes_) lane->release_idle();
    }
    for (auto& lane : chosen) tasks_.spawn("relay.lane", Lane::work(std::move(lane)));
}

void Runner::released(const Job& job) {
    for (const auto& recipient : job.recipients) held_.erase(recipient.id);
    std::erase_if(lanes_, [](const auto& l) { return !l.second->has_jobs() && l.second->workers() == 0; });
    pump();
    if (held_.empty() || more_on_disk_) wake();
}

}  // namespace posthouse::relay
