#include "storage/reputation.h"

#include <algorithm>
#include <cmath>

#include "storage/catalog_impl.h"
#include "storage/context.h"
#include "storage/incidents.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kStandings[] = {"healthy", "watched", "drained", "probation"};

std::int64_t day_of(Time now) { return std::chrono::floor<std::chrono::days>(now).time_since_epoch().count(); }

// Which of two says more against an address.
int weight_of(const Reputation& one) {
    switch (one.standing) {
        case Standing::drained: return 1000;
        case Standing::probation: return 900 - static_cast<int>(one.step);
        case Standing::watched: return 500;
        case Standing::healthy: return 0;
    }
    return 0;
}

}  // namespace

std::string_view to_string(Standing standing) { return kStandings[static_cast<std::size_t>(standing)]; }

std::string_view provider_key(std::string_view provider) { return provider.empty() ? kOtherProviders : provider; }

std::uint64_t warm_up_allowance(std::uint32_t level) {
    return static_cast<std::uint64_t>(std::llround(kWarmUpFirst * std::pow(kWarmUpGrowth, level)));
}

std::int64_t hour_number(Time now) { return std::chrono::floor<std::chrono::hours>(now).time_since_epoch().count(); }

WarmUp turn_day(WarmUp warm_up, Time now) {
    const std::int64_t today = day_of(now);
    if (warm_up.day >= today) return warm_up;
    const bool used = warm_up.day_used * 2 >= warm_up_allowance(warm_up.level);
    if (warm_up.day != 0 && used && !warm_up.is_bad && warm_up.level < kWarmUpLevels) ++warm_up.level;
    warm_up.day = today;
    warm_up.day_used = 0;
    warm_up.is_bad = false;
    return warm_up;
}

std::uint64_t warm_up_left(const WarmUp& warm_up, Time now) {
    const WarmUp today = turn_day(warm_up, now);
    if (today.level >= kWarmUpLevels) return ~std::uint64_t{0};
    const std::uint64_t allowed = warm_up_allowance(today.level);
    const std::uint64_t used = today.hour == hour_number(now) ? today.hour_used : 0;
    return allowed - std::min(allowed, used);
}

void EvidenceDay::merge(const EvidenceDay& other) {
    tried.merge(other.tried);
    blocked.merge(other.blocked);
    deferred.merge(other.deferred);
    bounced.merge(other.bounced);
    complained.merge(other.complained);
}

const Reputation* AddressBook::find(std::string_view source, std::string_view provider) const {
    const auto found = std::ranges::find_if(
        standings, [&](const Reputation& one) { return one.source == source && one.provider == provider; });
    return found == standings.end() ? nullptr : &*found;
}

const Reputation* AddressBook::standing(std::string_view source, std::string_view provider) const {
    const Reputation* const here = find(source, provider_key(provider));
    const Reputation* const everywhere = find(source, "");
    if (here == nullptr || everywhere == nullptr) return here == nullptr ? everywhere : here;
    if (weight_of(*everywhere) != weight_of(*here)) {
        return weight_of(*everywhere) > weight_of(*here) ? everywhere : here;
    }
    return everywhere->score < here->score ? everywhere : here;
}

const WarmUp* AddressBook::warm_up(std::string_view source, std::string_view provider) const {
    const auto found = std::ranges::find_if(
        warm_ups, [&](const WarmUp& one) { return one.source == source && one.provider == provider_key(provider); });
    return found == warm_ups.end() ? nullptr : &*found;
}

Result<AddressBook> read_address_book(Connection& db) {
    AddressBook out;
    {
        Query q = db.query(
            "SELECT source, provider, standing, step, since_ms, score, why, by_hand, falls, last_use_ms, "
            "clean, from_day FROM reputation ORDER BY source, provider");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            Reputation& one = out.standings.emplace_back();
            one.source = q.text(0);
            one.provider = q.text(1);
            one.standing = static_cast<Standing>(std::clamp<std::int64_t>(q.i64(2), 0, 3));
            one.step = std::min<std::uint32_t>(q.u32(3), kProbationPercent.size() - 1);
            one.since = q.time(4);
            one.score = static_cast<int>(q.i64(5));
            one.why = q.text(6);
            one.by_hand = q.flag(7);
            one.falls = q.u32(8);
            one.last_use = q.time(9);
            one.clean = q.u64(10);
            one.from_day = q.i64(11);
        }
    }
    Query q = db.query(
        "SELECT source, provider, level, day, day_used, is_bad, hour, hour_used FROM warm_ups "
        "ORDER BY source, provider");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.warm_ups.push_back(
            WarmUp{q.text(0), q.text(1), q.u32(2), q.i64(3), q.u64(4), q.flag(5), q.i64(6), q.u64(7)});
    }
}

// ---- reading

ReputationView::ReputationView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
ReputationView::ReputationView(Tx& tx) : db_(context_of(tx).db) {}

Result<AddressBook> ReputationView::book() const { return read_address_book(db_); }

Result<std::vector<EvidenceDay>> ReputationView::evidence(std::int64_t day) const {
    Query q = db_.query(
        "SELECT source, provider, day, tried, blocked, deferred, bounced, complained FROM "
        "reputation_days WHERE day >= ?1 ORDER BY source, provider, day");
    q.bind(day);
    std::vector<EvidenceDay> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        EvidenceDay& one = out.emplace_back();
        one.source = q.text(0);
        one.provider = q.text(1);
        one.day = q.i64(2);
        one.tried = Distinct::of(q.view(3));
        one.blocked = Distinct::of(q.view(4));
        one.deferred = Distinct::of(q.view(5));
        one.bounced = Distinct::of(q.view(6));
        one.complained = Distinct::of(q.view(7));
    }
}

Result<std::vector<AddressCheck>> ReputationView::checks() const {
    Query q = db_.query(
        "SELECT source, list, found, detail, since_ms, checked_ms FROM address_checks "
        "ORDER BY source, list");
    std::vector<AddressCheck> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        AddressCheck& one = out.emplace_back();
        one.source = q.text(0);
        one.list = q.text(1);
        one.found = static_cast<AddressCheck::Found>(std::clamp<std::int64_t>(q.i64(2), 0, 2));
        one.detail = q.text(3);
        one.since = q.time(4);
        one.checked = q.time(5);
    }
}

// ---- writing

ReputationTx::ReputationTx(Tx& tx) : ReputationView(tx), tx_(tx) {}

Result<> ReputationTx::save(const Reputation& one) {
    context_of(tx_).write->queue_is_due();  // what waits may take another address now
    if (one.standing == Standing::healthy && one.score >= 100 && one.from_day + kEvidenceDays < day_of(tx_.now())) {
        return db_.query("DELETE FROM reputation WHERE source = ?1 AND provider = ?2")
            .bind(one.source, one.provider)
            .run();
    }
    return db_
        .query(
            "INSERT INTO reputation (source, provider, standing, step, since_ms, score, why, by_hand, falls, "
            "last_use_ms, clean, from_day) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT "
            "(source, "
            "provider) DO UPDATE SET standing = ?3, step = ?4, since_ms = ?5, score = ?6, why = ?7, by_hand = ?8, "
            "falls = ?9, last_use_ms = ?10, clean = ?11, from_day = ?12")
        .bind(one.source, one.provider, one.standing, one.step, one.since, one.score, one.why, one.by_hand, one.falls,
              one.last_use, one.clean, one.from_day)
        .run();
}

Result<> ReputationTx::save(const WarmUp& one) {
    return db_
        .query(
            "INSERT INTO warm_ups (source, provider, level, day, day_used, is_bad, hour, hour_used) VALUES (?1, ?2, "
            "?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (source, provider) DO UPDATE SET level = ?3, day = ?4, "
            "day_used = ?5, is_bad = ?6, hour = ?7, hour_used = ?8")
        .bind(one.source, one.provider, one.level, one.day, one.day_used, one.is_bad, one.hour, one.hour_used)
        .run();
}

Result<> ReputationTx::add(const EvidenceDay& day) {
    EvidenceDay sum = day;
    {
        Query q = db_.query(
            "SELECT tried, blocked, deferred, bounced, complained FROM reputation_days "
            "WHERE source = ?1 AND provider = ?2 AND day = ?3");
        TRY(const bool found, q.bind(day.source, day.provider, day.day).row());
        if (found) {
            EvidenceDay before;
            before.tried = Distinct::of(q.view(0));
            before.blocked = Distinct::of(q.view(1));
            before.deferred = Distinct::of(q.view(2));
            before.bounced = Distinct::of(q.view(3));
            before.complained = Distinct::of(q.view(4));
            sum.merge(before);
        }
    }
    const std::string tried = sum.tried.octets();
    const std::string blocked = sum.blocked.octets();
    const std::string deferred = sum.deferred.octets();
    const std::string bounced = sum.bounced.octets();
    const std::string complained = sum.complained.octets();
    return db_
        .query(
            "INSERT INTO reputation_days (source, provider, day, tried, blocked, deferred, bounced, complained) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (source, provider, day) DO UPDATE SET tried = ?4, "
            "blocked = ?5, deferred = ?6, bounced = ?7, complained = ?8")
        .bind(day.source, day.provider, day.day, Blob(tried), Blob(blocked), Blob(deferred), Blob(bounced),
              Blob(complained))
        .run();
}

Result<> ReputationTx::save(const AddressCheck& one) {
    return db_
        .query(
            "INSERT INTO address_checks (source, list, found, detail, since_ms, checked_ms) VALUES (?1, ?2, ?3, ?4, "
            "?5, ?6) ON CONFLICT (source, list) DO UPDATE SET found = ?3, detail = ?4, since_ms = ?5, "
            "checked_ms = ?6")
        .bind(one.source, one.list, one.found, one.detail, one.since, one.checked)
        .run();
}

Result<> ReputationTx::ask_again(std::string_view source, std::string_view list) {
    return db_.query("UPDATE address_checks SET checked_ms = 0 WHERE source = ?1 AND (?2 = '' OR list = ?2)")
        .bind(source, list)
        .run();
}

Result<> ReputationTx::drop_check(std::string_view source, std::string_view list) {
    return db_.query("DELETE FROM address_checks WHERE source = ?1 AND list = ?2").bind(source, list).run();
}

Result<> ReputationTx::drop_evidence_before(std::int64_t day) {
    return db_.query("DELETE FROM reputation_days WHERE day < ?1").bind(day).run();
}

Result<> save_standing(Tx& tx, const Reputation& before, const Reputation& after, const std::string& besides) {
    TRY_VOID(ReputationTx(tx).save(after));
    if (before.standing == after.standing) return {};
    IncidentTx incidents(tx);
    IncidentKey key;
    key.kind = IncidentKind::address;
    key.source = after.source;
    key.site = after.provider;
    if (after.standing == Standing::drained) {
        Refusal refusal;
        refusal.reply = after.why + besides;
        TRY_VOID(incidents.note(key, refusal));
        return {};
    }
    if (after.standing != Standing::healthy) return {};
    TRY(const auto open, incidents.open());
    const auto found = std::ranges::find(open, key, &Incident::key);
    if (found == open.end()) return {};
    TRY_VOID(incidents.clear(found->id, after.why.empty() ? "it is healthy again" : after.why));
    return {};
}

Result<> drain_address(Tx& tx, const Reputation& reputation, std::string_view why) {
    Reputation after = reputation;
    after.standing = Standing::drained;
    after.step = 0;
    after.since = tx.now();
    after.by_hand = true;
    after.why = why;
    return save_standing(tx, reputation, after, "");
}

Result<> restore_address(Tx& tx, const Reputation& reputation, std::string_view why) {
    Reputation after = reputation;
    after.standing = Standing::healthy;
    after.step = 0;
    after.since = tx.now();
    after.score = 100;
    after.by_hand = false;
    after.falls = 0;
    after.from_day = day_of(tx.now()) + 1;  // what was said before was answered
    after.why = why;
    return save_standing(tx, reputation, after, "");
}

Result<> trust_address(Tx& tx, std::string_view source, std::string_view provider) {
    if (provider.empty()) return {};
    TRY(const AddressBook book, ReputationView(tx).book());
    const Reputation* const before = book.find(source, provider);
    if (before == nullptr || before->standing != Standing::drained || before->by_hand) return {};
    Reputation after = *before;
    after.standing = Standing::probation;
    after.step = static_cast<std::uint32_t>(kProbationPercent.size() - 1);
    after.since = tx.now();
    after.clean = 0;
    after.from_day = day_of(tx.now()) + 1;  // what was said before was answered
    after.why = "on probation: it is said to be mended";
    return save_standing(tx, *before, after, "");
}

Result<> ReputationTx::forget(std::string_view source) {
    TRY_VOID(db_.query("DELETE FROM reputation WHERE source = ?1").bind(source).run());
    TRY_VOID(db_.query("DELETE FROM reputation_days WHERE source = ?1").bind(source).run());
    TRY_VOID(db_.query("DELETE FROM warm_ups WHERE source = ?1").bind(source).run());
    return db_.query("DELETE FROM address_checks WHERE source = ?1").bind(source).run();
}

}  // namespace posthouse::storage
