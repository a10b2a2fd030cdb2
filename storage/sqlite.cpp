#include "storage/sqlite.h"

#include "storage/sqlite_faults.h"

#include <fmt/format.h>

#include <cerrno>
#include <mutex>

namespace posthouse::storage {
namespace {

// How long a statement waits for another process (the command line beside the server) before it gives up.
constexpr int kBusyMs = 10'000;
constexpr std::string_view kMainName = "mail.db";

Errc code_of(int rc) {
    switch (rc & 0xff) {
        case SQLITE_FULL: return Errc::no_space;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN: return Errc::io;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return Errc::corrupt;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return Errc::unavailable;
        case SQLITE_CONSTRAINT: return Errc::already_exists;
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH: return Errc::denied;
        case SQLITE_TOOBIG: return Errc::too_large;
        default: return Errc::internal;
    }
}

/// A disk or quota that is full is told by SQLite as SQLITE_FULL only where a write met ENOSPC.
bool is_full(int rc, int error_number) {
    if ((rc & 0xff) == SQLITE_FULL) return true;
    switch (rc) {
        case SQLITE_IOERR_WRITE:
        case SQLITE_IOERR_FSYNC:
        case SQLITE_IOERR_DIR_FSYNC:
        case SQLITE_IOERR_TRUNCATE:
        case SQLITE_IOERR_SHMOPEN:
        case SQLITE_IOERR_SHMSIZE:
        case SQLITE_IOERR_SHMMAP:
        case SQLITE_CANTOPEN: return error_number == ENOSPC || error_number == EDQUOT;
        default: return false;
    }
}

/// The file's name without its directory: an operator has to know which of the databases is meant.
std::string_view file_name_of(sqlite3* handle) {
    const char* const path = sqlite3_db_filename(handle, "main");
    const std::string_view all = path == nullptr ? std::string_view() : std::string_view(path);
    return all.substr(all.rfind('/') + 1);
}

// Of a connection's page cache, taken in one piece: page by page a thread's heap grows by a system call for each.
constexpr int kCachePieceKib = 2048;

/// Before the library's first use: the statistics of its allocator would cost a global lock at every allocation.
void configure_library() {
    static std::once_flag once;
    std::call_once(once, [] {
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, -kCachePieceKib);
    });
}

}  // namespace

Query::Query(Connection& db, CachedStatement& cached) : db_(db), handle_(cached.handle), cached_(&cached) {
    cached.in_use = true;
}

Query::Query(Connection& db, sqlite3_stmt* own) : db_(db), handle_(own) {
    if (own == nullptr) rc_ = sqlite3_errcode(db.handle());
}

Query::~Query() {
    if (cached_ == nullptr) {
        sqlite3_finalize(handle_);
        return;
    }
    sqlite3_reset(handle_);
    sqlite3_clear_bindings(handle_);
    cached_->in_use = false;
}

Result<bool> Query::row() {
    if (rc_ != SQLITE_OK) return db_.error(rc_);
    const int rc = sqlite3_step(handle_);
    if (rc == SQLITE_ROW) return true;
    if (rc == SQLITE_DONE) return false;
    return db_.error(rc);
}

Result<> Query::run() {
    for (;;) {
        TRY(const bool more, row());
        if (!more) return {};
    }
}

void Query::reset() {
    sqlite3_reset(handle_);
    rc_ = handle_ == nullptr ? SQLITE_ERROR : SQLITE_OK;
}

std::string_view Query::view(int column) const {
    // For BLOB and TEXT alike; the length must be asked after the pointer.
    const void* octets = sqlite3_column_blob(handle_, column);
    const int count = sqlite3_column_bytes(handle_, column);
    if (octets == nullptr || count <= 0) return {};
    return {static_cast<const char*>(octets), static_cast<std::size_t>(count)};
}

void Query::bind_text(int index, std::string_view text) {
    // A null pointer would bind NULL: an empty view need not point anywhere.
    const char* start = text.data() == nullptr ? "" : text.data();
    note(sqlite3_bind_text64(handle_, index, start, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Query::bind_blob(int index, std::string_view octets) {
    if (octets.empty()) return note(sqlite3_bind_zeroblob(handle_, index, 0));
    note(sqlite3_bind_blob64(handle_, index, octets.data(), octets.size(), SQLITE_STATIC));
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Mode mode, std::uint64_t cache_octets,
                                                     std::uint64_t page_octets) {
    configure_library();
    std::unique_ptr<Connection> db(new Connection());
    const int flags = (mode == Mode::write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX |
                      SQLITE_OPEN_EXRESCODE;
    if (const int rc = sqlite3_open_v2(path.c_str(), &db->handle_, flags, faulty_vfs()); rc != SQLITE_OK) {
        return Error(code_of(rc), fmt::format("cannot open {}: {}", path, sqlite3_errstr(rc)));
    }
    sqlite3* handle = db->handle_;
    sqlite3_busy_timeout(handle, kBusyMs);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024);
    TRY_VOID(
        db->exec("PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0; PRAGMA foreign_keys=OFF; PRAGMA cell_size_check=ON;"));
    const std::string cache = fmt::format("PRAGMA cache_size=-{};", cache_octets / 1024);
    TRY_VOID(db->exec_text(cache.c_str()));
    if (mode == Mode::write) {
        const std::string pages = fmt::format("PRAGMA page_size={};", page_octets);
        TRY_VOID(db->exec_text(pages.c_str()));
        // The store checkpoints after the waiters are released, never inside COMMIT, hence no autocheckpoint.
        TRY_VOID(
            db->exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "PRAGMA secure_delete=FAST; PRAGMA wal_autocheckpoint=0;"));
        sqlite3_wal_hook(
            handle,
            [](void* self, sqlite3*, const char*, int pages) {
                static_cast<Connection*>(self)->wal_pages_ = pages;
                return SQLITE_OK;
            },
            db.get());
    } else {
        TRY_VOID(db->exec("PRAGMA query_only=ON;"));
    }
    return db;
}

Connection::~Connection() {
    for (auto& [sql, statement] : statements_) sqlite3_finalize(statement.handle);
    sqlite3_close_v2(handle_);
}

Query Connection::query(Sql sql) {
    CachedStatement& cached = statements_[sql.text];
    if (cached.handle != nullptr && !cached.in_use) return Query(*this, cached);
    sqlite3_stmt* handle = nullptr;
    const unsigned lasting = cached.handle == nullptr ? SQLITE_PREPARE_PERSISTENT : 0U;
    if (sqlite3_prepare_v3(handle_, sql.text, -1, lasting, &handle, nullptr) != SQLITE_OK) {
        return Query(*this, nullptr);
    }
    if (cached.handle != nullptr) return Query(*this, handle);
    cached.handle = handle;
    return Query(*this, cached);
}

Result<> Connection::exec_text(const char* script) {
    if (const int rc = sqlite3_exec(handle_, script, nullptr, nullptr, nullptr); rc != SQLITE_OK) return error(rc);
    return {};
}

// NORMAL leaves out the sync of each COMMIT, and nothing else: the next one with FULL syncs all of the WAL, and so does
// a checkpoint before it copies.
Result<> Connection::sync_commits(bool wanted) {
    if (wanted == syncs_commits_) return {};
    TRY_VOID(wanted ? exec("PRAGMA synchronous=FULL") : exec("PRAGMA synchronous=NORMAL"));
    syncs_commits_ = wanted;
    return {};
}

Result<std::int64_t> Connection::value(Sql sql) {
    Query q = query(sql);
    TRY(const bool found, q.row());
    if (!found) return Error(Errc::not_found, "the query gave no row");
    return q.i64(0);
}

Result<> Connection::checkpoint(Checkpoint how) {
    const int mode = how == Checkpoint::passive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
    if (how == Checkpoint::restart) sqlite3_busy_timeout(handle_, 200);
    const int rc = sqlite3_wal_checkpoint_v2(handle_, nullptr, mode, nullptr, nullptr);
    if (how == Checkpoint::restart) sqlite3_busy_timeout(handle_, kBusyMs);
    wal_pages_ = 0;
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY) return {};
    return error(rc);
}

Error Connection::error(int rc) {
    // Every statement fits the schema, which was there when the database was opened: a table or column that is missing
    // all of a sudden is a name with a flipped bit.
    const bool schema_damaged = rc == SQLITE_ERROR && std::string_view(sqlite3_errmsg(handle_)).starts_with("no such ");
    const Errc code = schema_damaged ? Errc::corrupt : code_of(rc);
    if (is_full(rc, sqlite3_system_errno(handle_))) {
        // Nothing of a write that failed can count; after a failed sync nobody knows.
        damaged_ = damaged_ || (code != Errc::no_space && rc != SQLITE_IOERR_WRITE);
        return Error(Errc::no_space, "the disk that holds the data directory is full: make room there, then try again");
    }
    if (code == Errc::io || code == Errc::corrupt) damaged_ = true;
    if (code == Errc::corrupt) {
        const std::string_view name = file_name_of(handle_);
        return Error(code, fmt::format("{} is damaged: {} ({}){}", name, sqlite3_errmsg(handle_), rc,
                                       name == kMainName ? "; run posthouse fsck" : ""));
    }
    return Error(code, fmt::format("the database said: {} ({})", sqlite3_errmsg(handle_), rc));
}

}  // namespace posthouse::storage
