#include "storage/schema.h"

#include <fmt/format.h>

#include <span>

#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

/// Brings version `from` to from + 1. Rows are added at the end with every release that changes the schema.
struct Migration {
    int from;
    const char* script;
};
constexpr std::span<const Migration> kMigrations{};

Result<int> version_of(Connection& db) {
    TRY(const std::int64_t version, db.value("PRAGMA user_version"));
    return static_cast<int>(version);
}

Result<> step(Connection& db, const Migration& migration) {
    const std::string mark = fmt::format("PRAGMA user_version={};", migration.from + 1);
    TRY_VOID(db.exec("BEGIN IMMEDIATE"));
    // Another process may have done this step while we waited for the lock.
    Result<int> version = version_of(db);
    Result<> done = !version ? Result<>(version.error()) : Result<>();
    if (done && *version == migration.from) {
        done = db.exec_text(migration.script);
        if (done) done = db.exec_text(mark.c_str());
    }
    if (done) done = db.exec("COMMIT");
    if (!done && db.in_transaction()) static_cast<void>(db.exec("ROLLBACK"));
    return done;
}

}  // namespace

Result<> create_schema(Connection& db) {
    const std::string mark = fmt::format("PRAGMA user_version={};", kSchemaVersion);
    TRY_VOID(db.exec("BEGIN EXCLUSIVE"));
    TRY_VOID(db.exec_text(kSchemaSql));
    TRY_VOID(db.exec_text(mark.c_str()));
    return db.exec("COMMIT");
}

Result<> migrate_schema(Connection& db) {
    TRY(int version, version_of(db));
    if (version > kSchemaVersion) {
        return Error(Errc::unsupported,
                     fmt::format("the store was written by a newer Posthouse (schema {}, this one knows {}): "
                                 "install that version or a later one",
                                 version, kSchemaVersion));
    }
    if (version <= 0) return Error(Errc::corrupt, "mail.db is not a store of Posthouse");
    for (const Migration& migration : kMigrations) {
        if (migration.from == version) {
            TRY_VOID(step(db, migration));
            ++version;
        }
    }
    if (version != kSchemaVersion) return Error(Errc::corrupt, "mail.db has a schema version that never was");
    return {};
}

}  // namespace posthouse::storage
