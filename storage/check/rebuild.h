#pragma once
/// storage/check/rebuild: a new mail.db of every row that can still be read of a damaged one.
/// Reads each table forwards to its first damage, steps over it where rows have numbers, and backwards from the end
/// where they have not. The old database is kept whole as mail.db.damaged-<time> (with its -wal); the new one takes its
/// place by rename when it is complete and synced. What the lost rows said is then the business of fsck --repair,
/// which looks in the segments.
/// Only while nobody else has the store open: Errc::unavailable otherwise.
/// Threads: one.
#include <cstdint>
#include <string>
#include <vector>

#include "storage/check/check.h"

namespace posthouse::storage {

struct RebuildReport {
    std::uint64_t rows = 0;
    std::vector<std::string> damaged;  ///< tables of which not everything could be read
    std::string kept;                  ///< the old database's name now
};

/// `data`: the data directory. Errc::unavailable, corrupt (nothing can be read of mail.db at all), no_space, io.
Result<RebuildReport> rebuild_database(const std::string& data, const CheckObserver& observer);

}  // namespace posthouse::storage
