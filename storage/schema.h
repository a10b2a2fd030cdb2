#pragma once
/// storage/schema (internal): the text of schema.sql and how a database gets to it.
/// Migrations only go forward; a database of a later version is refused with a sentence that says so.
///
/// Before the first step the database is copied whole to mail.db.before-vN beside it (N: the version it is brought to),
/// synced, and kept until the next migration: whoever wants to go back stops the server and puts the copy in the place
/// of mail.db (and removes mail.db-wal and mail.db-shm). Mail that came in after the migration is not in that copy.
///
/// How a migration is added:  1. change schema.sql, and its first line's version;
///   2. raise kSchemaVersion and add its scripts to kMigrations (schema.cpp) that do the same to the version before:
///      ALTER TABLE ADD COLUMN puts a column at the end, so it stands at the end of its table in schema.sql too;
///   3. keep the text of the version before in tests/support/schema_vN.sql and a row in tests/unit/storage/
///      migration_test.cpp, which compares every table and index of a migrated database with those of a fresh one.
/// Invariants  1. A step is one transaction: killed at any moment, the database is of the old version or of the next.
///             2. No step runs before the copy is whole and synced; without room for it nothing is changed.
/// Threads: as the connection given; two processes may migrate at once, one of them does the work.
#include "protocols/base/result.h"

namespace posthouse::storage {

class Connection;

inline constexpr int kSchemaVersion = 7;
extern const char* const kSchemaSql;

/// Creates every table in an empty database, in one transaction.
Result<> create_schema(Connection& db);
/// Brings an older database to kSchemaVersion, one transaction a step. Errc::unsupported for a newer one,
/// corrupt for a database that is not ours, no_space or io where the copy beforehand cannot be made.
Result<> migrate_schema(Connection& db);

}  // namespace posthouse::storage
