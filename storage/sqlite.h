#pragma once
/// storage/sqlite (internal): a connection, its cached statements and rows. The only header that names sqlite3.h.
///
/// Invariants  1. SQL is a string literal (Sql is consteval): values reach it as bound parameters only.
///             2. A Query resets its statement when it dies; no statement stays active behind a transaction's end.
///             3. Texts given to bind() must outlive the Query (they are not copied); temporaries do not compile.
/// Threads: a connection and its queries belong to one thread at a time.
#include <sqlite3.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"

namespace posthouse::storage {

/// SQL text of static storage; its address is the key of the statement cache.
struct Sql {
    const char* text;
    consteval Sql(const char* literal) : text(literal) {}
};

/// Bound as BLOB instead of TEXT.
struct Blob {
    std::string_view octets;
    explicit Blob(std::string_view o) : octets(o) {}
};

class Connection;

struct CachedStatement {
    sqlite3_stmt* handle = nullptr;
    bool in_use = false;
};

class Query {
 public:
    Query(Connection& db, CachedStatement& cached);  ///< borrows
    Query(Connection& db, sqlite3_stmt* own);        ///< a second use of an active statement; null: prepare failed
    ~Query();
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    template <class Self, class... Args>
    Self&& bind(this Self&& self, Args&&... args) {
        int index = 0;
        (self.bind_one(++index, std::forward<Args>(args)), ...);
        return std::forward<Self>(self);
    }
    /// The next row: true; the end: false.
    Result<bool> row();
    /// Runs to the end, rows dropped.
    Result<> run();
    /// Back to the start for other values.
    void reset();

    std::int64_t i64(int column) const { return sqlite3_column_int64(handle_, column); }
    std::uint64_t u64(int column) const { return static_cast<std::uint64_t>(i64(column)); }
    std::uint32_t u32(int column) const { return static_cast<std::uint32_t>(i64(column)); }
    bool flag(int column) const { return i64(column) != 0; }
    Time time(int column) const { return from_unix_ms(i64(column)); }
    bool is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }
    std::string text(int column) const { return std::string(view(column)); }
    /// Valid until the next row().
    std::string_view view(int column) const;
    template <class Id>
    Id id(int column) const {
        return static_cast<Id>(i64(column));
    }

 private:
    template <class T>
    void bind_one(int index, T&& value) {
        using V = std::remove_cvref_t<T>;
        if constexpr (std::is_same_v<V, std::nullptr_t>) {
            note(sqlite3_bind_null(handle_, index));
        } else if constexpr (std::is_same_v<V, Time>) {
            note(sqlite3_bind_int64(handle_, index, to_unix_ms(value)));
        } else if constexpr (std::is_integral_v<V> || std::is_enum_v<V>) {
            note(sqlite3_bind_int64(handle_, index, static_cast<sqlite3_int64>(value)));
        } else if constexpr (std::is_same_v<V, Blob>) {
            bind_blob(index, value.octets);
        } else {
            static_assert(!(std::is_same_v<V, std::string> && std::is_rvalue_reference_v<T&&>), "name the text first");
            bind_text(index, std::string_view(value));
        }
    }
    template <class T>
    void bind_one(int index, const std::optional<T>& value) {
        if (value) return bind_one(index, *value);
        note(sqlite3_bind_null(handle_, index));
    }
    void bind_text(int index, std::string_view text);
    void bind_blob(int index, std::string_view octets);
    void note(int rc) {
        if (rc != SQLITE_OK && rc_ == SQLITE_OK) rc_ = rc;
    }

    Connection& db_;
    sqlite3_stmt* handle_ = nullptr;
    CachedStatement* cached_ = nullptr;
    int rc_ = SQLITE_OK;
};

class Connection {
 public:
    enum class Mode { read, write };
    /// Opens an existing database file with the settings of this store (WAL, FULL, defensive, ...).
    /// `page_octets` counts where the database has no table yet.
    static Result<std::unique_ptr<Connection>> open(const std::string& path, Mode mode, std::uint64_t cache_octets,
                                                    std::uint64_t page_octets = 4096);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Query query(Sql sql);
    Result<> exec(Sql sql) { return exec_text(sql.text); }
    /// For schema scripts and pragmas of our own: several statements.
    Result<> exec_text(const char* script);
    Result<std::int64_t> value(Sql sql);
    std::int64_t changes() const { return sqlite3_changes64(handle_); }
    std::int64_t last_id() const { return sqlite3_last_insert_rowid(handle_); }
    bool in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }
    /// Whether a COMMIT from here on syncs the WAL: it does in the beginning. Not within a transaction.
    Result<> sync_commits(bool wanted);
    /// Pages in the WAL after the last commit of this connection.
    int wal_pages() const { return wal_pages_; }
    enum class Checkpoint { passive, restart };
    Result<> checkpoint(Checkpoint how);
    /// Gives cached pages back to the system.
    void release_memory() { sqlite3_db_release_memory(handle_); }

    /// Maps a SQLite code to ours and remembers whether the database can still be trusted.
    Error error(int rc);
    /// An I/O or corruption error was seen since the last call of clear_damage().
    bool damaged() const { return damaged_; }
    void clear_damage() { damaged_ = false; }
    sqlite3* handle() const { return handle_; }

 private:
    Connection() = default;
    sqlite3* handle_ = nullptr;
    std::unordered_map<const char*, CachedStatement> statements_;
    int wal_pages_ = 0;
    bool syncs_commits_ = true;
    bool damaged_ = false;
};

/// Every row that is left, as `read` makes it of one.
template <class F>
Result<std::vector<std::invoke_result_t<F, const Query&>>> all_rows(Query& query, F read) {
    std::vector<std::invoke_result_t<F, const Query&>> out;
    for (;;) {
        TRY(const bool more, query.row());
        if (!more) return out;
        out.push_back(read(query));
    }
}

}  // namespace posthouse::storage
