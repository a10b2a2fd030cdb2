#pragma once
/// storage/sqlite_faults (internal): in builds with fail points, a thin VFS between SQLite and the system whose calls
/// can be made to fail one by one: "db-open", "db-read", "db-write", "db-sync", "db-cut", "db-size", "db-lock",
/// "db-map", "db-remove". It changes nothing else. See storage/fail_point.h.
/// Threads: any.

namespace posthouse::storage {

/// The name to give to sqlite3_open_v2; null (the system's own) without POSTHOUSE_FAIL_POINTS.
const char* faulty_vfs();

}  // namespace posthouse::storage
