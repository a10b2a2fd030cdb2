#include "relay/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

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
        TRY(out.routes, storage::RouteView(snapshot).picture(storage::day_number(now)));
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

// Recipients of one message at one domain are routed together, once it is known who keeps the mail of the domain.
void Runner::enqueue(Picture picture) {
    routes_ = std::move(picture.routes);
    core_.ways.apply(routes_);
    using Key = std::pair<storage::QueueId, std::string>;
    std::map<Key, Unrouted> mails;
    std::vector<Key> order;
    for (storage::QueueRecipient& recipient : picture.due) {
        if (held_.size() >= core_.deps.options.recipients_in_memory_max) break;
        if (!held_.insert(recipient.id).second) continue;
        const Key key(recipient.queue, recipient.domain);
        Unrouted& mail = mails[key];
        if (mail.recipients.empty()) {
            order.push_back(key);
            mail.item = picture.items.at(recipient.queue);
        }
        mail.recipients.push_back(std::move(recipient));
    }
    if (!held_.empty()) quiet_.reset();
    for (const Key& key : order) {
        Unrouted& mail = mails.at(key);
        const bool asks = std::ranges::any_of(mail.recipients, [&](const auto& recipient) {
            return storage::needs_site(routes_, choice_input(mail.item, recipient, "", "", core_.now()));
        });
        const std::string& domain = key.second;
        auto plan = asks ? plans_.find(domain, core_.now()) : nullptr;
        if (!asks || plan) {
            route(std::move(mail), std::move(plan));
            continue;
        }
        auto& others = unplanned_[domain];
        others.push_back(std::move(mail));
        if (others.size() == 1) tasks_.spawn("relay.plan", this->plan(domain));
    }
}

// Asks for the hosts of a domain; then the mail that waited for it can be routed.
net::Task<void> Runner::plan(std::string domain) {
    const DomainPlanPtr found = co_await find_plan(core_, domain);
    plans_.keep(found, core_.now());
    auto waiting = std::move(unplanned_[domain]);
    unplanned_.erase(domain);
    for (Unrouted& one : waiting) route(std::move(one), found);
    pump();
}

// The recipients of one way are one job; most messages have one way.
void Runner::route(Unrouted mail, DomainPlanPtr plan) {
    const std::string site = plan ? plan->site : std::string();
    const std::string_view provider = plan && plan->provider != nullptr ? plan->provider->name : std::string_view();
    std::map<std::string, std::pair<Target, Unrouted>> ways;
    for (storage::QueueRecipient& recipient : mail.recipients) {
        const storage::ChoiceInput input = choice_input(mail.item, recipient, site, provider, core_.now());
        const storage::Choice choice = storage::choose_way(routes_, input);
        Unrouted one;
        one.item = mail.item;
        one.recipients.push_back(std::move(recipient));
        if (choice.kind != storage::Choice::Kind::take) {
            refuse(choice, std::move(one));
            continue;
        }
        auto target = make_target(choice, one.recipients.front().domain);
        if (!target) {
            // A way that cannot be read is the administrator's to mend; the mail waits and says why.
            Job job;
            job.item = std::move(one.item);
            job.recipients = std::move(one.recipients);
            Verdict verdict(Fate::deferred, "4.3.5", "No way to send this: " + target.error().context);
            tasks_.spawn("relay.put_off", settle(std::move(job), std::move(verdict)));
            continue;
        }
        core_.ways.taken(*target, 1);
        if (target->way.limits.day_max != 0) ++routes_.used_today[target->way.name];
        if (target->probe) {
            core_.ways.claim(*target, site, core_.now() + kProbeClaim);
            core_.ways.apply_claims(routes_);
        }
        const auto [at, is_new] = ways.try_emplace(target->lane_key());
        if (is_new) {
            at->second.first = *std::move(target);
            at->second.second = std::move(one);
        } else {
            at->second.second.recipients.push_back(std::move(one.recipients.front()));
        }
    }
    for (auto& [key, way] : ways) give(std::move(way.first), std::move(way.second), plan);
}

void Runner::give(Target target, Unrouted mail, DomainPlanPtr plan) {
    Job job;
    job.item = std::move(mail.item);
    job.recipients = std::move(mail.recipients);
    if (target.is_mx()) job.plan = std::move(plan);
    job.target = target;
    dispatch(std::move(target), std::move(job));
}

// What the route does not hand to anybody: hold, fail, or wait for one of its ways.
void Runner::refuse(const storage::Choice& choice, Unrouted mail) {
    Job job;
    job.item = std::move(mail.item);
    job.recipients = std::move(mail.recipients);
    if (choice.kind == storage::Choice::Kind::hold) {
        std::string why = fmt::format("{} \"{}\"; posthouse queue release {} lets it go", storage::kHeldByRoute,
                                      choice.route, storage::format_queue_id(job.item.id));
        tasks_.spawn("relay.hold", hold(std::move(job), std::move(why)));
        return;
    }
    const bool fails = choice.kind == storage::Choice::Kind::fail;
    // RFC 3463 3.8: X.7.1 is "delivery not authorised", X.3.2 "not accepting for now".
    Verdict verdict = fails ? Verdict(Fate::failed, "5.7.1",
                                      fmt::format("This server does not send such mail (route \"{}\")", choice.route))
                            : Verdict(Fate::deferred, "4.3.2", why_waiting(choice));
    tasks_.spawn("relay.refused", settle(std::move(job), std::move(verdict)));
}

net::Task<void> Runner::hold(Job job, std::string why) {
    std::vector<storage::RecipientId> ids;
    for (const auto& recipient : job.recipients) ids.push_back(recipient.id);
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [ids, why](storage::Tx& tx) { return tx.queue().hold_recipients(ids, why); };
    const auto held =
        co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
    if (!held) log::error("relay", "a message cannot be held: {}", held.error().context);
    released(job);
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
    core_.ways.released(job.target, job.recipients.size());
    std::erase_if(lanes_, [](const auto& l) { return !l.second->has_jobs() && l.second->workers() == 0; });
    pump();
    if (held_.empty() || more_on_disk_) wake();
}

}  // namespace posthouse::relay
