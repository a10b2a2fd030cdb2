#include "storage/schema.h"

#include <fmt/format.h>

#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

/// Brings version `from` to from + 1. Rows are added at the end with every release that changes the schema.
struct Migration {
    int from;
    const char* script;
};
// 2: quotas of domains, removed mailboxes, retention, imports, tokens of the HTTP API. What the columns mean stands in
// schema.sql.
constexpr const char* kToVersion2 = R"sql(
ALTER TABLE domains ADD COLUMN quota_octets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN quota_messages INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deleted_entries_by_time ON deleted_entries (deleted_ms);
CREATE TABLE deleted_mailboxes (account INTEGER NOT NULL, deleted_ms INTEGER NOT NULL, mailbox INTEGER NOT NULL,
    name TEXT NOT NULL, special_use INTEGER NOT NULL, subscribed INTEGER NOT NULL,
    PRIMARY KEY (account, deleted_ms, mailbox)) WITHOUT ROWID;
CREATE TABLE retention_rules (scope TEXT NOT NULL, mailbox TEXT NOT NULL, days INTEGER NOT NULL,
    PRIMARY KEY (scope, mailbox)) WITHOUT ROWID;
CREATE TABLE import_folders (id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, source TEXT NOT NULL,
    name TEXT NOT NULL, uid_validity INTEGER NOT NULL, mailbox INTEGER NOT NULL, UNIQUE (account, source, name));
CREATE TABLE imported (folder INTEGER NOT NULL, key TEXT NOT NULL, uid INTEGER NOT NULL, PRIMARY KEY (folder, key))
    WITHOUT ROWID;
CREATE TABLE api_tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, digest BLOB NOT NULL,
    created_ms INTEGER NOT NULL);
)sql";

constexpr Migration kMigrations[] = {{1, kToVersion2}};

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
