#include "storage/backup/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "storage/context.h"

namespace posthouse::storage::backup {
namespace {

constexpr int kStepPages = 2048;
constexpr std::uint64_t kCacheOctets = 2ULL * 1024 * 1024;
// Octets 18 and 19 of a database say 2 for WAL (SQLite file format 1.3.3); 1 needs no files beside it.
constexpr std::uint64_t kJournalModeAt = 18;
constexpr std::string_view kRollbackJournal{"\1\1", 2};

struct CloseDatabase {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};

Result<> copy_pages(Connection& source, const std::string& path, const Watch& watch) {
    sqlite3* opened = nullptr;
    const int rc = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    const std::unique_ptr<sqlite3, CloseDatabase> target(opened);
    // Open files live without a name: a kill leaves nothing behind.
    static_cast<void>(::unlink(path.c_str()));
    if (rc != SQLITE_OK) return Error(Errc::io, fmt::format("cannot open {}: {}", path, sqlite3_errstr(rc)));
    // What is cut short is thrown away: nothing has to be undone or synced.
    sqlite3_exec(opened, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-4096;", nullptr, nullptr,
                 nullptr);
    sqlite3_backup* const backup = sqlite3_backup_init(opened, "main", source.handle(), "main");
    if (backup == nullptr) return Error(Errc::io, fmt::format("cannot copy mail.db: {}", sqlite3_errmsg(opened)));
    int step = SQLITE_OK;
    Result<> stopped;
    while (stopped && step == SQLITE_OK) {
        step = sqlite3_backup_step(backup, kStepPages);
        const auto total = static_cast<std::uint64_t>(sqlite3_backup_pagecount(backup));
        const auto left = static_cast<std::uint64_t>(sqlite3_backup_remaining(backup));
        watch.show(total - left, total, "mail.db: taking a snapshot");
        stopped = watch.check();
    }
    const int finished = sqlite3_backup_finish(backup);
    if (!stopped) return stopped;
    if (step == SQLITE_FULL || finished == SQLITE_FULL) {
        return Error(Errc::no_space, "there is no room beside the store for a copy of mail.db: make room on its disk");
    }
    if (step != SQLITE_DONE || finished != SQLITE_OK) {
        return Error(Errc::io, fmt::format("cannot copy mail.db: {}", sqlite3_errstr(step)));
    }
    return {};
}

Result<> read_facts(Connection& db, DatabaseSnapshot& out) {
    TRY(const std::int64_t schema, db.value("PRAGMA user_version"));
    out.schema = static_cast<int>(schema);
    TRY(const std::int64_t accounts, db.value("SELECT count(*) FROM accounts"));
    out.accounts = static_cast<std::uint64_t>(accounts);
    // The counters of the mailboxes: counting the rows of a large store would take longer than copying it.
    {
        Query q = db.query("SELECT count(*), coalesce(sum(messages), 0), coalesce(sum(octets), 0) FROM mailboxes");
        TRY_VOID(q.row());
        out.mailboxes = q.u64(0);
        out.messages = q.u64(1);
        out.message_octets = q.u64(2);
    }
    Query q = db.query("SELECT id, octets, sealed FROM segments ORDER BY id");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        out.segments.push_back(SegmentRow{q.i64(0), q.u64(1), q.flag(2)});
    }
}

Result<> need_room(Directory& directory, const std::string& database) {
    std::uint64_t need = 0;
    for (const char* ending : {"", "-wal"}) {
        const Descriptor file(::open((database + ending).c_str(), O_RDONLY | O_CLOEXEC));
        if (!file) continue;
        TRY(const std::uint64_t size, size_of(file));
        need += size;
    }
    // As much again as the store's own floor: a backup must never be what makes mail be refused.
    constexpr std::uint64_t kFloorOctets = 512ULL << 20U;
    TRY(const std::uint64_t room, directory.free_octets());
    if (room >= need + kFloorOctets) return {};
    return Error(Errc::no_space, fmt::format("the disk of the store has {} MiB left, a backup needs {} MiB for a "
                                             "passing copy of mail.db: make room there",
                                             room >> 20U, (need + kFloorOctets) >> 20U));
}

}  // namespace

Result<ScratchFile> make_scratch(const std::string& directory) {
    ScratchFile out;
    out.path = directory + "/backup-XXXXXX";
    const int fd = ::mkostemp(out.path.data(), O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot make a file in {}", directory));
    out.file = Descriptor(fd);
    return out;
}

Result<DatabaseSnapshot> take_snapshot(Store& store, const Watch& watch) {
    Directory& directory = directory_of(store);
    TRY_VOID(need_room(directory, directory.database_path()));
    TRY(ScratchFile scratch, make_scratch(directory.path() + "/tmp"));
    DatabaseSnapshot out;
    const auto copy = [&]() -> Result<> {
        TRY(const auto db, Connection::open(directory.database_path(), Connection::Mode::read, kCacheOctets));
        const auto began = std::chrono::steady_clock::now();
        TRY_VOID(db->exec("BEGIN"));
        // The first read takes the snapshot; rows and pages are of this one moment.
        TRY_VOID(read_facts(*db, out));
        TRY_VOID(copy_pages(*db, scratch.path, watch));
        TRY_VOID(db->exec("ROLLBACK"));
        out.held = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - began);
        return {};
    };
    const Result<> copied = copy();
    static_cast<void>(::unlink(scratch.path.c_str()));
    if (!copied) return Error(copied.error());
    TRY(out.octets, size_of(scratch.file));
    out.file = std::move(scratch.file);
    return out;
}

Result<std::unique_ptr<Connection>> open_scratch(ScratchFile scratch) {
    const auto open = [&]() -> Result<std::unique_ptr<Connection>> {
        TRY_VOID(write_at(scratch.file, kJournalModeAt, kRollbackJournal));
        TRY(auto db, Connection::open(scratch.path, Connection::Mode::read, kCacheOctets));
        // Large sorts go to a file. The first read makes the library open its file for good.
        TRY_VOID(db->exec("PRAGMA temp_store=FILE"));
        TRY_VOID(db->value("PRAGMA user_version"));
        return db;
    };
    auto out = open();
    static_cast<void>(::unlink(scratch.path.c_str()));
    return out;
}

}  // namespace posthouse::storage::backup
