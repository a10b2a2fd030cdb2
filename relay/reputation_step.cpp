// The judging part of relay/reputation.h: evidence and findings are read, standings written, in one commit.
#include <fmt/format.h>

#include <algorithm>
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

StandingFacts facts_of(const Basis& basis, const Reputation& of, Time now) {
    StandingFacts out;
    const std::int64_t today = storage::day_of(now);
    if (!of.provider.empty()) {
        out.day = window(basis.days, of, today);
        out.week = window(basis.days, of, today - 6);
        out.month = window(basis.days, of, today - storage::kEvidenceDays + 1);
        return out;
    }
    for (const storage::AddressCheck& check : basis.checks) {
        if (check.list == "ptr" || check.found != storage::AddressCheck::Found::bad) continue;
        if (!is_about(check, of.source, basis)) continue;
        out.lists.push_back(check.list);
        out.is_spamhaus = out.is_spamhaus || check.list.contains("spamhaus");
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
    std::map<Key, Tally> tallies;
    std::vector<storage::EvidenceDay> lost;  ///< by a crash, and made anew of events
    bool judges = false;
    Time now{};
};
struct StepDone {
    std::size_t drained = 0;
    std::vector<Reputation> standings;
};

Result<> write_counts(storage::Tx& tx, const StepInput& in) {
    storage::ReputationTx store(tx);
    TRY(const storage::AddressBook before, store.book());
    std::map<Key, storage::WarmUp> warm;
    const auto warm_of = [&](const Key& key) -> storage::WarmUp& {
        const auto [at, is_new] = warm.try_emplace(key);
        if (!is_new) return at->second;
        const storage::WarmUp* const known = before.warm_up(key.first, key.second);
        if (known != nullptr) at->second = *known;
        at->second.source = key.first;
        at->second.provider = key.second;
        return at->second;
    };
    for (const ReputationBook::Used& used : in.used) {
        storage::WarmUp& one = warm_of(used.key);
        one = storage::turn_day(one, Time(std::chrono::hours(used.hour)));
        one.hour_used = (one.hour == used.hour ? one.hour_used : 0) + used.count;
        one.hour = used.hour;
        one.day_used += used.count;
    }
    for (const auto& [key, tally] : in.tallies) {
        const bool warms = warm.contains(key) || before.warm_up(key.first, key.second) != nullptr;
        if (tally.is_bad && warms) {
            storage::WarmUp& one = warm_of(key);
            one = storage::turn_day(one, storage::start_of_day(tally.day.day));
            one.is_bad = true;
        }
        if (!key.second.empty()) TRY_VOID(store.add(tally.day));
    }
    for (const storage::EvidenceDay& day : in.lost) TRY_VOID(store.add(day));
    for (const auto& [key, one] : warm) TRY_VOID(store.save(one));
    return {};
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
        if (const auto tally = in.tallies.find(key); tally != in.tallies.end()) {
            facts.fresh = counts_of(tally->second.day);
            facts.fresh_clean = tally->second.clean;
        }
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
        // Of today it was said since the last judgement: a refusal on probation ends that.
        if (day.day != today) continue;
        Tally& tally = tallies_[Key(day.source, day.provider)];
        tally.day.source = day.source;
        tally.day.provider = day.provider;
        tally.day.day = day.day;
        tally.day.merge(day);
    }
}

net::Task<void> ReputationBook::step(Core& core) {
    if (!has_recovered_) co_await recover(core);
    StepInput in;
    in.now = core.now();
    in.judges = is_urgent_ || in.now >= judge_at_;
    in.used = std::exchange(used_, {});
    for (auto& [key, hour] : hours_) {
        if (hour.unwritten > 0) in.used.push_back(Used{key, hour.hour, std::exchange(hour.unwritten, 0)});
    }
    if (!in.judges && in.used.empty()) co_return;
    if (in.judges) {
        in.tallies = std::exchange(tallies_, {});
        in.lost = std::exchange(lost_, {});
        is_urgent_ = false;
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
