#pragma once
/// storage/schema (internal): the text of schema.sql and how a database gets to it.
/// Migrations only go forward; a database of a later version is refused with a sentence that says so.
/// Threads: as the connection given.
#include "protocols/base/result.h"

namespace posthouse::storage {

class Connection;

inline constexpr int kSchemaVersion = 2;
extern const char* const kSchemaSql;

/// Creates every table in an empty database, in one transaction.
Result<> create_schema(Connection& db);
/// Brings an older database to kSchemaVersion, one transaction a step. Errc::unsupported for a newer one,
/// corrupt for a database that is not ours.
Result<> migrate_schema(Connection& db);

}  // namespace posthouse::storage
