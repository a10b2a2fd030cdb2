#include "relay/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr std::chrono::milliseconds kLookAtLeastEvery{60'000};
constexpr Milliseconds kKickLives{60'000};
constexpr std::size_t kPlanningMax = 2'000;  // domains being looked up before more mail is taken from the disk
constexpr std::size_t kSettlersMax = 16;
constexpr std::size_t kRoutedAtOnce = 64;
constexpr std::size_t kUnroutedMax = 10'000;  // recipients of these, likewise; of new mail twice as many

// Who takes turns with whom: the account or client that submitted it, else the sender's address.
std::string flow_of(const storage::QueueItem& item) {
    if (item.account) return fmt::format("a{}", storage::raw(*item.account));
    if (!item.client.empty()) return "c" + item.client;
    return item.reverse_path;
}

Parcel parcel_of(const storage::QueueItem& item, storage::RecipientId id) {
    Parcel out;
    LaneEntry entry;
    entry.recipient = id;
    entry.queue = item.id;
    out.entries.push_back(entry);
    return out;
}

// The key of a lane holds sealed passwords: only a fingerprint of it goes into the store (FNV-1a).
std::string fingerprint(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return fmt::format("{:016x}", hash);
}

}  // namespace

Runner::Runner(Core& core)
    : core_(core), tasks_(*core.deps.loop), wake_(*core.deps.loop), quiet_(*core.deps.loop), feed_(core) {}

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
        ring_alarms();
        pump();
        if (core_.now() >= upkeep_at_) co_await upkeep();
        if (core_.now() >= watch_at_ || core_.incidents.recheck) co_await watch();
        if (is_quiet() && !wake_.is_set()) quiet_.set();
        // Many commits in a row are one look at the queue.
        static_cast<void>(
            co_await net::sleep_for(*core_.deps.loop, core_.deps.options.refill_interval, &core_.stopping));
        co_await wait_for_work();
    }
    while (writing_down_) static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(5), nullptr));
    co_await upkeep();
    co_await core_.reputation.step(core_);
    quiet_.set();
}

// What a crash left between the start of an attempt and its outcome waits again; what lanes learned is taken up.
net::Task<void> Runner::recover() {
    for (;;) {
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto recover = [](storage::Tx& tx) -> Result<std::pair<std::uint64_t, std::vector<storage::LaneRecord>>> {
            TRY(const std::uint64_t count, tx.queue().recover());
            TRY(auto lanes, tx.queue().lanes());
            return std::pair(count, std::move(lanes));
        };
        auto found =
            co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(recover));
        if (found && found->first > 0)
            log::info("relay", "{} deliveries were under way at the last stop and are tried again", found->first);
        if (found) {
            for (storage::LaneRecord& lane : found->second) {
                const std::string key = lane.key;
                learned_.insert_or_assign(key, std::move(lane));
            }
        }
        if (found || core_.stopping.is_set()) co_return;
        log::error("relay", "the queue cannot be taken up: {}", found.error().context);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
    }
}

net::Task<void> Runner::wait_for_work() {
    if (!feed_.is_exhausted() && !is_full()) co_return;
    const Time now = core_.now();
    Time next = now + kLookAtLeastEvery;
    if (feed_.next_due()) next = std::min(next, *feed_.next_due());
    if (!alarms_.empty()) next = std::min(next, alarms_.begin()->first);
    if (!lanes_.empty()) next = std::min(next, upkeep_at_);
    next = std::min(next, watch_at_);
    if (starved_) next = std::min(next, core_.places.next().value_or(next));
    const auto span = std::clamp<Milliseconds>(next - now, Milliseconds(1), kLookAtLeastEvery);
    if (!is_full() && !wake_.is_set()) feed_.expect();
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

bool Runner::is_full() const {
    return held_.size() >= core_.deps.options.recipients_in_memory_max || unplanned_.size() >= kPlanningMax ||
           unrouted_ >= kUnroutedMax || settling_.size() >= kUnroutedMax;
}

net::Task<void> Runner::refill() {
    const bool full = is_full();
    const std::function<bool(storage::RecipientId)> held = [this](storage::RecipientId id) {
        return held_.contains(id);
    };
    auto slice = co_await feed_.next(held, full);
    if (!slice) {
        log::error("relay", "the queue cannot be read: {}", slice.error().context);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
        wake_.set();
        co_return;
    }
    if (!slice->kicked.empty()) kick(slice->kicked);
    co_await arrive(*std::move(slice));
}

// Recipients of one message at one domain are routed together, once it is known who keeps the mail of the domain.
net::Task<void> Runner::arrive(Feed::Slice slice) {
    if (slice.recipients.empty()) co_return;
    quiet_.reset();
    routes_ = std::move(slice.routes);
    core_.lane_limits = routes_.lane_limits;
    core_.ways.apply(routes_, core_.now());
    core_.incidents.apply(routes_.incidents);
    core_.reputation.apply(routes_, core_.now());
    std::map<std::pair<storage::QueueId, std::string>, Unrouted> mails;
    std::map<storage::QueueId, Parcel> suppressed;
    for (storage::QueueRecipient& recipient : slice.recipients) {
        if (!held_.insert(recipient.id).second) continue;
        if (slice.suppressed.contains(recipient.id)) {
            const Parcel one = parcel_of(slice.items.at(recipient.queue), recipient.id);
            suppressed[recipient.queue].entries.push_back(one.entries.front());
            continue;
        }
        Unrouted& mail = mails[std::pair(recipient.queue, recipient.domain)];
        if (mail.recipients.empty()) mail.item = slice.items.at(recipient.queue);
        mail.recipients.push_back(std::move(recipient));
    }
    for (auto& [queue, parcel] : suppressed) {
        Unsent unsent(verdict_of(slice.suppressed.at(parcel.entries.front().recipient)));
        for (const LaneEntry& entry : parcel.entries) {
            unsent.suppressed.emplace(entry.recipient, slice.suppressed.at(entry.recipient));
        }
        settle(std::move(parcel), Target(), std::make_shared<const Unsent>(std::move(unsent)));
    }
    std::vector<std::string> unknown;  // domains to ask the DNS for
    storage::QueueId last{};
    std::size_t routed = 0;
    for (auto& [key, mail] : mails) {
        const std::string& domain = key.second;
        // All of a message are in their places before anybody moves: they go in one transaction. Between messages
        // others get a word in.
        if (std::exchange(last, key.first) != key.first && ++routed % kRoutedAtOnce == 0) {
            tell_touched();
            static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(0), nullptr));
        }
        const bool asks = std::ranges::any_of(mail.recipients, [&](const auto& recipient) {
            return storage::needs_site(routes_, choice_input(mail.item, recipient, "", "", core_.now()));
        });
        const auto known = asks ? plan_for(domain, key.first) : nullptr;
        const bool refused = known && known->refusal;
        const std::size_t before = refused ? settling_.size() : known || !asks ? 0 : unrouted_;
        if (before >= 2 * kUnroutedMax) {
            for (const storage::QueueRecipient& recipient : mail.recipients) held_.erase(recipient.id);
            passed_over_ = true;
            continue;
        }
        if (!asks || known) {
            route(mail, known.get());
            continue;
        }
        auto& others = unplanned_[domain];
        unrouted_ += mail.recipients.size();
        others.push_back(std::move(mail));
        if (others.size() == 1) unknown.push_back(domain);
    }
    for (const std::string& domain : unknown) tasks_.spawn("relay.plan", plan(domain));
    tell_touched();
    core_.unrouted.set(static_cast<std::int64_t>(unrouted_));
    if (!held_.empty()) quiet_.reset();
}

// Asks for the hosts of a domain; then the mail that waited for it can be routed.
net::Task<void> Runner::plan(std::string domain) {
    const DomainPlanPtr found = co_await find_plan(core_, domain);
    plans_.keep(found, core_.now());
    auto waiting = std::move(unplanned_[domain]);
    unplanned_.erase(domain);
    ++side_jobs_;
    co_await route_all(std::move(waiting), found);
    --side_jobs_;
    look_again();
    if (is_quiet() || !feed_.is_exhausted()) wake();
}

// There is room again for what was passed over.
void Runner::look_again() {
    if (!passed_over_ || unrouted_ >= kUnroutedMax || settling_.size() >= kUnroutedMax) return;
    passed_over_ = false;
    feed_.rescan();
    wake();
}

// Thousands may have waited: others get a word in between.
net::Task<void> Runner::route_all(std::vector<Unrouted> all, DomainPlanPtr plan) {
    std::size_t routed = 0;
    for (const Unrouted& one : all) {
        unrouted_ -= one.recipients.size();
        route(one, plan.get());
        if (++routed % kRoutedAtOnce != 0) continue;
        tell_touched();
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(0), nullptr));
    }
    tell_touched();
    core_.unrouted.set(static_cast<std::int64_t>(unrouted_));
}

namespace {

// The DNS did not answer; it may later.
bool is_put_off(const DomainPlan* plan) {
    return plan != nullptr && plan->refusal && plan->refusal->fate == Fate::deferred;
}

std::shared_ptr<const Unsent> unsure_route(Verdict why) {
    why.reply.insert(0, "Its route hangs on who keeps the recipient's mail, and that is not known now: ");
    return std::make_shared<const Unsent>(std::move(why));
}

}  // namespace

void Runner::route(const Unrouted& mail, const DomainPlan* plan) {
    const std::string site = plan != nullptr ? plan->site : std::string();
    const std::string_view provider =
        plan != nullptr && plan->provider != nullptr ? plan->provider->name : std::string_view();
    const bool asked = takes_kick(mail.item.id, mail.recipients.front().domain);
    Parcel refused;  // recipients of one message next to each other are one attempt and one report
    std::map<storage::IncidentId, std::pair<storage::Incident, std::vector<storage::RecipientId>>> stopped;
    Target refused_target;
    Parcel unsure;  // whose route hangs on what the DNS does not say now: another route is not theirs
    std::vector<std::shared_ptr<Lane>> kicked;  // once all are in their places
    for (const storage::QueueRecipient& recipient : mail.recipients) {
        storage::ChoiceInput input = choice_input(mail.item, recipient, site, provider, core_.now());
        input.asked = asked;
        if (is_put_off(plan) && storage::asks_for_provider(routes_.routes, input.mail)) {
            const Parcel one = parcel_of(mail.item, recipient.id);
            unsure.entries.push_back(one.entries.front());
            continue;
        }
        if (const auto* const probing = core_.ways.probing(recipient.id, core_.now())) {
            input.probing_way = probing->first;
            input.probing_source = probing->second;
        }
        const storage::Choice choice = storage::choose_way(routes_, input);
        if (choice.kind == storage::Choice::Kind::incident) {
            auto& [incident, ids] = stopped[choice.incident->id];
            incident = *choice.incident;
            ids.push_back(recipient.id);
            continue;
        }
        if (choice.kind != storage::Choice::Kind::take) {
            refuse(choice, mail.item, recipient.id);
            continue;
        }
        auto target = make_target(choice, recipient.domain);
        if (!target) {
            // A way that cannot be read is the administrator's to mend; the mail waits and says why.
            Unsent unsent(Verdict(Fate::deferred, "4.3.5", "No way to send this: " + target.error().context));
            unsent.cause = storage::WaitCause::route;
            settle(parcel_of(mail.item, recipient.id), Target(), std::make_shared<const Unsent>(std::move(unsent)));
            continue;
        }
        if (target->is_mx()) target->provider = storage::provider_key(provider);
        core_.ways.taken(*target, 1);
        core_.reputation.taken(*target, routes_, core_.now());
        if (target->way.limits.day_max != 0) ++routes_.used_today[target->way.name];
        if (target->probe) {
            core_.ways.claim(*target, site, core_.now() + kProbeClaim);
            core_.ways.apply_claims(routes_);
        }
        if (target->is_mx() && plan != nullptr && plan->refusal) {
            const Parcel one = parcel_of(mail.item, recipient.id);
            refused.entries.push_back(one.entries.front());
            refused_target = *target;
            continue;
        }
        const auto& lane = enter(*target, mail.item, recipient, target->is_mx() ? plan : nullptr);
        if (asked && (kicked.empty() || kicked.back() != lane)) kicked.push_back(lane);
    }
    for (const auto& lane : kicked) lane->kick();
    if (!refused.entries.empty())
        settle(std::move(refused), refused_target, std::make_shared<const Unsent>(*plan->refusal));
    if (!unsure.entries.empty()) settle(std::move(unsure), Target(), unsure_route(*plan->refusal));
    for (auto& [id, found] : stopped) {
        ++side_jobs_;
        tasks_.spawn("relay.stopped", hold_under(std::move(found.first), std::move(found.second)));
    }
}

// What the route does not hand to anybody: hold, fail, or wait for one of its ways.
void Runner::refuse(const storage::Choice& choice, const storage::QueueItem& item, storage::RecipientId id) {
    if (choice.kind == storage::Choice::Kind::hold) {
        std::string why = fmt::format("{} \"{}\"; posthouse queue release {} lets it go", storage::kHeldByRoute,
                                      choice.route, storage::format_queue_id(item.id));
        ++side_jobs_;
        tasks_.spawn("relay.hold", hold(id, std::move(why)));
        return;
    }
    const bool fails = choice.kind == storage::Choice::Kind::fail;
    // RFC 3463 3.8: X.7.1 is "delivery not authorised", X.3.2 "not accepting for now".
    Unsent unsent(fails ? Verdict(Fate::failed, "5.7.1", why_failed(choice))
                        : Verdict(Fate::deferred, "4.3.2", why_waiting(choice)));
    unsent.cause = !fails && choice.is_temporary ? storage::WaitCause::source : storage::WaitCause::route;
    if (!fails) unsent.until = choice.until;
    settle(parcel_of(item, id), Target(), std::make_shared<const Unsent>(std::move(unsent)));
}

net::Task<void> Runner::hold_under(storage::Incident incident, std::vector<storage::RecipientId> ids) {
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [ids, incident](storage::Tx& tx) { return storage::IncidentTx(tx).hold(ids, incident); };
    const auto held =
        co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
    if (!held) log::error("relay", "mail cannot be held: {}", held.error().context);
    if (held && *held) core_.incidents.held.add(static_cast<std::int64_t>(ids.size()));
    if (held && !*held) feed_.rescan();
    --side_jobs_;
    released(ids);
    if (is_quiet()) wake();
}

net::Task<void> Runner::hold(storage::RecipientId id, std::string why) {
    const std::vector<storage::RecipientId> ids{id};
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [ids, why](storage::Tx& tx) { return tx.queue().hold_recipients(ids, why); };
    const auto held =
        co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
    if (!held) log::error("relay", "a message cannot be held: {}", held.error().context);
    --side_jobs_;
    released(ids);
    if (is_quiet()) wake();
}

// For a parcel that waited longer than its plan was kept.
net::Task<DomainPlanPtr> Runner::plan_of(std::uint32_t domain) {
    const std::string name = domains_.name(domain);
    auto known = plans_.find(name, core_.now());
    if (known) co_return known;
    auto found = co_await find_plan(core_, name);
    plans_.keep(found, core_.now());
    co_return found;
}

std::shared_ptr<Lane>& Runner::lane_for(const Target& target, const DomainPlan* plan) {
    std::string key = target.lane_key();
    if (plan != nullptr) key += ":" + plan->site;
    auto& lane = lanes_[key];
    if (lane) return lane;
    LaneIdentity identity;
    identity.target = target;
    if (plan == nullptr) {
        identity.name = target.url.host;
    } else if (plan->provider != nullptr) {
        identity.name = plan->provider->name;
    } else {
        const MxHost& first = plan->mx.hosts.front();
        identity.name = first.name.empty() ? plan->domain : first.name;
    }
    identity.key = fingerprint(key);
    lane = std::make_shared<Lane>(core_, std::move(identity), *this);
    if (const auto known = learned_.find(lane->identity().key); known != learned_.end()) {
        lane->recall(known->second, core_.now());
    }
    return lane;
}

std::shared_ptr<Lane>& Runner::enter(const Target& target, const storage::QueueItem& item,
                                     const storage::QueueRecipient& recipient, const DomainPlan* plan) {
    LaneEntry entry;
    entry.recipient = recipient.id;
    entry.queue = item.id;
    entry.cost = recipient_cost(item.size_octets);
    entry.is_alone = !item.stream.empty();
    entry.check_at_s = check_time(core_.deps.options, item, recipient.delay_told);
    if (plan != nullptr) entry.domain = domains_.number_of(plan->domain);
    auto& lane = lane_for(target, plan);
    lane->add(static_cast<storage::QueueClass>(item.mail_class), flow_of(item), entry, target);
    if (touched_.empty() || touched_.back() != lane) touched_.push_back(lane);
    return lane;
}

// Workers come when all entries of a slice are in their lanes.
void Runner::tell_touched() {
    for (const auto& lane : std::exchange(touched_, {})) changed(lane);
}

void Runner::settle(Parcel parcel, const Target& target, std::shared_ptr<const Unsent> unsent) {
    ++side_jobs_;
    settling_.push_back(Settling(std::move(parcel), target.way.name, std::move(unsent)));
    if (settlers_ >= kSettlersMax) return;
    ++settlers_;
    tasks_.spawn("relay.refused", settle_some());
}

net::Task<void> Runner::settle_some() {
    while (!settling_.empty()) {
        const Settling one = std::move(settling_.front());
        settling_.pop_front();
        if (!core_.stopping.is_set()) co_await settle_one(one.parcel, *one.unsent);
        --side_jobs_;
        std::vector<storage::RecipientId> ids;
        for (const LaneEntry& entry : one.parcel.entries) ids.push_back(entry.recipient);
        Target target;
        target.way.name = one.way;
        core_.ways.released(target, ids.size());
        released(ids);
        look_again();
    }
    --settlers_;
    if (is_quiet()) wake();
}

net::Task<void> Runner::settle_one(const Parcel& parcel, const Unsent& unsent) {
    if (!co_await settle_unsent(core_, parcel, unsent)) feed_.rescan();
}

void Runner::reroute(const std::vector<storage::RecipientId>& ids) {
    released(ids);
    feed_.rescan();
    wake_.set();
}

// `queue retry`: the lanes in which these wait, or which they enter now, try at once; they themselves are routed anew,
// since what they waited for may have been mended (another password, another way).
void Runner::kick(std::vector<storage::QueueId> queues) {
    std::ranges::sort(queues);
    const Time now = core_.now();
    std::erase_if(kicks_, [&](const auto& kick) { return kick.second.until <= now; });
    for (const storage::QueueId queue : queues) kicks_[queue] = Kick{now + kKickLives, {}};
    const std::vector<std::pair<std::string, std::shared_ptr<Lane>>> all(lanes_.begin(), lanes_.end());
    for (const auto& [key, lane] : all) {
        if (!lane->holds(queues)) continue;
        lane->give_up(queues);
        lane->kick();
    }
}

// Once for each domain of the message: a way that is refused again is not asked in circles.
bool Runner::takes_kick(storage::QueueId queue, const std::string& domain) {
    return has_kick(queue, domain) && kicks_.at(queue).done.insert(domain).second;
}

bool Runner::has_kick(storage::QueueId queue, const std::string& domain) const {
    const auto kick = kicks_.find(queue);
    return kick != kicks_.end() && kick->second.until > core_.now() && !kick->second.done.contains(domain);
}

// What is known of the domain. That it refused a moment ago is no answer to who asks to try now.
DomainPlanPtr Runner::plan_for(const std::string& domain, storage::QueueId queue) {
    auto known = plans_.find(domain, core_.now());
    return known && known->refusal && has_kick(queue, domain) ? nullptr : known;
}

// A lane that may want a worker stands in the line once; one that must wait is looked at again when its time comes.
void Runner::changed(const std::shared_ptr<Lane>& lane) {
    const Time now = core_.now();
    if (lane->wants_worker(now)) stand_in_line(lane);
    const auto alarm = lane->alarm(now);
    if (alarm && (!lane->alarm_set || *alarm < *lane->alarm_set || *lane->alarm_set <= now)) {
        lane->alarm_set = alarm;
        alarms_.emplace(*alarm, lane);
        wake_.set();  // the runner may sleep longer than that
    }
    if (lane->stands_in != Lane::Line::none) pump();
    if (is_quiet()) wake_.set();
}

void Runner::ring_alarms() {
    const Time now = core_.now();
    if (core_.places.age(now)) pump();
    while (!alarms_.empty() && alarms_.begin()->first <= now) {
        const auto lane = alarms_.begin()->second.lock();
        alarms_.erase(alarms_.begin());
        if (!lane) continue;
        if (lane->alarm_set && *lane->alarm_set <= now) lane->alarm_set.reset();
        changed(lane);
    }
}

// One that gets letters while it stands in the back line leaves a mark there that no longer counts.
void Runner::stand_in_line(const std::shared_ptr<Lane>& lane) {
    const Lane::Line line = lane->has_letters() ? Lane::Line::front : Lane::Line::back;
    if (lane->stands_in >= line) return;
    lane->stands_in = line;
    (line == Lane::Line::front ? ready_letters_ : ready_).push_back(lane);
}

std::shared_ptr<Lane> Runner::next_in_line(Time now) {
    for (const Lane::Line line : {Lane::Line::front, Lane::Line::back}) {
        const bool letters = line == Lane::Line::front;
        auto& lanes = letters ? ready_letters_ : ready_;
        while (!lanes.empty() && core_.places.has_room(letters)) {
            auto lane = lanes.front().lock();
            lanes.pop_front();
            if (!lane || lane->stands_in != line) continue;
            lane->stands_in = Lane::Line::none;
            if (lane->wants_worker(now)) return lane;
        }
    }
    return nullptr;
}

bool Runner::wants_place(const Lane& lane, Time since) const {
    if (!ready_letters_.empty() && !lane.has_letters()) return true;
    return starved_ && core_.places.turn_is_over(since, core_.now());
}

// Gives workers to lanes in turn.
void Runner::pump() {
    if (core_.stopping.is_set()) return;
    const Time now = core_.now();
    // Chosen first, spawned after: a worker may begin to run, and change the line, at once.
    std::vector<std::shared_ptr<Lane>> chosen;
    while (auto lane = next_in_line(now)) {
        lane->worker_comes();
        core_.places.come();
        if (lane->wants_worker(now)) stand_in_line(lane);
        chosen.push_back(std::move(lane));
    }
    const bool was_starved = std::exchange(starved_, !ready_.empty() || !ready_letters_.empty());
    if (starved_ && !was_starved) {
        release_idle();
        wake_.set();  // who is slow is noticed by the runner
    }
    for (auto& lane : chosen) tasks_.spawn("relay.lane", Lane::work(std::move(lane)));
}

void Runner::release_idle() {
    for (auto& [key, lane] : lanes_) lane->release_idle();
}

void Runner::released(const std::vector<storage::RecipientId>& ids) {
    for (const storage::RecipientId id : ids) held_.erase(id);
    if (!feed_.is_exhausted()) wake_.set();
}

bool Runner::is_quiet() const {
    if (!feed_.is_exhausted() || !unplanned_.empty() || side_jobs_ > 0 || starved_) return false;
    return core_.places.workers() == core_.idle;
}

}  // namespace posthouse::relay
