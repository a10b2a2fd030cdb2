// Once a while: why what waits waits is written down, senders hear of delays, lanes that are over go. Part of
// relay/runner.h.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/log.h"
#include "relay/address_check.h"
#include "relay/lost_mail.h"
#include "relay/receipts.h"
#include "relay/runner.h"
#include "relay/standstill.h"
#include "relay/way_check.h"
#include "storage/account_guard.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr Milliseconds kUpkeepEvery{2'000};
constexpr Milliseconds kForgetEvery{24 * 3'600'000LL};
constexpr Milliseconds kForgetAfter{35 * 24 * 3'600'000LL};  // five half-lives
constexpr std::size_t kMarksAtOnce = 5'000;
constexpr std::size_t kMarksACommit = 250;
constexpr std::size_t kLearnedMax = 50'000;

}  // namespace

net::Task<void> Runner::upkeep() {
    const Time now = core_.now();
    upkeep_at_ = now + kUpkeepEvery;
    if (writing_down_) co_return;
    co_await follow_routes();
    std::vector<std::shared_ptr<Lane>> dirty;
    std::vector<std::pair<std::shared_ptr<Lane>, std::vector<storage::RecipientId>>> marks;
    std::size_t budget = kMarksAtOnce;
    for (auto& [key, lane] : lanes_) {
        Lane::Survey found = lane->survey(now, budget);
        budget -= found.unmarked.size();
        for (Parcel& parcel : found.overdue) {
            if (core_.stopping.is_set()) {
                lane->schedule().put_back(parcel);
                continue;
            }
            ++side_jobs_;
            tasks_.spawn("relay.overdue", overdue(lane, std::move(parcel)));
        }
        const bool speaks = lane->schedule().controller().has_learned() || !found.unmarked.empty() ||
                            lane->schedule().controller().state(now) != LaneState::open || !lane->written.empty();
        if (!found.unmarked.empty()) marks.emplace_back(lane, std::move(found.unmarked));
        if (!speaks) continue;
        const storage::LaneRecord record = lane->record(now);
        const std::string text = fmt::format("{} {} {} {} {}", record.state, record.waiting, record.window,
                                             record.rate_milli, to_unix_ms(record.next));
        if (text == lane->written) continue;
        lane->written = text;
        dirty.push_back(lane);
    }
    count_lanes();
    forget_finished();
    if (dirty.empty() && marks.empty()) co_return;
    // Beside the looks at the queue: what is due does not wait until it is written down why others wait.
    ++side_jobs_;
    writing_down_ = true;
    tasks_.spawn("relay.notes", write_down(std::move(dirty), std::move(marks)));
}

// Who changes a route or a way means the mail that waits, too: it is routed anew.
net::Task<void> Runner::follow_routes() {
    if (lanes_.empty() && rules_ && core_.incidents.open().empty()) co_return;
    auto read = [](const storage::Snapshot& snapshot) -> Result<Rules> {
        const storage::RouteView view(snapshot);
        Rules out;
        TRY(out.ways, view.ways());
        TRY(out.routes, view.routes());
        TRY(out.addresses, view.addresses());
        TRY(out.lane_limits, view.lane_limits());
        return out;
    };
    auto found = co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
    if (!found) co_return;  // said by the next look at the queue
    // Bounds of sites are no routes: they hold at once, and nothing moves. A lane may have been made of older ones.
    core_.lane_limits = found->lane_limits;
    const std::vector<std::pair<std::string, std::shared_ptr<Lane>>> all(lanes_.begin(), lanes_.end());
    const bool is_bounded = !core_.lane_limits.empty() || (rules_ && !rules_->lane_limits.empty());
    for (const auto& [key, lane] : all) {
        if (is_bounded) lane->reshape();
    }
    if (rules_) rules_->lane_limits = found->lane_limits;
    const bool changed = rules_ && *rules_ != *found;
    if (changed) core_.incidents.recheck = true;
    if (changed) watch_at_ = Time{};
    rules_ = *std::move(found);
    if (!changed) co_return;
    log::info("relay", "the routes have changed: the mail that waits is routed anew");
    for (const auto& [key, lane] : all) lane->give_up_all();
}

// Our own house: incidents, what our addresses are worth, and what is said of them.
net::Task<void> Runner::watch() {
    watch_at_ = core_.now() + kWatchEvery;
    co_await core_.reputation.step(core_);
    const bool has_mail = co_await send_receipts(core_);
    co_await tell_lost(core_);
    if (core_.now() >= standstill_at_) {
        standstill_at_ = core_.now() + kStandstillEvery;
        co_await watch_standstill(core_);
    }
    const Watched seen = co_await watch_incidents(core_);
    if (seen.drained) {
        const std::vector<std::pair<std::string, std::shared_ptr<Lane>>> all(lanes_.begin(), lanes_.end());
        for (const auto& [key, lane] : all) lane->give_up_all();
    }
    if (seen.is_due || seen.drained || has_mail) wake_.set();
    if (!checking_logins_ && core_.now() >= logins_at_ && !core_.stopping.is_set()) {
        checking_logins_ = true;
        ++side_jobs_;
        tasks_.spawn("relay.logins", check_logins());
    }
    const bool is_time = seen.asks || core_.now() >= checks_at_;
    if (checking_ || !is_time || core_.stopping.is_set()) co_return;
    checking_ = true;
    ++side_jobs_;
    tasks_.spawn("relay.addresses", check_addresses());
}

net::Task<void> Runner::check_addresses() {
    const bool changed = co_await check_own_addresses(core_);
    checks_at_ = core_.now() + next_address_check(*core_.deps.random);
    checking_ = false;
    if (changed) watch_at_ = Time{};
    --side_jobs_;
    wake_.set();
}

net::Task<void> Runner::check_logins() {
    logins_at_ = core_.now() + kCheckRound;
    co_await check_ways(core_);
    checking_logins_ = false;
    --side_jobs_;
    if (is_quiet()) wake();
}

net::Task<void> Runner::overdue(std::shared_ptr<Lane> lane, Parcel parcel) {
    co_await Lane::settle_overdue(lane, std::move(parcel));
    --side_jobs_;
    if (is_quiet()) wake();
}

net::Task<void> Runner::write_down(std::vector<std::shared_ptr<Lane>> lanes, Marks marks) {
    for (auto& [lane, ids] : marks) {
        if (std::ranges::find(lanes, lane) == lanes.end()) lanes.push_back(lane);
    }
    if (co_await save_lanes(std::move(lanes))) {
        for (const auto& [lane, ids] : marks) co_await mark(*lane, ids);
    }
    --side_jobs_;
    writing_down_ = false;
    if (is_quiet()) wake();
}

// In commits so short that a letter's own fits between them.
net::Task<void> Runner::mark(const Lane& lane, std::span<const storage::RecipientId> ids) {
    const storage::WaitCause cause = lane.schedule().cause(core_.now());
    const storage::LaneId id = lane.id();
    for (std::size_t from = 0; from < ids.size(); from += kMarksACommit) {
        const auto some = ids.subspan(from, std::min(kMarksACommit, ids.size() - from));
        std::vector<storage::RecipientId> bite(some.begin(), some.end());
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto write = [bite = std::move(bite), cause, id](storage::Tx& tx) { return tx.queue().mark(bite, cause, id); };
        const auto written =
            co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
        if (!written) log::error("relay", "why mail waits cannot be written down: {}", written.error().context);
        if (!written || core_.stopping.is_set()) co_return;
    }
}

// One commit for all lanes that changed. False where it could not be made.
net::Task<bool> Runner::save_lanes(std::vector<std::shared_ptr<Lane>> lanes) {
    const Time now = core_.now();
    std::vector<storage::LaneRecord> rows;
    for (const auto& lane : lanes) rows.push_back(lane->record(now));
    const bool forget = now >= forget_at_;
    if (forget) forget_at_ = now + kForgetEvery;
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [rows, forget, now](storage::Tx& tx) -> Result<std::vector<storage::LaneId>> {
        std::vector<storage::LaneId> out;
        for (const storage::LaneRecord& row : rows) {
            TRY(out.emplace_back(), tx.queue().save_lane(row));
        }
        if (forget) TRY_VOID(tx.queue().forget_lanes(now - kForgetAfter));
        if (forget) TRY_VOID(storage::SuppressionTx(tx).forget_old());
        if (forget) TRY_VOID(storage::AccountGuardTx(tx).forget_old());
        return out;
    };
    const auto ids =
        co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(write));
    if (!ids) {
        log::error("relay", "how the lanes stand cannot be written down: {}", ids.error().context);
        co_return false;
    }
    for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i]->set_id((*ids)[i]);
    co_return true;
}

void Runner::count_lanes() {
    const Time now = core_.now();
    std::array<std::int64_t, 4> lanes{};
    std::array<std::int64_t, 4> waiting{};
    for (const auto& [key, lane] : lanes_) {
        const auto state = static_cast<std::size_t>(lane->schedule().controller().state(now));
        ++lanes[state];
        waiting[state] += static_cast<std::int64_t>(lane->waiting());
    }
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        core_.lanes_by_state[i]->set(lanes[i]);
        core_.waiting_by_state[i]->set(waiting[i]);
    }
}

void Runner::forget_finished() {
    const Time now = core_.now();
    std::erase_if(lanes_, [&](const auto& entry) {
        const auto& lane = entry.second;
        if (!lane->is_over(now)) return false;
        if (lane->schedule().controller().has_learned() && learned_.size() < kLearnedMax) {
            storage::LaneRecord record = lane->record(now);
            record.id = lane->id();
            record.updated = now;
            learned_.insert_or_assign(record.key, std::move(record));
        }
        return true;
    });
    // Numbers of domains live as long as anything refers to them.
    if (held_.empty() && unplanned_.empty()) domains_.clear();
}

}  // namespace posthouse::relay
