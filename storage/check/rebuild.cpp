#include "storage/check/rebuild.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "storage/directory.h"
#include "storage/schema.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

constexpr const char* kNewName = "mail.db.rebuilt";
constexpr std::uint64_t kCacheOctets = 64ULL * 1024 * 1024;
constexpr std::uint64_t kRowsATransaction = 10'000;
// How far is stepped behind a row that cannot be read; doubled while nothing can.
constexpr std::int64_t kStepMax = 1LL << 40U;

using Statement = std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)>;

/// Names come from the schema that this program brought along, never from elsewhere.
Statement prepare(Connection& db, const std::string& sql) {
    sqlite3_stmt* handle = nullptr;
    sqlite3_prepare_v2(db.handle(), sql.c_str(), -1, &handle, nullptr);
    return Statement(handle, sqlite3_finalize);
}

std::vector<std::string> names(Connection& db, const std::string& sql) {
    std::vector<std::string> out;
    const Statement q = prepare(db, sql);
    while (q && sqlite3_step(q.get()) == SQLITE_ROW) {
        out.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(q.get(), 0)));
    }
    return out;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
    std::string out;
    for (const std::string& word : words) {
        if (!out.empty()) out += between;
        out += word;
    }
    return out;
}

enum class End { whole, damaged, failed };

class Copier {
 public:
    Copier(Connection& from, Connection& to, RebuildReport& report, const CheckObserver& observer)
        : from_(from), to_(to), report_(report), observer_(observer) {}

    Result<> table(const std::string& name) {
        table_ = name;
        const std::vector<std::string> there = names(from_, "SELECT name FROM pragma_table_info('" + name + "')");
        std::vector<std::string> columns = names(to_, "SELECT name FROM pragma_table_info('" + name + "')");
        std::erase_if(columns,
                      [&](const std::string& column) { return std::ranges::find(there, column) == there.end(); });
        if (columns.empty()) return {};  // a table of a later version
        columns_ = joined(columns, ", ");
        std::string marks;
        for (std::size_t i = 0; i < columns.size(); ++i) marks += i == 0 ? "?" : ", ?";
        insert_ =
            prepare(to_, fmt::format("INSERT OR REPLACE INTO {} ({}) VALUES ({})", name, columns_, marks)).release();
        const Statement owner(insert_, sqlite3_finalize);
        if (insert_ == nullptr) return to_.error(sqlite3_errcode(to_.handle()));
        const std::vector<std::string> key =
            names(to_, "SELECT name FROM pragma_table_info('" + name + "') WHERE pk > 0 ORDER BY pk");
        const bool numbered = names(to_, "SELECT name FROM pragma_table_list('" + name + "') WHERE wr = 1").empty();
        TRY_VOID(to_.exec("BEGIN"));
        bool whole = false;
        if (numbered) {
            TRY(whole, by_number());
        } else {
            TRY(whole, from_both_ends(key));
        }
        TRY_VOID(to_.exec("COMMIT"));
        if (!whole) report_.damaged.push_back(name);
        return {};
    }

 private:
    Result<bool> by_number() {
        bool whole = true;
        std::int64_t after = -1;
        for (std::int64_t step = 1; step < kStepMax;) {
            const std::int64_t before = after;
            TRY(const End end, scan(fmt::format("SELECT {}, rowid FROM {} NOT INDEXED WHERE rowid > ?1 ORDER BY rowid",
                                                columns_, table_),
                                    &after));
            if (end == End::whole) break;
            whole = false;
            // Something was read: step over the one behind it, else farther each time.
            step = after > before ? 1 : step * 2;
            after += step;
        }
        return whole;
    }

    Result<bool> from_both_ends(const std::vector<std::string>& key) {
        TRY(const End forwards,
            scan(fmt::format("SELECT {} FROM {} ORDER BY {}", columns_, table_, joined(key, ", ")), nullptr));
        if (forwards == End::whole) return true;
        TRY_VOID(
            scan(fmt::format("SELECT {} FROM {} ORDER BY {} DESC", columns_, table_, joined(key, " DESC, ")), nullptr));
        return false;
    }

    Result<End> scan(const std::string& sql, std::int64_t* after) {
        const Statement q = prepare(from_, sql);
        if (!q) return End::damaged;
        if (after != nullptr) sqlite3_bind_int64(q.get(), 1, *after);
        for (;;) {
            const int rc = sqlite3_step(q.get());
            if (rc == SQLITE_DONE) return End::whole;
            if (rc != SQLITE_ROW) return End::damaged;
            const int columns = sqlite3_bind_parameter_count(insert_);
            for (int i = 0; i < columns; ++i) sqlite3_bind_value(insert_, i + 1, sqlite3_column_value(q.get(), i));
            const int put = sqlite3_step(insert_);
            sqlite3_reset(insert_);
            // A row that breaks a rule of the schema is damage of the old one; a full disk is not.
            if (put != SQLITE_DONE && (put & 0xff) != SQLITE_CONSTRAINT && (put & 0xff) != SQLITE_MISMATCH) {
                return to_.error(put);
            }
            if (after != nullptr) *after = sqlite3_column_int64(q.get(), columns);
            TRY_VOID(count());
        }
    }

    Result<> count() {
        if (++report_.rows % kRowsATransaction != 0) return {};
        if (!observer_(report_.rows, 0, 0, table_)) return Error(Errc::cancelled, "stopped; nothing was changed");
        TRY_VOID(to_.exec("COMMIT"));
        return to_.exec("BEGIN");
    }

    Connection& from_;
    Connection& to_;
    RebuildReport& report_;
    const CheckObserver& observer_;
    std::string table_;
    std::string columns_;
    sqlite3_stmt* insert_ = nullptr;
};

Result<> copy_all(const std::string& old_path, const std::string& new_path, RebuildReport& report,
                  const CheckObserver& observer) {
    TRY(const std::unique_ptr<Connection> to, Connection::open(new_path, Connection::Mode::write, kCacheOctets));
    TRY_VOID(create_schema(*to));
    TRY(const std::unique_ptr<Connection> from, Connection::open(old_path, Connection::Mode::read, kCacheOctets));
    Copier copier(*from, *to, report, observer);
    // Numbers that were given to rows that are gone are not given again: sqlite_sequence is copied like the rest, last.
    std::vector<std::string> tables =
        names(*to, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name LIKE 'sqlite_%', name");
    if (names(*from, "SELECT name FROM sqlite_schema WHERE type = 'table'").empty()) {
        return Error(Errc::corrupt,
                     "nothing can be read of mail.db: restore it from a backup, or write the messages to files with "
                     "posthouse fsck --salvage DIR");
    }
    for (const std::string& table : tables) {
        if (table == "sqlite_sequence") TRY_VOID(to->exec("DELETE FROM sqlite_sequence"));
        TRY_VOID(copier.table(table));
    }
    return to->exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// The old one stays under another name; the new one is there whole or not at all.
Result<> put_in_place(const Descriptor& root, const std::string& kept) {
    {
        TRY(const Descriptor file, open_beneath(root, kNewName, O_RDWR));
        TRY_VOID(sync_data(file));
    }
    if (::linkat(root.get(), kDatabaseName, root.get(), kept.c_str(), 0) != 0) {
        return system_error(errno, fmt::format("cannot keep the old database as {}", kept));
    }
    // Its log must not be played into the new one.
    const std::string log = std::string(kDatabaseName) + "-wal";
    if (::renameat(root.get(), log.c_str(), root.get(), (kept + "-wal").c_str()) != 0 && errno != ENOENT) {
        return system_error(errno, "cannot keep the old database's log");
    }
    static_cast<void>(::unlinkat(root.get(), (std::string(kDatabaseName) + "-shm").c_str(), 0));
    if (::renameat(root.get(), kNewName, root.get(), kDatabaseName) != 0) {
        return system_error(errno, "cannot put the new database into its place");
    }
    return sync_directory(root);
}

}  // namespace

Result<RebuildReport> rebuild_database(const std::string& data, const CheckObserver& observer) {
    const int fd = ::open(data.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot open the data directory {}", data));
    const Descriptor root(fd);
    TRY(const Descriptor lock, open_beneath(root, "lock", O_RDWR | O_CREAT));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return Error(Errc::unavailable, "the store is in use: stop the server first, then run this again");
    }
    for (const char* ending : {"", "-wal", "-shm"}) {
        static_cast<void>(::unlinkat(root.get(), (std::string(kNewName) + ending).c_str(), 0));
    }
    {
        TRY(const Descriptor made, open_beneath(root, kNewName, O_RDWR | O_CREAT | O_EXCL));
    }
    RebuildReport report;
    const Result<> copied = copy_all(data + "/" + kDatabaseName, data + "/" + kNewName, report, observer);
    if (!copied) {
        static_cast<void>(::unlinkat(root.get(), kNewName, 0));
        return Error(copied.error());
    }
    std::string stamp = format_rfc3339(system_clock().now());
    std::erase_if(stamp, [](char c) { return c == ':' || c == '-' || c == '.'; });
    report.kept = fmt::format("{}.damaged-{}", kDatabaseName, stamp);
    TRY_VOID(put_in_place(root, report.kept));
    return report;
}

}  // namespace posthouse::storage
