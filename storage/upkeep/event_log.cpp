#include "storage/upkeep/event_log.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <vector>

#include "storage/context.h"
#include "storage/streams.h"
#include "storage/takers.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kStep = 500;  // rows, or messages, a transaction
constexpr std::int64_t kBucketEvents = 4096;
constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kFirstRow = std::numeric_limits<std::int64_t>::min();  // a hash may be below zero

struct Batch {
    std::vector<std::int64_t> ids;
    std::int64_t last = 0;     ///< looked at up to here
    bool reached_end = false;  ///< what follows is younger, or there is nothing
};

/// Old messages behind `after` that are not in the queue. Their numbers grow with time: the first young one ends it.
Result<Batch> old_messages(const Snapshot& snapshot, std::int64_t after, Time before) {
    Batch out;
    out.last = after;
    Query q = context_of(snapshot).db.query(
        "SELECT v.message, min(v.at_ms), max(v.at_ms), EXISTS (SELECT 1 FROM events w JOIN queue_items i ON i.id = "
        "w.queue WHERE w.message = v.message) FROM events v WHERE v.message > ?1 GROUP BY v.message ORDER BY v.message "
        "LIMIT ?2");
    q.bind(after, kStep);
    std::int64_t looked = 0;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        if (q.time(1) >= before) {
            out.reached_end = true;
            return out;
        }
        ++looked;
        out.last = q.i64(0);
        if (q.time(2) < before && !q.flag(3)) out.ids.push_back(q.i64(0));
    }
    out.reached_end = looked < kStep;
    return out;
}

Result<> note_whole_from(Connection& db, Time before) {
    const std::int64_t day = to_unix_ms(before) / kDayMs + 1;
    return db
        .query(
            "INSERT INTO counters VALUES ('events_from_day', ?1) ON CONFLICT (name) DO UPDATE SET value = "
            "max(value, excluded.value)")
        .bind(day)
        .run();
}

/// Rows of one table in order of their key, and which of them go.
struct Hanger {
    /// (id, whether it goes) of rows behind ?1, ?2 of them; ?3: today.
    Query (*look)(Connection& db);
    Query (*drop)(Connection& db);
};

constexpr Hanger kHangers[] = {
    {[](Connection& db) {
         return db.query(
             "SELECT n.message, ?3 > 0 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.message = n.message) FROM "
             "submission_notes n WHERE n.message > ?1 ORDER BY n.message LIMIT ?2");
     },
     [](Connection& db) { return db.query("DELETE FROM submission_notes WHERE message = ?1"); }},
    {[](Connection& db) {
         return db.query("SELECT id, last_day < ?3 - 730 FROM stream_recipients WHERE id > ?1 ORDER BY id LIMIT ?2");
     },
     [](Connection& db) { return db.query("DELETE FROM stream_recipients WHERE id = ?1"); }},
    {[](Connection& db) {
         return db.query("SELECT hash, last_day < ?3 - 180 FROM takers WHERE hash > ?1 ORDER BY hash LIMIT ?2");
     },
     [](Connection& db) { return db.query("DELETE FROM takers WHERE hash = ?1"); }}};
static_assert(kTokenDays == 730 && kTakerDays == 180);
constexpr int kFirstHanger = 4;
constexpr std::int64_t kHangersAStep = 5'000;

/// The next of them; what goes is looked for beside the writers.
Result<Batch> next_hangers(const Snapshot& snapshot, const Hanger& hanger, std::int64_t after, std::int64_t today) {
    Batch out;
    out.last = after;
    Query q = hanger.look(context_of(snapshot).db);
    q.bind(after, kHangersAStep, today);
    std::int64_t looked = 0;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        ++looked;
        out.last = q.i64(0);
        if (q.flag(1)) out.ids.push_back(q.i64(0));
    }
    out.reached_end = looked < kHangersAStep;
    return out;
}

}  // namespace

Result<std::uint64_t> LogTrimmer::drop_hangers_on(std::int64_t today, bool& more) {
    const Hanger& hanger = kHangers[stage_ - kFirstHanger];
    TRY(const Batch batch,
        store_.read([&](const Snapshot& snapshot) { return next_hangers(snapshot, hanger, row_, today); }));
    if (!batch.ids.empty()) {
        TRY_VOID(store_.write({}, [&](Tx& tx) -> Result<> {
            for (const std::int64_t id : batch.ids) TRY_VOID(hanger.drop(context_of(tx).db).bind(id).run());
            return {};
        }));
    }
    row_ = batch.last;
    more = true;
    if (batch.reached_end) {
        row_ = kFirstRow;
        ++stage_;
    }
    if (stage_ == kFirstHanger + static_cast<int>(std::size(kHangers))) {
        stage_ = 0;
        more = false;
    }
    return static_cast<std::uint64_t>(batch.ids.size());
}

Result<std::uint64_t> LogTrimmer::step(const LogLimits& limits, Time now, bool& more) {
    more = true;
    const Time before = now - Milliseconds(limits.event_days * kDayMs);
    const bool keeps_all = limits.event_days == 0;
    switch (stage_) {
        case 0:
            if (!keeps_all) return drop_messages(before, more);
            stage_ = 3;
            return std::uint64_t{0};
        case 1: return drop_loose(before, more);
        case 2: return drop_keys(more);
        case 3:
            if (limits.report_days != 0) return drop_figures(to_unix_ms(now) / kDayMs - limits.report_days, more);
            ++stage_;
            return std::uint64_t{0};
        default: return drop_hangers_on(to_unix_ms(now) / kDayMs, more);
    }
}

Result<std::uint64_t> LogTrimmer::drop_messages(Time before, bool& more) {
    TRY(const Batch batch,
        store_.read([&](const Snapshot& snapshot) { return old_messages(snapshot, message_, before); }));
    std::uint64_t gone = 0;
    if (!batch.ids.empty()) {
        TRY_VOID(store_.write({}, [&](Tx& tx) -> Result<> {
            Connection& db = context_of(tx).db;
            for (const std::int64_t id : batch.ids) {
                TRY_VOID(db.query("DELETE FROM events WHERE message = ?1").bind(id).run());
                gone += static_cast<std::uint64_t>(db.changes());
            }
            return note_whole_from(db, before);
        }));
    }
    message_ = batch.last;
    if (batch.reached_end) {
        message_ = 0;
        ++stage_;
    }
    more = true;
    return gone;
}

Result<std::uint64_t> LogTrimmer::drop_loose(Time before, bool& more) {
    more = true;
    TRY(const std::int64_t until, store_.read([&](const Snapshot& snapshot) -> Result<std::int64_t> {
        Query q = context_of(snapshot).db.query("SELECT id, at_ms FROM events WHERE message = 0 ORDER BY id LIMIT ?1");
        q.bind(kStep);
        std::int64_t last = 0;
        for (;;) {
            TRY(const bool found, q.row());
            if (!found || q.time(1) >= before) return last;
            last = q.i64(0);
        }
    }));
    if (until == 0) {
        ++stage_;
        return std::uint64_t{0};
    }
    return store_.write_value({}, [&](Tx& tx) -> Result<std::uint64_t> {
        Connection& db = context_of(tx).db;
        TRY_VOID(db.query("DELETE FROM events WHERE message = 0 AND id <= ?1").bind(until).run());
        const auto gone = static_cast<std::uint64_t>(db.changes());
        TRY_VOID(note_whole_from(db, before));
        return gone;
    });
}

// A bucket goes when none of its events is left.
Result<std::uint64_t> LogTrimmer::drop_keys(bool& more) {
    more = true;
    std::int64_t bucket = -1;
    bool is_used = false;
    TRY_VOID(store_.read([&](const Snapshot& snapshot) -> Result<> {
        Connection& db = context_of(snapshot).db;
        Query q = db.query("SELECT bucket FROM event_keys WHERE bucket > ?1 ORDER BY bucket LIMIT 1");
        TRY(const bool found, q.bind(bucket_).row());
        if (!found) return {};
        bucket = q.i64(0);
        Query used = db.query("SELECT 1 FROM events INDEXED BY events_by_id WHERE id >= ?1 AND id < ?2 LIMIT 1");
        TRY(is_used, used.bind(bucket * kBucketEvents, (bucket + 1) * kBucketEvents).row());
        return {};
    }));
    if (bucket < 0) {
        bucket_ = -1;
        ++stage_;
        return std::uint64_t{0};
    }
    bucket_ = bucket;
    if (is_used) return std::uint64_t{0};
    return store_.write_value({}, [&](Tx& tx) -> Result<std::uint64_t> {
        Connection& db = context_of(tx).db;
        // An event may have come since it was looked at.
        TRY_VOID(db.query("DELETE FROM event_keys WHERE bucket = ?1 AND NOT EXISTS (SELECT 1 FROM events INDEXED BY "
                          "events_by_id WHERE id >= ?2 AND id < ?3)")
                     .bind(bucket, bucket * kBucketEvents, (bucket + 1) * kBucketEvents)
                     .run());
        return static_cast<std::uint64_t>(db.changes());
    });
}

Result<std::uint64_t> LogTrimmer::drop_figures(std::int64_t before_day, bool& more) {
    TRY(const bool some, store_.read([&](const Snapshot& snapshot) {
        return context_of(snapshot).db.query("SELECT 1 FROM report_rows WHERE day < ?1 LIMIT 1").bind(before_day).row();
    }));
    more = true;
    if (!some) {
        ++stage_;
        row_ = kFirstRow;
        return std::uint64_t{0};
    }
    return store_.write_value({}, [&](Tx& tx) -> Result<std::uint64_t> {
        Connection& db = context_of(tx).db;
        TRY_VOID(db.query("DELETE FROM report_counts WHERE row IN (SELECT id FROM report_rows WHERE day < ?1 "
                          "ORDER BY day LIMIT ?2)")
                     .bind(before_day, kStep)
                     .run());
        TRY_VOID(db.query("DELETE FROM report_rows WHERE id IN (SELECT id FROM report_rows WHERE day < ?1 "
                          "ORDER BY day LIMIT ?2)")
                     .bind(before_day, kStep)
                     .run());
        return static_cast<std::uint64_t>(db.changes());
    });
}

}  // namespace posthouse::storage
