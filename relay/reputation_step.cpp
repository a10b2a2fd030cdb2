// The judging part of relay/reputation.h: evidence and findings are read, standings written, in one commit.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "protocols/base/log.h"
#include "relay/core.h"
#include "storage/await.h"
#include "storage/transport.h"

namespace posthouse::relay {

using storage::Reputation;
using storage::Standing;

namespace {

/// All that is read for one judgement.
struct Basis {
    storage::AddressBook book;
    std::vector<storage::EvidenceDay> days;
    std::vector<storage::AddressCheck> checks;
    std::vector<storage::SourceAddress> addresses;
};

Result<Basis> read_basis(storage::Tx& tx, Time now) {
    const storage::ReputationView view(tx);
    Basis out;
    TRY(out.book, view.book());
    TRY(out.days, view.evidence(storage::day_of(now) - storage::kEvidenceDays + 1));
    TRY(out.checks, view.checks());
    TRY(out.addresses, storage::RouteView(tx).addresses());
    return out;
}

Counts counts_of(const storage::EvidenceDay& sum) {
    Counts out;
    out.tried = sum.tried.count();
    out.blocked = std::min(sum.blocked.count(), out.tried);
    out.deferred = std::min(sum.deferred.count(), out.tried);
    out.bounced = std::min(sum.bounced.count(), out.tried);
    out.complained = std::min(sum.complained.count(), out.tried);
    return out;
}

Counts window(const std::vector<storage::EvidenceDay>& days, const Reputation& of, std::int64_t from) {
    storage::EvidenceDay sum;
    for (const storage::EvidenceDay& day : days) {
        const bool counts = day.source == of.source && day.provider == of.provider && day.day >= from;
        if (counts && day.day >= of.from_day) sum.merge(day);
    }
    return counts_of(sum);
}

// Where the system chooses the address, all that is known of this host counts against it.
bool is_about(const storage::AddressCheck& check, const std::string& source, const Basis& basis) {
    if (!source.empty()) return check.source == source;
    return std::ranges::find(basis.addresses, check.source, &storage::SourceAddress::address) == basis.addresses.end();
}

// Days on which half of those tried were put off.
std::uint32_t deferred_days(const std::vector<storage::EvidenceDay>& days, const Reputation& of, std::int64_t from) {
    std::uint32_t out = 0;
    for (const storage::EvidenceDay& day : days) {
        if (day.source != of.source || day.provider != of.provider || day.day < std::max(from, of.from_day)) continue;
        const Counts counts = counts_of(day);
        if (counts.tried >= kVolumeDay && 2 * counts.deferred >= counts.tried) ++out;
    }
    return out;
}

StandingFacts facts_of(const Basis& basis, const Reputation& of, Time now) {
    StandingFacts out;
    const std::int64_t today = storage::day_of(now);
    if (!of.provider.empty()) {
        out.day = window(basis.days, of, today);
        out.week = window(basis.days, of, today - 6);
        out.month = window(basis.days, of, today - storage::kEvidenceDays + 1);
        out.deferred_days = deferred_days(basis.days, of, today - 6);
    }
    for (const storage::AddressCheck& check : basis.checks) {
        if (check.list == "ptr" || check.found != storage::AddressCheck::Found::bad) continue;
        if (!is_about(check, of.source, basis)) continue;
        out.is_spamhaus = out.is_spamhaus || check.list.contains("spamhaus");
        // A list that has both our IPv4 and our IPv6 address is one list.
        if (std::ranges::find(out.lists, check.list) == out.lists.end()) out.lists.push_back(check.list);
    }
    return out;
}

// "It was the last": what then happens depends on the routes, and is said for both.
std::string last_of_pool(const Basis& basis, const Reputation& fallen) {
    std::string pool;
    for (const storage::SourceAddress& one : basis.addresses) {
        if (one.address == fallen.source) pool = one.pool;
    }
    for (const storage::SourceAddress& one : basis.addresses) {
        if (pool.empty() || one.pool != pool || one.address == fallen.source) continue;
        const Reputation* const other = basis.book.standing(one.address, fallen.provider);
        if (other == nullptr || other->standing != Standing::drained) return "";
    }
    return fmt::format(
        ". There is no other address{}: mail takes the next way of its route, and goes slowly where "
        "the route names none",
        pool.empty() ? "" : " in pool " + pool);
}

using Key = ReputationBook::Key;
using Tally = ReputationBook::Tally;

/// What one step has to write down.
struct StepInput {
    std::vector<ReputationBook::Used> used;
    std::map<ReputationBook::DayKey, Tally> tallies;
    std::set<ReputationBook::DayKey> bad_days;
    std::vector<storage::EvidenceDay> lost;  ///< by a crash, and made anew of events
    bool judges = false;
    Time judged{};  ///< the last time; none: not since the start
    Time now{};
};
struct StepDone {
    std::size_t drained = 0;
    std::vector<Reputation> standings;
};

// Warm-ups as they are, to be moved on. A day is judged by its own: what was said on it, before the next begins.
class WarmUps {
 public:
    static Result<WarmUps> read(const storage::ReputationTx& store) {
        TRY(const storage::AddressBook before, store.book());
        WarmUps out;
        std::int64_t oldest = std::numeric_limits<std::int64_t>::max();
        for (const storage::WarmUp& one : before.warm_ups) {
            out.all_[Key(one.source, one.provider)] = one;
            if (one.day > 0) oldest = std::min(oldest, one.day);
        }
        if (!out.all_.empty()) {
            TRY(out.days_, store.evidence(oldest));
        }
        return out;
    }
    bool has(const Key& key) const { return all_.contains(key); }
    storage::WarmUp& on(const Key& key, Time at) {
        storage::WarmUp& one = all_[key];
        one.source = key.first;
        one.provider = key.second;
        judge(one);
        one = storage::turn_day(one, at);
        changed_.insert(key);
        return one;
    }
    // Complaints come in by another door, whenever they come.
    void judge_all() {
        for (auto& [key, one] : all_) {
            const bool before = one.is_bad;
            judge(one);
            if (one.is_bad != before) changed_.insert(key);
        }
    }
    Result<> save(storage::ReputationTx& store) const {
        for (const Key& key : changed_) TRY_VOID(store.save(all_.at(key)));
        return {};
    }

 private:
    void judge(storage::WarmUp& one) const {
        for (const storage::EvidenceDay& day : days_) {
            if (day.source != one.source || day.provider != one.provider || day.day != one.day) continue;
            one.is_bad = one.is_bad || is_spoilt(day.complained.count(), day.tried.count());
        }
    }
    std::map<Key, storage::WarmUp> all_;
    std::set<Key> changed_;
    std::vector<storage::EvidenceDay> days_;
};

Result<> write_counts(storage::Tx& tx, const StepInput& in) {
    storage::ReputationTx store(tx);
    for (const auto& [key, tally] : in.tallies) {
        if (!key.second.second.empty()) TRY_VOID(store.add(tally.day));
    }
    for (const storage::EvidenceDay& day : in.lost) TRY_VOID(store.add(day));
    TRY(WarmUps warm, WarmUps::read(store));
    std::vector<ReputationBook::Used> used = in.used;
    std::ranges::sort(used, {}, &ReputationBook::Used::hour);
    const auto use = [&](const ReputationBook::Used& what) {
        storage::WarmUp& one = warm.on(what.key, Time(std::chrono::hours(what.hour)));
        one.hour_used = (one.hour == what.hour ? one.hour_used : 0) + what.count;
        one.hour = what.hour;
        one.day_used += what.count;
    };
    auto next = used.begin();
    for (const auto& [day, key] : in.bad_days) {
        const std::int64_t end = storage::hour_number(storage::start_of_day(day + 1));
        for (; next != used.end() && next->hour < end; ++next) use(*next);
        if (warm.has(key)) warm.on(key, storage::start_of_day(day)).is_bad = true;
    }
    for (; next != used.end(); ++next) use(*next);
    if (in.judges) warm.judge_all();
    return warm.save(store);
}

// Every address and provider of which anything is known.
std::set<Key> all_keys(const Basis& basis) {
    std::set<Key> out;
    for (const storage::EvidenceDay& day : basis.days) out.emplace(day.source, day.provider);
    for (const Reputation& one : basis.book.standings) out.emplace(one.source, one.provider);
    for (const storage::AddressCheck& check : basis.checks) {
        out.emplace(is_about(check, "", basis) ? std::string() : check.source, "");
    }
    return out;
}

Result<std::size_t> judge_all(storage::Tx& tx, const StepInput& in) {
    TRY(Basis basis, read_basis(tx, in.now));
    std::size_t drained = 0;
    for (const Key& key : all_keys(basis)) {
        Reputation before;
        before.source = key.first;
        before.provider = key.second;
        before.since = in.now;
        if (const Reputation* const known = basis.book.find(key.first, key.second)) before = *known;
        StandingFacts facts = facts_of(basis, before, in.now);
        storage::EvidenceDay fresh;
        for (const auto& [on, tally] : in.tallies) {
            if (on.second != key) continue;
            fresh.merge(tally.day);
            facts.fresh_clean += tally.clean;
        }
        facts.fresh = counts_of(fresh);
        // By hand since the last judgement: most of it was said before, and is answered (storage::trust_address).
        const bool is_probation = before.standing == Standing::probation;
        if (is_probation && in.judged != Time{} && before.since > in.judged) facts.fresh.blocked = 0;
        const Reputation after = judge_standing(before, facts, in.now);
        if (after == before) continue;
        const bool falls = after.standing == Standing::drained && before.standing != Standing::drained;
        // The book is that of all others as they stand now: the last of several that fall together is the last.
        std::erase_if(basis.book.standings,
                      [&](const Reputation& one) { return one.source == key.first && one.provider == key.second; });
        basis.book.standings.push_back(after);
        TRY_VOID(storage::save_standing(tx, before, after, falls ? last_of_pool(basis, after) : std::string()));
        drained += falls ? 1 : 0;
    }
    return drained;
}

Result<StepDone> write_step(storage::Tx& tx, const StepInput& in) {
    StepDone out;
    TRY_VOID(write_counts(tx, in));
    if (!in.judges) return out;
    storage::ReputationTx store(tx);
    TRY_VOID(store.set_mark());
    TRY_VOID(store.drop_evidence_before(storage::day_of(in.now) - storage::kEvidenceDays + 1));
    TRY(out.drained, judge_all(tx, in));
    TRY(const storage::AddressBook after, store.book());
    out.standings = after.standings;
    return out;
}

}  // namespace

net::Task<void> ReputationBook::recover(Core& core) {
    auto read = [](const storage::Snapshot& snapshot) { return storage::ReputationView(snapshot).unmarked(); };
    const auto lost = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!lost) {
        log::error("relay", "what receivers said last cannot be read: {}", lost.error().context);
        co_return;
    }
    has_recovered_ = true;
    lost_ = lost->days;
    const std::int64_t today = storage::day_of(core.now());
    for (const storage::EvidenceDay& day : lost->days) {
        const Key key(day.source, day.provider);
        if (!day.blocked.is_empty() || !day.deferred.is_empty()) bad_days_.emplace(day.day, key);
        // Of today it was said since the last judgement: a refusal on probation ends that.
        if (day.day != today) continue;
        tally_of(key, core.now()).day.merge(day);
        Tally& everywhere = tally_of(Key(day.source, ""), core.now());
        everywhere.day.tried.merge(day.tried);
        everywhere.day.blocked.merge(day.blocked);
    }
}

net::Task<void> ReputationBook::step(Core& core) {
    if (!has_recovered_) co_await recover(core);
    StepInput in;
    in.now = core.now();
    in.judges = is_urgent_ || in.now >= judge_at_;
    in.used = std::exchange(used_, {});
    in.bad_days = std::exchange(bad_days_, {});
    for (auto& [key, hour] : hours_) {
        if (hour.unwritten > 0) in.used.push_back(Used{key, hour.hour, std::exchange(hour.unwritten, 0)});
    }
    if (!in.judges && in.used.empty() && in.bad_days.empty()) co_return;
    if (in.judges) {
        in.tallies = std::exchange(tallies_, {});
        in.lost = std::exchange(lost_, {});
        is_urgent_ = false;
        if (judge_at_ != Time{}) in.judged = judge_at_ - kJudgeEvery;
        judge_at_ = in.now + kJudgeEvery;
    }
    const bool judged = in.judges;
    auto write = [in = std::move(in)](storage::Tx& tx) { return write_step(tx, in); };
    std::vector<storage::StagedBodyPtr> no_bodies;
    const auto done =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!done) {
        log::error("relay", "what our addresses are worth cannot be written: {}", done.error().context);
        co_return;
    }
    if (!judged) co_return;
    for (const Reputation& one : done->standings) known_.emplace(one.source, one.provider);
    for (const Key& key : known_) {
        const auto found = std::ranges::find_if(done->standings, [&](const Reputation& one) {
            return one.source == key.first && one.provider == key.second;
        });
        const auto standing = found == done->standings.end() ? Standing::healthy : found->standing;
        metrics_
            .gauge("address_standing", "What an address is worth: 0 healthy 1 watched 2 drained 3 probation",
                   fmt::format("address=\"{}\",provider=\"{}\"", key.first, key.second))
            .set(static_cast<std::int64_t>(standing));
    }
    drained_.add(static_cast<std::int64_t>(done->drained));
}

bool ReputationBook::sees(const storage::AddressBook& book) {
    std::set<Key> drained;
    for (const Reputation& one : book.standings) {
        if (one.standing == Standing::drained) drained.emplace(one.source, one.provider);
    }
    const bool is_news = std::ranges::any_of(drained, [&](const Key& key) { return !drained_keys_.contains(key); });
    drained_keys_ = std::move(drained);
    return is_news;
}

}  // namespace posthouse::relay
