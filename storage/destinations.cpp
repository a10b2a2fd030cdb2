#include "storage/destinations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "storage/context.h"
#include "storage/distinct.h"
#include "storage/incidents.h"
#include "storage/report.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr Milliseconds kPlaceKept{kPlaceDays * kDayMs};
constexpr std::uint64_t kBaselineDaysLeast = 5;
constexpr std::uint64_t kBaselineDeliveriesLeast = 20;
constexpr std::string_view kWayMark = "way ";
constexpr double kUsualGaps = 3;
constexpr std::int64_t kEverywhereLeast = 4;  // places that nothing gets through to

struct Place {
    std::string name;
    Time failing{};
    std::uint64_t tries = 0;
    std::uint64_t recipients = 0;
    IncidentId incident{};
    std::uint64_t waiting = 0;  ///< since no host there can be reached
};

constexpr std::int64_t kWaitingRead = 100'000;

/// Who waits in lanes that are closed, by place; "" all of them.
using Waiting = std::map<std::string, std::set<std::string>>;

// The lane of a relay bears its host's name, that of a big provider the provider's, any other that of its first MX.
Result<Waiting> who_waits(Connection& db) {
    Waiting out;
    Query q = db.query(
        "SELECT r.domain, r.address, l.name, coalesce((SELECT 'way ' || w.name FROM ways w WHERE w.kind = 'smarthost' "
        "AND instr(w.url, l.name) > 0 LIMIT 1), '') FROM queue_recipients r JOIN lanes l ON l.id = r.lane WHERE "
        "r.state IN (0, 1) AND l.state = 'closed' LIMIT ?1");
    q.bind(kWaitingRead);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        const std::string lane = q.text(2);
        std::string place = q.text(3);
        if (place.empty()) place = lane.find('.') == std::string::npos ? lane : q.text(0);
        out[place].insert(q.text(1));
        out[""].insert(q.text(1));
    }
}

Result<std::vector<Place>> places(Query&& q) {
    std::vector<Place> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        Place one;
        one.name = q.text(0);
        one.failing = q.time(1);
        one.tries = q.u64(2);
        one.recipients = Distinct::of(q.view(3)).count();
        one.incident = q.id<IncidentId>(4);
        out.push_back(std::move(one));
    }
}

#define PLACE_COLUMNS "place, failing_ms, tries, recipients, incident"

// day, delivered, tried
Result<> add_days(Query& q, std::map<std::int64_t, std::pair<std::uint64_t, std::uint64_t>>& days) {
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        auto& [delivered, tried] = days[q.i64(0)];
        delivered += q.u64(1);
        tried += q.u64(2);
    }
}

Result<Baseline> baseline(Connection& db, const std::string& place, std::int64_t today) {
    const bool is_way = place.starts_with(kWayMark);
    const std::string way = is_way ? place.substr(kWayMark.size()) : std::string();
    Query q = db.query(
        "SELECT r.day, sum(CASE WHEN c.what = 1 THEN c.n ELSE 0 END), sum(c.n) FROM report_rows r JOIN report_counts c "
        "ON c.row = r.id WHERE r.day BETWEEN ?1 AND ?2 AND c.what IN (1, 3, 4) AND r.way <> '' AND (?3 = '' OR "
        "(?4 <> '' AND (r.way = ?4 OR substr(r.way, 1, length(?4) + 1) = ?4 || char(9))) OR (?4 = '' AND r.provider = "
        "?3) OR (?4 = '' AND r.provider = 'other' AND "
        "r.destination = ?3)) GROUP BY r.day");
    q.bind(today - kBaselineDays, today, place, way);
    std::map<std::int64_t, std::pair<std::uint64_t, std::uint64_t>> days;
    TRY_VOID(add_days(q, days));
    Query own = db.query("SELECT day, delivered, tried FROM place_days WHERE place = ?1 AND day BETWEEN ?2 AND ?3");
    own.bind(place, today - kBaselineDays, today);
    TRY_VOID(add_days(own, days));
    Baseline out;
    for (const auto& [day, counts] : days) {
        if (counts.first == 0) continue;
        ++out.days;
        out.delivered += counts.first;
        out.tried += counts.second;
    }
    return out;
}

IncidentKey key_of(const Place& place) {
    IncidentKey key;
    key.kind = IncidentKind::destination;
    key.site = place.name;
    return key;
}

Result<> tell(Tx& tx, EventKind kind, const Place& place, const std::string& sentence) {
    Event event;
    event.at = tx.now();
    event.kind = kind;
    event.detail = sentence;
    event.facts.provider = place.name;
    return tx.events().append(event);
}

Result<bool> is_stopped(Connection& db, const Place& place, Time now, Baseline& usual) {
    // Before what costs. Where nobody answers it is no recipient's fault, however few they are.
    if (place.recipients < kStoppedRecipients && place.waiting == 0) return false;
    const std::uint64_t tries = std::max(place.tries, place.waiting);
    if (tries < kStoppedRecipients) return false;
    if (place.name.empty()) {
        // At night it may be one place that is written to at all: that is not everywhere.
        TRY(const std::int64_t failing,
            db.value("SELECT count(*) FROM destinations WHERE place <> '' AND failing_ms <> 0"));
        if (failing < kEverywhereLeast) return false;
    }
    TRY(usual, baseline(db, place.name, to_unix_ms(now) / kDayMs));
    const std::uint64_t least = place.waiting == 0 ? 0 : kStoppedRecipients;
    return has_stopped(usual, now - place.failing, tries, std::max(place.recipients, least));
}

Result<bool> look_at(Tx& tx, const Place& place) {
    Connection& db = context_of(tx).db;
    Baseline usual;
    TRY(const bool stopped, is_stopped(db, place, tx.now(), usual));
    if (!stopped) return false;
    Refusal refusal;
    refusal.count = place.tries;
    refusal.reply = fmt::format(
        "nothing got through since {}, in {} tries for about {} recipients{}; on {} of the last {} days {} did",
        format_rfc3339(place.failing), place.tries, place.recipients,
        place.waiting == 0 ? "" : fmt::format(", and {} wait since no host there can be reached", place.waiting),
        usual.days, kBaselineDays, usual.delivered);
    TRY(const Incident incident, IncidentTx(tx).note(key_of(place), refusal));
    TRY_VOID(tell(tx, EventKind::stopped, place, describe(incident) + ": " + refusal.reply));
    TRY_VOID(db.query("UPDATE destinations SET incident = ?2 WHERE place = ?1").bind(place.name, incident.id).run());
    return true;
}

Result<> end(Tx& tx, const Place& place) {
    Connection& db = context_of(tx).db;
    const auto cleared = IncidentTx(tx).clear(place.incident, "mail arrives there again");
    // Said to be over by hand, or forgotten.
    const bool is_over =
        !cleared && (cleared.error().code == Errc::conflict || cleared.error().code == Errc::not_found);
    if (!cleared && !is_over) return Error(cleared.error());
    TRY_VOID(tell(tx, EventKind::resumed, place,
                  fmt::format("mail to {} arrives again", place.name.empty() ? "the world" : place.name)));
    return db.query("UPDATE destinations SET incident = 0 WHERE place = ?1").bind(place.name).run();
}

Result<std::vector<Place>> candidates(Connection& db, Time now) {
    return places(db.query("SELECT " PLACE_COLUMNS
                           " FROM destinations WHERE failing_ms <> 0 AND failing_ms <= ?1 AND incident = 0 ORDER BY "
                           "place")
                      .bind(now - kStoppedLeast));
}

// Those that were written to least lately, and the baselines of places that are not known any more.
Result<> forget_places(Connection& db, std::int64_t today) {
    TRY(const std::int64_t count, db.value("SELECT count(*) FROM destinations"));
    if (count > kPlacesMax) {
        TRY_VOID(
            db.query("DELETE FROM destinations WHERE place IN (SELECT place FROM destinations WHERE incident = 0 AND "
                     "place <> '' ORDER BY max(ok_ms, failing_ms) LIMIT ?1)")
                .bind(count - kPlacesMax)
                .run());
    }
    return db
        .query(
            "DELETE FROM place_days WHERE day < ?1 OR NOT EXISTS (SELECT 1 FROM destinations d WHERE d.place = "
            "place_days.place)")
        .bind(today - kBaselineDays)
        .run();
}

}  // namespace

std::string place_of(const EventFacts& facts, const std::string& destination) {
    if (facts.provider.empty()) return facts.way == "direct" ? destination : std::string(kWayMark) + facts.way;
    return facts.provider == "other" ? destination : facts.provider;
}

bool has_stopped(const Baseline& usual, Milliseconds failing_for, std::uint64_t tries, std::uint64_t recipients) {
    if (usual.days < kBaselineDaysLeast || usual.delivered < kBaselineDeliveriesLeast) return false;
    if (recipients < kStoppedRecipients) return false;
    const double a_day = static_cast<double>(usual.delivered) / static_cast<double>(usual.days);
    const auto gaps = Milliseconds(static_cast<std::int64_t>(kUsualGaps * static_cast<double>(kDayMs) / a_day));
    if (failing_for < std::clamp(gaps, kStoppedLeast, kStoppedMost)) return false;
    const double passes = static_cast<double>(usual.delivered) / static_cast<double>(usual.tried);
    return std::pow(1 - passes, static_cast<double>(tries)) < kStoppedChance;
}

Result<DestinationsSeen> watch_destinations(Tx& tx, const DestinationsDue& due) {
    Connection& db = context_of(tx).db;
    DestinationsSeen out;
    TRY(const auto over, places(db.query("SELECT " PLACE_COLUMNS
                                         " FROM destinations WHERE incident <> 0 AND failing_ms = 0 ORDER BY place")));
    for (const Place& place : over) {
        TRY_VOID(end(tx, place));
        ++out.resumed;
    }
    TRY(const auto failing, candidates(db, tx.now()));
    for (Place place : failing) {
        const auto meant = std::ranges::find(due.stopped, place.name, &DestinationsDue::Stopped::place);
        if (meant == due.stopped.end()) continue;
        place.waiting = meant->waiting;
        TRY(const bool stopped, look_at(tx, place));
        if (!stopped) continue;
        ++out.stopped;
        // Where nothing gets out at all, one word is enough: "" stands first.
        if (place.name.empty()) break;
    }
    TRY_VOID(db.query("DELETE FROM destinations WHERE max(ok_ms, failing_ms) < ?1 AND incident = 0")
                 .bind(tx.now() - kPlaceKept)
                 .run());
    TRY_VOID(forget_places(db, to_unix_ms(tx.now()) / kDayMs));
    return out;
}

Result<DestinationsDue> destinations_due(Store& store, Time now) {
    return store.read([now](const Snapshot& snapshot) -> Result<DestinationsDue> {
        Connection& db = context_of(snapshot).db;
        DestinationsDue out;
        {
            Query q = db.query(
                "SELECT 1 FROM destinations WHERE (incident <> 0 AND failing_ms = 0) OR (incident = 0 AND max(ok_ms, "
                "failing_ms) < ?1) LIMIT 1");
            TRY(out.others, q.bind(now - kPlaceKept).row());
        }
        const std::int64_t today = to_unix_ms(now) / kDayMs;
        if (!out.others) {
            Query q = db.query(
                "SELECT (SELECT count(*) FROM destinations) > ?1 OR EXISTS (SELECT 1 FROM place_days WHERE day < ?2)");
            TRY_VOID(q.bind(kPlacesMax, today - kBaselineDays).row());
            out.others = q.flag(0);
        }
        {
            Query q = db.query("SELECT count(*) FROM report_rows WHERE day = ?1");
            TRY_VOID(q.bind(today).row());
            out.rows = q.i64(0);
        }
        Query q = db.query("SELECT 1 FROM destinations WHERE place = '' AND incident <> 0");
        TRY(const bool everywhere, q.row());
        if (everywhere) return out;  // told already, and of all at once
        TRY(auto failing, candidates(db, now));
        if (failing.empty()) return out;
        TRY(const Waiting waiting, who_waits(db));
        for (Place& place : failing) {
            if (const auto known = waiting.find(place.name); known != waiting.end()) {
                place.waiting = known->second.size();
            }
            Baseline usual;
            TRY(const bool stopped, is_stopped(db, place, now, usual));
            if (stopped) out.stopped.push_back({place.name, place.waiting});
        }
        return out;
    });
}

}  // namespace posthouse::storage
