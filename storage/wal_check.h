#pragma once
/// storage/wal_check (internal): was the end of mail.db-wal lost? SQLite takes a log up to the first frame that does
/// not check out and forgets the rest without a word. After a crash that rest is at most the one commit that was under
/// way and never acknowledged, and before it one that nobody outside was told of (Store::submit_ordered); where more
/// commits lie behind a bad frame, or the log ends within a frame, somebody damaged the file, and what was acknowledged
/// is missing.
///
/// Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
/// Threads: pure function of the file; nobody else may have the database open.
#include <cstdint>
#include <string>

#include "protocols/base/result.h"
#include "storage/file.h"

namespace posthouse::storage {

inline constexpr std::uint64_t kUnsyncedMax = 2;  ///< commits that a crash may leave behind a bad frame

struct WalFacts {
    std::uint64_t frames = 0;          ///< that check out, up to the last commit among them
    std::uint64_t commits_behind = 0;  ///< of this log, behind the first frame that does not check out
    std::uint64_t octets_behind = 0;   ///< at the end, less than a frame
    bool header_bad = false;
    bool damaged() const { return header_bad || commits_behind > kUnsyncedMax; }
};

/// Errc::io. An empty or missing log is `WalFacts()`.
Result<WalFacts> look_at_wal(const Descriptor& root, const std::string& name);

/// Looks at the log before SQLite opens it. Where it is damaged: says so in the log and keeps a copy beside it
/// ("mail.db-wal.damaged"), which the next writes would otherwise destroy. Never fails: the store opens all the same.
void guard_wal(const Descriptor& root, const std::string& name);

}  // namespace posthouse::storage
