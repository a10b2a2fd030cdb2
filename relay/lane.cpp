#include "relay/lane.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "relay/family.h"
#include "relay/lane_worker.h"
#include "relay/reverse_path.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

std::uint32_t to_seconds(Time t) {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(to_unix_ms(t) / 1000, 0, UINT32_MAX));
}

constexpr double kSlowRate = 1.0 / 30;  // transactions a second from the last address, where it is drained

Shaping shaping_of(const Core& core, const LaneIdentity& identity) {
    const RelayOptions& options = core.deps.options;
    const std::size_t allowed = identity.target.way.limits.connections_max;
    const std::size_t usual = options.connections_per_lane_max;
    Shaping out = shaping_for(identity.name, allowed == 0 ? usual : std::min(allowed, usual),
                              options.messages_per_connection_max,
                              storage::find_lane_limit(core.lane_limits, identity.name));
    if (allowed != 0) out.window_max = std::min(out.window_max, allowed);
    out.window_start = std::min(out.window_start, out.window_max);
    if (!identity.target.slow) return out;
    out.window_start = out.window_max = 1;
    out.rate_max = kSlowRate;
    return out;
}

constexpr Milliseconds kMarkAfter{1'000};  // who waits shorter needs no reason in the store

}  // namespace

std::uint32_t check_time(const RelayOptions& options, const storage::QueueItem& item, bool delay_told) {
    const Time end = expiry(options, item);
    return to_seconds(delay_told ? end : std::min(end, item.created + options.delay_notice_after));
}

Lane::Lane(Core& core, LaneIdentity identity, LaneHost& host)
    : core_(core),
      identity_(std::move(identity)),
      host_(host),
      schedule_(shaping_of(core, identity_), core.now()),
      more_(*core.deps.loop) {}

void Lane::add(storage::QueueClass priority, const std::string& flow, const LaneEntry& entry, const Target& target) {
    identity_.target.way = target.way;
    LaneEntry entered = entry;
    entered.target = number_of(target) & 0x3fffU;
    entered.entered_s = to_seconds(core_.now());
    schedule_.add(priority, flow, entered);
    more_.set();
}

// Few: what differs is the route, whether it names other ways, and whether this mail is a probe.
std::uint16_t Lane::number_of(const Target& target) {
    constexpr std::size_t kMost = 0x3fff;
    const auto same = [&](const Target& one) {
        return one.route == target.route && one.has_other == target.has_other && one.has_end == target.has_end &&
               one.probe == target.probe;
    };
    const auto found = std::ranges::find_if(targets_, same);
    if (found != targets_.end()) {
        *found = target;  // the way may have been given other headers or limits
        return static_cast<std::uint16_t>(found - targets_.begin());
    }
    if (targets_.size() > kMost) return 0;
    targets_.push_back(target);
    return static_cast<std::uint16_t>(targets_.size() - 1);
}

bool Lane::wants_worker(Time now) const {
    const std::size_t waiting = schedule_.queue().size();
    if (waiting <= idle_ + starting_ || earliest(now) > now) return false;
    return workers_that_count() < schedule_.connections_wanted(now);
}

// What the site bears, and what the way lets go in a minute.
Time Lane::earliest(Time now) const {
    return std::max(schedule_.earliest(now), core_.ways.turn(identity_.target.way, now));
}

// Who has been under way since before the lane was closed may hang for minutes. The probe, and what follows when it
// found somebody, does not wait for that.
std::size_t Lane::workers_that_count() const {
    const std::uint64_t round = schedule_.controller().closings();
    const auto hangs = [&](const Worker* worker) { return worker->round != round; };
    return workers_ - static_cast<std::size_t>(std::ranges::count_if(at_work_, hangs));
}

std::optional<Time> Lane::alarm(Time now) const {
    const Time next = earliest(now);
    if (schedule_.queue().empty() || next <= now) return std::nullopt;
    return next;
}

bool Lane::holds(std::span<const storage::QueueId> queues) {
    bool found = false;
    schedule_.queue().for_each([&](const LaneEntry& entry) {
        found = std::ranges::binary_search(queues, entry.queue);
        return !found;
    });
    return found;
}

void Lane::reshape() {
    const Shaping wanted = shaping_of(core_, identity_);
    if (wanted == schedule_.shaping()) return;
    log::info("relay", "lane {}: other bounds, at most {} connections", identity_.name, wanted.window_max);
    schedule_.reshape(wanted);
    more_.set();
    host_.changed(shared_from_this());
}

void Lane::kick() {
    schedule_.controller().kick(core_.now());
    more_.set();
    host_.changed(shared_from_this());
}

bool Lane::is_over(Time now) const {
    return workers_ == 0 && schedule_.queue().empty() && schedule_.busy() == 0 && schedule_.earliest(now) <= now;
}

void Lane::release_idle() {
    if (idle_ == 0) return;
    ++release_round_;
    more_.set();
}

net::Task<void> Lane::work(std::shared_ptr<Lane> self) {
    Worker worker;
    worker.since = self->core_.now();
    --self->starting_;
    for (;;) {
        const auto parcel = co_await self->take(worker);
        if (!parcel) break;
        worker.round = self->schedule_.controller().closings();
        self->at_work_.push_back(&worker);
        const auto place = self->core_.places.begin(self->core_.now());
        co_await self->carry(worker, *parcel);
        self->core_.places.end(place);
        worker.has_carried = true;
        std::erase(self->at_work_, &worker);
        self->schedule_.done();
        self->host_.changed(self);
    }
    co_await self->close(worker);
    co_await self->wait_recorded(worker);
    --self->workers_;
    self->core_.places.go();
    self->host_.changed(self);
}

// What a way lets go in a minute is given out by the second: a job of many holds up a single letter for no longer.
std::size_t Lane::recipients_at_once() const {
    const storage::WayLimits& limits = identity_.target.way.limits;
    // A service that knows messages by their key must never see one twice for different recipients, nor another for the
    // same: each recipient has a key of his own, and a transaction.
    if (identity_.target.way.headers.contains("{queue}")) return 1;
    std::size_t most = kRecipientsMax;
    if (limits.recipients_max > 0) most = std::min<std::size_t>(most, limits.recipients_max);
    if (limits.minute_max > 0) most = std::min<std::size_t>(most, (limits.minute_max + 59) / 60);
    return most;
}

// The next parcel; with an open connection it is worth waiting for a while, for mail or for the lane's turn.
net::Task<std::optional<Parcel>> Lane::take(Worker& worker) {
    const std::uint64_t round = release_round_;
    for (;;) {
        if (core_.stopping.is_set()) co_return std::nullopt;
        const Time now = core_.now();
        if (workers_that_count() > schedule_.controller().window()) co_return std::nullopt;
        if (worker.has_carried && host_.wants_place(*this, worker.since)) co_return std::nullopt;
        std::optional<Parcel> parcel;
        if (earliest(now) <= now) parcel = schedule_.take(now, recipients_at_once());
        if (parcel) {
            core_.ways.take_turn(identity_.target.way, parcel->entries.size(), now);
            co_return parcel;
        }
        if (worker.recording) {
            co_await wait_recorded(worker);
            continue;
        }
        const bool open = worker.connection && worker.connection->client().usable();
        if (!open || release_round_ != round || host_.is_starved()) co_return std::nullopt;
        Milliseconds wait = core_.deps.options.idle;
        if (!schedule_.queue().empty()) {
            const Milliseconds turn = std::max(earliest(now) - now, Milliseconds(1));
            if (turn > wait) co_return std::nullopt;
            wait = turn;
        }
        more_.reset();
        ++idle_;
        ++core_.idle;
        host_.changed(shared_from_this());
        const auto woken = co_await more_.wait_for(wait);
        --idle_;
        --core_.idle;
        if (!woken && schedule_.queue().empty()) co_return std::nullopt;
    }
}

net::Task<void> Lane::carry(Worker& worker, const Parcel& parcel) {
    std::vector<storage::RecipientId> ids;
    for (const LaneEntry& entry : parcel.entries) ids.push_back(entry.recipient);
    const Target target = target_of(parcel);
    DomainPlanPtr plan;
    if (identity_.target.is_mx()) plan = co_await host_.plan_of(parcel.entries.front().domain);
    if (core_.stopping.is_set()) {
        schedule_.put_back(parcel);
        co_return;
    }
    // Recorded while it is read and the remote is spoken to: only its octets wait for that.
    const BeginningPtr beginning = begin_attempt(core_, ids);
    auto job = co_await load_job(core_, parcel, target, Loading::rows_and_message);
    if (job && job->suppressed.empty()) {
        job->target = target;
        job->plan = std::move(plan);
        const auto staying = co_await attempt(worker, *job, parcel, beginning);
        if (!staying) co_return;
        for (const Staying& one : *staying) std::erase(ids, one.id);
        let_go(target, ids);
        co_return;
    }
    co_await beginning->known.wait();
    co_await give_back(core_, beginning);
    schedule_.controller().probe_over();
    if (job) {
        // Somebody has left while it waited here: it is read and routed anew, without him.
        core_.reputation.untaken(target, ids.size());
        core_.ways.released(target, ids.size());
        host_.reroute(ids);
        co_return;
    }
    if (job.error().code != Errc::not_found) {
        // Nothing was said and nothing recorded: it is due still, and read again with the next whole look.
        log::error("relay", "the queue cannot be read: {}", job.error().context);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
        schedule_.put_back(parcel);
        co_return;
    }
    let_go(target, ids);
}

void Lane::let_go(const Target& target, const std::vector<storage::RecipientId>& ids) {
    core_.ways.released(target, ids.size());
    host_.released(ids);
}

// The way has just been found wanting: those behind whose route names another need not wait for it.
void Lane::reroute_others() {
    reroute_those([&](const LaneEntry& entry) { return targets_[entry.target].has_other; });
}

void Lane::give_up(std::span<const storage::QueueId> queues) {
    reroute_those([&](const LaneEntry& entry) { return std::ranges::binary_search(queues, entry.queue); });
}

void Lane::give_up_all() {
    reroute_those([](const LaneEntry&) { return true; });
}

void Lane::reroute_those(const std::function<bool(const LaneEntry&)>& wanted) {
    for (const Parcel& parcel : schedule_.queue().extract(wanted, schedule_.queue().size())) {
        std::vector<storage::RecipientId> ids;
        for (const LaneEntry& entry : parcel.entries) ids.push_back(entry.recipient);
        core_.ways.released(target_of(parcel), ids.size());
        core_.reputation.untaken(target_of(parcel), ids.size());
        host_.reroute(ids);
    }
}

// What came of it is known of the way before it is known of the recipients; those whom another way may serve better
// are due at once.
net::Task<void> Lane::take_lessons(const Job& job, std::vector<Settled>& settled) {
    std::vector<Tried> tried;
    // What IPv4 takes at once says nothing about the way as a whole.
    for (const Settled& one : settled) {
        tried.push_back(Tried{one.recipient.id, one.another_way ? Verdict() : one.verdict});
    }
    std::string site = job.plan ? job.plan->site : std::string();
    std::string sender = job.item.reverse_path;
    Target target = job.target;
    const auto again =
        co_await keep_lessons(core_, std::move(target), std::move(site), std::move(sender), std::move(tried));
    for (std::size_t i = 0; i < settled.size(); ++i) settled[i].another_way = settled[i].another_way || again[i];
}

// Nothing was recorded: all of it waits on, first in line.
std::vector<Staying> Lane::stay_all(const Parcel& parcel) {
    schedule_.put_back(parcel);
    std::vector<Staying> out;
    for (const LaneEntry& entry : parcel.entries) out.push_back(Staying{entry.recipient, false});
    return out;
}

// What cannot be read here is put off like a refusal.
net::Task<std::vector<Staying>> Lane::put_off_unread(const Job& job) {
    const Verdict unread(Fate::deferred, "4.3.0", "The message cannot be read here: " + job.unreadable);
    schedule_.controller().probe_over();
    std::vector<Settled> settled = settle_all(job, unread, "");
    for (Settled& one : settled) {
        one.after.cause = storage::WaitCause::retry;
        one.after.wait = retry_wait(bounce::ReplyClass::other, one.recipient.attempts + 1, *core_.deps.random);
    }
    co_return co_await record_outcome(core_, job.item, std::move(settled), nullptr, id_);
}

net::Task<std::optional<std::vector<Staying>>> Lane::attempt(Worker& worker, Job& job, const Parcel& parcel,
                                                             BeginningPtr beginning) {
    Dialogue dialogue;
    std::optional<Verdict> refused;
    std::vector<Settled> settled;
    if (job.message) refused = co_await ensure_connection(worker, job, dialogue);
    if (refused) settled = settle_all(job, *refused, worker.remote);
    if (job.message && !refused) settled = co_await send(worker, job, dialogue, beginning);
    const std::size_t tried = job.recipients.size();
    const Started started = co_await begun(core_, beginning, job);
    if (started != Started::yes || job.recipients.size() != tried) {
        // Held or cancelled meanwhile, or the store is in trouble: nothing was handed over.
        schedule_.controller().probe_over();
        if (started == Started::nobody) co_return std::vector<Staying>();
        co_await give_back(core_, beginning);
        co_return stay_all(parcel);
    }
    if (!job.message) co_return co_await put_off_unread(job);
    for (std::size_t i = 0; i < settled.size(); ++i) {
        settled[i].recipient.attempts = job.recipients[i].attempts;
        settled[i].dialogue = dialogue.text_for(i);
    }
    for (Settled& one : settled) {
        one.stage = refused ? Stage::opening : Stage::transaction;
        one.way = job.target.way.name;
        one.source = job.target.source ? job.target.source->to_string() : std::string();
        one.provider = job.target.provider;
        one.route = job.target.route;
        one.under_token = bears_token(job.item, job.reverse_path);
    }
    if (!settled.empty()) settled.front().turned_away = std::exchange(worker.turned_away, std::nullopt);
    const bool off_ipv6 = co_await keep_off_ipv6(core_, job, settled);
    if (off_ipv6) co_await close(worker);
    co_await take_lessons(job, settled);
    mark_faults(core_, job, settled);
    note_reputation(core_, job, settled);
    const bool wanting = std::ranges::any_of(settled, &Settled::another_way);
    const auto is_held = [](const Settled& one) { return one.fault && !one.another_way; };
    const bool faulty = std::ranges::any_of(settled, is_held);
    auto staying = co_await conclude(worker, job, parcel, std::move(settled));
    if (wanting && job.target.has_other) reroute_others();
    if (wanting && !job.target.has_other) give_up_all();  // they would be refused alike
    // Another address of the pool may take what is held.
    if (faulty && !job.target.way.pool.empty()) core_.incidents.recheck = true;
    if (faulty) give_up_all();  // they would be refused alike: routed anew, they are held without being tried
    co_return staying;
}

// The lane learns, the store records, and what waits on here goes back to its place.
net::Task<std::optional<std::vector<Staying>>> Lane::conclude(Worker& worker, const Job& job, const Parcel& parcel,
                                                              std::vector<Settled> settled) {
    std::vector<LaneSchedule::Said> said;
    for (const Settled& one : settled) {
        LaneSchedule::Said what;
        what.verdict = one.verdict;
        what.attempts = one.recipient.attempts;
        said.push_back(std::move(what));
        log::info("relay", "{} to {}: {} ({})", storage::format_queue_id(job.item.id), one.recipient.address,
                  one.verdict.reply, one.remote);
    }
    const std::string& remote = settled.front().remote;
    const std::string host = remote.substr(0, remote.find(' '));
    std::vector<Aftermath> after(settled.size());
    if (std::ranges::all_of(settled, [](const Settled& one) { return one.fault.has_value(); })) {
        schedule_.controller().connected(core_.now());  // they can be reached; what they say against us is no pace
    } else {
        after = schedule_.settle(said, host, settled.front().stage, core_.now(), *core_.deps.random);
    }
    for (std::size_t i = 0; i < settled.size(); ++i) settled[i].after = after[i];
    switch (gravest_of(after)) {
        case LaneSignal::turned_away:
        case LaneSignal::few:
        case LaneSignal::window: core_.slowed[0]->add(); break;
        case LaneSignal::hold_back:
        case LaneSignal::rate: core_.slowed[1]->add(); break;
        case LaneSignal::unreachable: core_.slowed[2]->add(); break;
        default: break;
    }
    if (std::ranges::all_of(settled, [](const Settled& one) { return one.verdict.fate == Fate::delivered; })) {
        co_await wait_recorded(worker);
        worker.recording = std::make_shared<net::Event>(*core_.deps.loop);
        std::vector<storage::RecipientId> ids;
        for (const LaneEntry& entry : parcel.entries) ids.push_back(entry.recipient);
        host_.spawn("relay.taken", record_taken(shared_from_this(), worker.recording, job.item, job.message, job.target,
                                                std::move(ids), std::move(settled)));
        co_return std::nullopt;
    }
    auto staying = co_await record_outcome(core_, job.item, std::move(settled), job.message, id_);
    put_back(parcel, staying, job.item);
    co_return staying;
}

net::Task<void> Lane::record_taken(std::shared_ptr<Lane> self, std::shared_ptr<net::Event> done,
                                   storage::QueueItem item, OutgoingMessagePtr message, Target target,
                                   std::vector<storage::RecipientId> ids, std::vector<Settled> settled) {
    const auto staying =
        co_await record_outcome(self->core_, std::move(item), std::move(settled), std::move(message), self->id_);
    static_cast<void>(staying);  // nobody: all were taken
    self->let_go(target, ids);
    done->set();
}

net::Task<void> Lane::wait_recorded(Worker& worker) {
    if (!worker.recording) co_return;
    co_await worker.recording->wait();
    worker.recording.reset();
}

void Lane::put_back(const Parcel& parcel, const std::vector<Staying>& staying, const storage::QueueItem& item) {
    Parcel back;
    back.priority = parcel.priority;
    back.flow = parcel.flow;
    for (const LaneEntry& entry : parcel.entries) {
        const auto found = std::ranges::find(staying, entry.recipient, &Staying::id);
        if (found == staying.end()) continue;
        LaneEntry kept = entry;
        kept.is_marked = storage::raw(id_) != 0;  // the outcome said why, and where
        // A sender who wants no notice is not asked about it again.
        const bool noticed = found->delay_told || core_.now() >= item.created + core_.deps.options.delay_notice_after;
        kept.check_at_s = check_time(core_.deps.options, item, noticed);
        back.entries.push_back(kept);
    }
    if (back.entries.empty()) return;
    schedule_.put_back(back);
    more_.set();
}

Lane::Survey Lane::survey(Time now, std::size_t marks_max) {
    Survey out;
    const std::uint32_t now_s = to_seconds(now);
    const std::uint32_t mark_before = to_seconds(now - kMarkAfter);
    std::uint32_t oldest = now_s;
    bool any_overdue = false;
    schedule_.queue().for_each([&](LaneEntry& entry) {
        oldest = std::min(oldest, entry.entered_s);
        any_overdue = any_overdue || entry.check_at_s <= now_s;
        if (!entry.is_marked && entry.entered_s <= mark_before && out.unmarked.size() < marks_max) {
            entry.is_marked = true;
            out.unmarked.push_back(entry.recipient);
        }
        return true;
    });
    schedule_.controller().backlog_age(now, Milliseconds((now_s - oldest) * 1000LL));
    if (!any_overdue) return out;
    constexpr std::size_t kAtOnce = 1'000;
    const auto is_overdue = [&](const LaneEntry& entry) { return entry.check_at_s <= now_s; };
    out.overdue = schedule_.queue().extract(is_overdue, kAtOnce);
    return out;
}

net::Task<void> Lane::settle_overdue(std::shared_ptr<Lane> self, Parcel parcel) {
    Core& core = self->core_;
    const Target target = self->target_of(parcel);
    auto job = co_await load_job(core, parcel, target, Loading::rows_and_message);
    std::vector<storage::RecipientId> ids;
    for (const LaneEntry& entry : parcel.entries) ids.push_back(entry.recipient);
    Started started = Started::nobody;
    if (job) started = co_await start_attempt(core, *job);
    if (started == Started::yes) {
        const std::string& why = self->schedule_.why();
        const Verdict verdict(
            Fate::deferred, "4.4.7",
            fmt::format("It still waits for its turn with {}{}{}", self->identity_.name, why.empty() ? "" : ": ", why));
        std::vector<Settled> settled = settle_all(*job, verdict, "");
        for (Settled& one : settled) {
            one.after.stays_in_lane = true;
            one.after.cause = self->schedule_.cause(core.now());
        }
        const auto staying = co_await record_outcome(core, job->item, std::move(settled), job->message, self->id_);
        for (const Staying& one : staying) std::erase(ids, one.id);
        self->put_back(parcel, staying, job->item);
    } else if (started == Started::cannot || (!job && job.error().code != Errc::not_found)) {
        ids.clear();
        self->schedule_.put_back(parcel);
    }
    self->let_go(target, ids);
    self->host_.changed(self);
}

storage::LaneRecord Lane::record(Time now) const {
    const LaneController& controller = schedule_.controller();
    const Learned learned = controller.learned(now);
    const auto milli = [](double rate) { return static_cast<std::uint64_t>(rate * 1000.0 + 0.5); };
    storage::LaneRecord out;
    out.key = identity_.key;
    out.name = identity_.name;
    out.state = to_string(controller.state(now));
    out.why = controller.state(now) == LaneState::open && !controller.has_learned() ? "" : schedule_.why();
    out.waiting = schedule_.queue().size();
    out.window = controller.window();
    out.rate_milli = milli(controller.rate());
    out.learned_window = learned.window;
    out.learned_rate_milli = milli(learned.rate);
    out.spacing = learned.spacing;
    out.careful_until = learned.careful_until;
    out.careful_window = learned.careful_window;
    out.few_messages = learned.held_back;
    out.rest = learned.rest;
    out.next = std::max(earliest(now), Time{});
    return out;
}

void Lane::recall(const storage::LaneRecord& record, Time now) {
    Learned learned;
    learned.window = record.learned_window;
    learned.rate = static_cast<double>(record.learned_rate_milli) / 1000.0;
    learned.spacing = static_cast<unsigned>(std::min<std::uint64_t>(record.spacing, kSpacingMax));
    learned.at = record.updated;
    learned.careful_until = record.careful_until;
    learned.careful_window = record.careful_window;
    learned.held_back = record.few_messages;
    learned.rest = record.rest;
    schedule_.controller().recall(learned, now);
    // A rest outlives the process: whoever asked for it has not forgotten.
    if (record.state == to_string(LaneState::paused)) schedule_.controller().pause(now, record.next - now);
    id_ = record.id;
}

}  // namespace posthouse::relay
