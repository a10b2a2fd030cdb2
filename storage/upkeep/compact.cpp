// Job "compact". One segment at a time:
//
//   copy the living into DATA/tmp -> take a number -> sync -> row of the new segment, all of it dead -> rename, sync
//   of the directory -> rows of messages in steps, each moving octets from living to dead here and the other way there
//   -> nobody lies in the old one: file away, row away
//
// A death between any two steps leaves segments whose dead octets are counted right; a segment that is all dead is
// removed at the next start, before anything else.
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <span>

#include "protocols/base/log.h"
#include "storage/fail_point.h"
#include "storage/settings.h"
#include "storage/upkeep/copier.h"
#include "storage/upkeep/segment_files.h"
#include "storage/upkeep/upkeep.h"

namespace posthouse::storage {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMoveStep = 200;  // rows a transaction
constexpr auto kRest = 60s;
constexpr auto kLockedRest = 10s;
constexpr auto kSweepEvery = 24h;
constexpr const char* kTmpName = "compact";

struct SegmentRow {
    std::int64_t id = 0;
    std::uint64_t octets = 0;
    std::uint64_t dead = 0;
    std::uint64_t records() const { return octets > kFileHeaderOctets ? octets - kFileHeaderOctets : 0; }
    bool all_dead() const { return dead >= records(); }
};

struct Picture {
    std::vector<SegmentRow> sealed;
    std::uint64_t dead = 0;  ///< of all segments
    std::uint64_t dead_percent = 50;
    double octets_per_second = 1;
};

Result<Picture> look(Store& store) {
    return store.read([](const Snapshot& snapshot) -> Result<Picture> {
        Picture out;
        TRY(const std::int64_t percent, setting_number(snapshot.catalog(), "compact.dead_percent"));
        TRY(const std::int64_t rate, setting_number(snapshot.catalog(), "compact.octets_per_second"));
        out.dead_percent = static_cast<std::uint64_t>(percent);
        out.octets_per_second = static_cast<double>(rate);
        Query q = context_of(snapshot).db.query("SELECT id, octets, dead_octets, sealed FROM segments ORDER BY id");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            out.dead += q.u64(2);
            if (q.flag(3)) out.sealed.push_back(SegmentRow{q.i64(0), q.u64(1), q.u64(2)});
        }
    });
}

/// The file in DATA/tmp while it is filled; gone at the end unless it was given its place.
class NewFile {
 public:
    explicit NewFile(const Directory& directory) : directory_(directory) {}
    ~NewFile() {
        if (file_) static_cast<void>(::unlinkat(directory_.tmp().get(), kTmpName, 0));
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    Result<> open() {
        // One server, one compactor: what is there is a leftover.
        static_cast<void>(::unlinkat(directory_.tmp().get(), kTmpName, 0));
        TRY(file_, open_beneath(directory_.tmp(), kTmpName, O_RDWR | O_CREAT | O_EXCL));
        return {};
    }
    /// Onto the empty file that holds its number.
    Result<> put_in_place(std::int64_t number) {
        if (::renameat(directory_.tmp().get(), kTmpName, directory_.segments().get(), segment_name(number).c_str()) !=
            0) {
            return system_error(errno, "cannot move a compacted segment into its place");
        }
        file_ = Descriptor();
        return sync_directory(directory_.segments());
    }
    const Descriptor& file() const { return file_; }

 private:
    const Directory& directory_;
    Descriptor file_;
};

class CompactJob final : public Job {
 public:
    CompactJob(Store& store, Metrics& metrics)
        : store_(store),
          compacted_(metrics.counter("compacted_octets_total", "Octets of segments that were rewritten or removed")),
          dead_(metrics.gauge("segments_dead_octets", "Octets in segments that no message needs any more")),
          pace_([this] { return stopping(); }) {}

    std::string_view name() const override { return "compact"; }

    Result<std::chrono::milliseconds> step() override {
        TRY_VOID(sweep());
        TRY(const Picture picture, look(store_));
        dead_.set(static_cast<std::int64_t>(picture.dead));
        for (const SegmentRow& row : picture.sealed) {
            const bool worth = row.dead * 100 >= row.records() * picture.dead_percent;
            if (!worth || left_alone_.contains(row.id)) continue;
            if (stopping()) return kRest;
            Result<Removal> done =
                row.all_dead() ? remove_segment(store_, row.id, row.octets) : compact(row, picture.octets_per_second);
            if (!done && done.error().code == Errc::cancelled) return kRest;
            if (!done && done.error().code != Errc::corrupt) return Error(done.error());
            if (!done || *done == Removal::used) {
                leave_alone(row, done ? "messages lie in it that it does not count" : done.error().context);
                continue;
            }
            if (*done == Removal::locked) return kLockedRest;  // a backup or a check
            compacted_.add(static_cast<std::int64_t>(row.octets));
            return 0ms;
        }
        return kRest;
    }

 private:
    /// At the start, and each day.
    Result<> sweep() {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_sweep_) return {};
        TRY_VOID(sweep_leftovers(store_));
        next_sweep_ = now + kSweepEvery;
        return {};
    }

    void leave_alone(const SegmentRow& row, std::string_view why) {
        left_alone_.insert(row.id);
        log::error("storage", "segment {} is not compacted: {}; run posthouse fsck", row.id, why);
    }

    Result<Removal> compact(const SegmentRow& old, double octets_per_second) {
        const Directory& directory = directory_of(store_);
        {
            // Not worth the copying while a backup or a check keeps the segments.
            TRY(const std::optional<Descriptor> lock, lock_segments(directory));
            if (!lock) return Removal::locked;
        }
        TRY_VOID(store_.check_room(old.records() - old.dead));
        NewFile fresh(directory);
        TRY_VOID(fresh.open());
        Copier copier(store_, pace_, octets_per_second);
        TRY_VOID(copier.copy(old.id, old.octets, fresh.file()));
        POSTHOUSE_FAIL_POINT("compact-filled");
        if (!copier.moves().empty()) {
            TRY(const std::optional<std::int64_t> number, place(fresh, copier.end()));
            if (!number) return Removal::locked;
            TRY_VOID(move_rows(old.id, *number, copier.moves()));
            POSTHOUSE_FAIL_POINT("compact-moved");
            log::info("storage", "segment {} of {} KiB is compacted into segment {} of {} KiB", old.id,
                      old.octets >> 10U, *number, copier.end() >> 10U);
        }
        return remove_segment(store_, old.id, old.octets);
    }

    /// Gives the new file its number, its row and its place, unseen by any backup or check; nothing where one runs.
    Result<std::optional<std::int64_t>> place(NewFile& fresh, std::uint64_t end) {
        const Directory& directory = directory_of(store_);
        TRY(const std::optional<Descriptor> lock, lock_segments(directory));
        if (!lock) return std::optional<std::int64_t>();
        TRY(const std::int64_t number, reserve_segment(store_));
        POSTHOUSE_FAIL_POINT("compact-reserved");
        const Result<> placed = place_as(fresh, number, end);
        if (!placed) {
            // With its row it is a dead segment, which the next step removes; without, an empty file.
            next_sweep_ = {};
            return Error(placed.error());
        }
        return std::optional(number);
    }

    Result<> place_as(NewFile& fresh, std::int64_t number, std::uint64_t end) {
        TRY_VOID(write_at(fresh.file(), 0, format_file_header(static_cast<std::uint32_t>(number))));
        TRY_VOID(sync_data(fresh.file()));
        POSTHOUSE_FAIL_POINT("compact-synced");
        TRY_VOID(store_.write({}, [number, end](Tx& tx) {
            return context_of(tx)
                .db.query("INSERT INTO segments (id, octets, dead_octets, sealed) VALUES (?1, ?2, ?3, 1)")
                .bind(number, end, end - kFileHeaderOctets)
                .run();
        }));
        POSTHOUSE_FAIL_POINT("compact-row");
        TRY_VOID(fresh.put_in_place(number));
        POSTHOUSE_FAIL_POINT("compact-renamed");
        return {};
    }

    Result<> move_rows(std::int64_t from, std::int64_t to, std::span<const Move> moves) {
        for (std::size_t at = 0; at < moves.size(); at += kMoveStep) {
            if (pace_.stopping()) return Error(Errc::cancelled, "the compaction was asked to stop");
            const auto step = moves.subspan(at, std::min(kMoveStep, moves.size() - at));
            TRY_VOID(store_.write({}, [&](Tx& tx) { return move_step(context_of(tx).db, from, to, step); }));
            POSTHOUSE_FAIL_POINT("compact-moving");
        }
        return {};
    }

    /// A message that was dropped meanwhile is passed over: its copy stays counted as dead.
    static Result<> move_step(Connection& db, std::int64_t from, std::int64_t to, std::span<const Move> moves) {
        std::uint64_t died = 0;
        std::uint64_t revived = 0;
        Query q = db.query(
            "UPDATE messages SET segment = ?3, position = ?4, stored_octets = ?5 WHERE id = ?1 AND segment = ?2 AND "
            "position = ?6");
        for (const Move& move : moves) {
            q.reset();
            TRY_VOID(q.bind(move.message, from, to, move.new_position, move.new_payload, move.old_position).run());
            if (db.changes() == 0) continue;
            died += move.old_payload + kRecordHeaderOctets;
            revived += move.new_payload + kRecordHeaderOctets;
        }
        TRY_VOID(db.query("UPDATE segments SET dead_octets = dead_octets + ?2 WHERE id = ?1").bind(from, died).run());
        return db.query("UPDATE segments SET dead_octets = dead_octets - ?2 WHERE id = ?1").bind(to, revived).run();
    }

    Store& store_;
    Metrics::Value& compacted_;
    Metrics::Value& dead_;
    Pace pace_;
    std::chrono::steady_clock::time_point next_sweep_{};
    std::set<std::int64_t> left_alone_;  ///< damaged ones, until the next start
};

}  // namespace

std::unique_ptr<Job> make_compact_job(Store& store, Metrics& metrics) {
    return std::make_unique<CompactJob>(store, metrics);
}

}  // namespace posthouse::storage
