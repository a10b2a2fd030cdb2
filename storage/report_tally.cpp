#include "storage/report_tally.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/destinations.h"
#include "storage/report.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;

std::optional<Figure> figure_of(EventKind kind) {
    switch (kind) {
        case EventKind::queued: return Figure::sent;
        case EventKind::attempted: return Figure::put_off;
        case EventKind::delivered: return Figure::delivered;
        case EventKind::bounced: return Figure::bounced;
        case EventKind::held: return Figure::held;
        case EventKind::released: return Figure::released;
        case EventKind::cancelled: return Figure::cancelled;
        case EventKind::complained: return Figure::complained;
        case EventKind::suppressed: return Figure::suppressed;
        default: return std::nullopt;
    }
}

std::string destination_of(std::string_view recipient) {
    const std::size_t at = recipient.rfind('@');
    return at == std::string_view::npos ? std::string() : ascii::to_lower(recipient.substr(at + 1));
}

Result<std::int64_t> find_row(Connection& db, const ReportKey& key) {
    Query q = db.query(
        "SELECT id FROM report_rows WHERE day = ?1 AND who = ?2 AND domain = ?3 AND destination = ?4 AND "
        "provider = ?5 AND way = ?6 AND source = ?7");
    q.bind(key.day, key.who, key.domain, key.destination, key.provider, key.way, key.source);
    TRY(const bool found, q.row());
    return found ? q.i64(0) : std::int64_t{0};
}

Result<> recount(Connection& db, std::int64_t day, ReportRowCount& known) {
    if (known.day == day) return {};
    Query q = db.query("SELECT count(*) FROM report_rows WHERE day = ?1");
    TRY_VOID(q.bind(day).row());
    known.day = day;
    known.rows = q.i64(0);
    return {};
}

void tell_full(std::int64_t day, ReportRowCount& known) {
    if (known.told_day == day) return;
    known.told_day = day;
    log::warn("storage",
              "the figures of {} tell {} rows apart, and no more: what comes beyond counts together as \"{}\"",
              format_rfc3339(from_unix_ms(day * kDayMs)).substr(0, 10), kReportRowsADay, kOthers);
}

struct TakenRow {
    std::int64_t id = 0;
    bool among_others = false;  ///< its destination is not told apart
};

/// The row of the key, or of what it is counted under where the day is full.
Result<TakenRow> take_row(Connection& db, ReportKey key, ReportRowCount& known) {
    TRY_VOID(recount(db, key.day, known));
    bool among_others = false;
    for (const std::int64_t most : {kReportRowsADay, kReportRowsADay + kReportRowsADay / 2, std::int64_t{0}}) {
        TRY(const std::int64_t id, find_row(db, key));
        if (id != 0) return TakenRow(id, among_others);
        if (known.rows < most || most == 0) break;
        if (most == kReportRowsADay) {
            tell_full(key.day, known);
            key.destination = kOthers;
            among_others = true;
        } else {
            key.who = kOthers;
            key.domain = kOthers;
        }
    }
    TRY_VOID(db.query("INSERT INTO report_rows (day, who, domain, destination, provider, way, source) "
                      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                 .bind(key.day, key.who, key.domain, key.destination, key.provider, key.way, key.source)
                 .run());
    ++known.rows;
    return TakenRow(db.last_id(), among_others);
}

/// What the baseline of a place is made of, where its own figures are not told apart.
Result<> note_place_day(Connection& db, const ReportKey& key, const ReportTally::Cells& cells) {
    EventFacts facts;
    facts.provider = key.provider;
    facts.way = key.way.substr(0, key.way.find(kRouteMark));
    if (key.way.empty() || place_of(facts, key.destination) != key.destination) return {};
    std::int64_t delivered = 0;
    std::int64_t tried = 0;
    for (const auto& [cell, n] : cells) {
        const bool is_delivered = cell.first == static_cast<int>(Figure::delivered);
        const bool is_tried =
            cell.first == static_cast<int>(Figure::put_off) || cell.first == static_cast<int>(Figure::bounced);
        if (is_delivered) delivered += n;
        if (is_delivered || is_tried) tried += n;
    }
    if (tried == 0) return {};
    return db
        .query(
            "INSERT INTO place_days (place, day, delivered, tried) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (place, day) "
            "DO UPDATE SET delivered = delivered + excluded.delivered, tried = tried + excluded.tried")
        .bind(key.destination, key.day, delivered, tried)
        .run();
}

/// A refusal that says nothing of the place: of this recipient, or of this message.
bool is_of_recipient(std::string_view reply_class) {
    constexpr std::string_view kClasses[] = {"recipient-unknown", "recipient-disabled", "recipient-policy",
                                             "domain-no-mail",    "mailbox-full",       "too-big",
                                             "content",           "sender-fault",       "loop"};
    return std::ranges::find(kClasses, reply_class) != std::end(kClasses);
}

/// Not written for each delivery: a quarter of an hour is near enough.
constexpr std::int64_t kOkGrainMs = 900'000;

Result<> write_place(Connection& db, const std::string& place, const Passage& later) {
    Passage now;
    bool is_known = false;
    {
        Query q = db.query("SELECT ok_ms, failing_ms, tries, recipients FROM destinations WHERE place = ?1");
        TRY(is_known, q.bind(place).row());
        if (is_known) {
            now.ok = q.time(0);
            now.failing = q.time(1);
            now.tries = q.u64(2);
            now.recipients = Distinct::of(q.view(3));
        }
    }
    const bool only_passed = later.failing == Time{} && now.failing == Time{};
    if (is_known && only_passed && (later.ok - now.ok).count() < kOkGrainMs) return {};
    now.follow(later);
    const std::string sketch = now.recipients.octets();
    return db
        .query(
            "INSERT INTO destinations (place, ok_ms, failing_ms, tries, recipients) VALUES (?1, ?2, ?3, ?4, ?5) "
            "ON CONFLICT (place) DO UPDATE SET ok_ms = excluded.ok_ms, failing_ms = excluded.failing_ms, tries = "
            "excluded.tries, recipients = excluded.recipients")
        .bind(place, now.ok, now.failing, now.tries, Blob(sketch))
        .run();
}

}  // namespace

void Passage::passed(Time at) {
    *this = Passage();
    ok = at;
}

void Passage::refused(Time at, std::string_view recipient) {
    if (failing == Time{}) failing = at;
    ++tries;
    recipients.add(recipient);
}

void Passage::follow(const Passage& later) {
    if (later.ok != Time{}) {
        *this = later;
        return;
    }
    if (failing == Time{}) failing = later.failing;
    tries += later.tries;
    recipients.merge(later.recipients);
}

bool begins_life(EventKind kind) {
    return kind == EventKind::queued || kind == EventKind::complained || kind == EventKind::suppressed;
}

void ReportTally::count(const CountedEvent& event, const EventFacts& facts) {
    const auto figure = figure_of(event.kind);
    if (!figure) return;
    ReportKey key;
    key.day = to_unix_ms(event.at) / kDayMs;
    key.who = facts.who;
    key.domain = facts.domain;
    key.destination = destination_of(event.recipient);
    key.provider = facts.provider;
    key.way = facts.way;
    if (!facts.way.empty() && !facts.route.empty()) key.way += kRouteMark + facts.route;
    key.source = facts.source;
    note_place(event, facts, key.destination);
    Cells& cells = rows_[std::move(key)];
    ++cells[Cell(static_cast<int>(*figure), *figure == Figure::bounced ? facts.reply_class : std::string())];
    if (facts.has(kFirstTry)) ++cells[Cell(static_cast<int>(Figure::tried), "")];
    if (*figure == Figure::put_off && event.is_first_delay) ++cells[Cell(static_cast<int>(Figure::delayed), "")];
    if (*figure == Figure::delivered && event.accepted) {
        const std::size_t bucket = TimeHistogram::bucket_of(event.at - *event.accepted);
        ++cells[Cell(kTimesFrom + static_cast<int>(bucket), "")];
    }
}

void ReportTally::note_place(const CountedEvent& event, const EventFacts& facts, const std::string& destination) {
    const bool passed = event.kind == EventKind::delivered;
    const bool refused = event.kind == EventKind::attempted || event.kind == EventKind::bounced;
    if (facts.way.empty() || (!passed && !refused) || (refused && is_of_recipient(facts.reply_class))) return;
    for (const std::string& place : {place_of(facts, destination), std::string()}) {
        if (passed) {
            places_[place].passed(event.at);
        } else {
            places_[place].refused(event.at, event.recipient);
        }
    }
}

void ReportTally::merge(ReportTally&& other) {
    rows_.merge(other.rows_);  // what is left there is known here
    for (const auto& [key, cells] : other.rows_) {
        Cells& mine = rows_.at(key);
        for (const auto& [cell, n] : cells) mine[cell] += n;
    }
    places_.merge(other.places_);
    for (const auto& [place, passage] : other.places_) places_.at(place).follow(passage);
}

Result<> write_tally(Connection& db, const ReportTally& tally, ReportRowCount& known, Others others) {
    for (const auto& [key, cells] : tally.rows()) {
        TRY(const TakenRow row, take_row(db, key, known));
        if (row.among_others && others == Others::counted) TRY_VOID(note_place_day(db, key, cells));
        Query add = db.query(
            "INSERT INTO report_counts (row, what, class, n) VALUES (?1, ?2, ?3, ?4) "
            "ON CONFLICT (row, what, class) DO UPDATE SET n = n + excluded.n");
        for (const auto& [cell, n] : cells) {
            add.reset();
            TRY_VOID(add.bind(row.id, cell.first, cell.second, n).run());
        }
    }
    for (const auto& [place, passage] : tally.places()) TRY_VOID(write_place(db, place, passage));
    return {};
}

}  // namespace posthouse::storage
