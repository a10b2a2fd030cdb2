#include "relay/runner.h"

#include <algorithm>

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
    core_.slot_free.set();
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

void Runner::enqueue(Picture picture) {
    std::map<std::pair<storage::QueueId, std::string>, std::pair<Target, Job>> jobs;
    std::vector<std::pair<storage::QueueId, std::string>> order;
    for (storage::QueueRecipient& recipient : picture.due) {
        if (held_.size() >= core_.deps.options.recipients_in_memory_max) break;
        if (!held_.insert(recipient.id).second) continue;
        const storage::QueueItem& item = picture.items.at(recipient.queue);
        auto target = choose_target(picture.routes, item.reverse_path, recipient.domain);
        if (!target) {
            tasks_.spawn("relay.put_off", put_off(item, std::move(recipient), target.error().context));
            continue;
        }
        const auto key = std::pair(recipient.queue, target->lane_key());
        const auto [at, is_new] = jobs.try_emplace(key);
        if (is_new) {
            order.push_back(key);
            at->second.first = *std::move(target);
            at->second.second.item = item;
            at->second.second.number = ++jobs_made_;
        }
        at->second.second.recipients.push_back(std::move(recipient));
    }
    for (const auto& key : order) {
        auto& [target, job] = jobs.at(key);
        auto& lane = lanes_[key.second];
        if (!lane) {
            lane = std::make_shared<Lane>(core_, target, [this](const Job& done) { released(done); });
        }
        lane->add(std::move(job));
    }
    if (!held_.empty()) quiet_.reset();
}

// A route that cannot be read is the administrator's to mend; the mail waits and says why.
net::Task<void> Runner::put_off(storage::QueueItem item, storage::QueueRecipient recipient, std::string why) {
    Settled settled;
    settled.recipient = recipient;
    settled.verdict = Verdict(Fate::deferred, "4.3.5", "No way to send this: " + why);
    std::vector<Settled> all{std::move(settled)};
    const std::vector<storage::RecipientId> ids{recipient.id};
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto begin = [ids](storage::Tx& tx) { return tx.queue().start(ids); };
    const auto started =
        co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(begin));
    if (started && !started->empty()) co_await record_outcome(core_, item, std::move(all), "", nullptr);
    Job done;
    done.recipients.push_back(std::move(recipient));
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
