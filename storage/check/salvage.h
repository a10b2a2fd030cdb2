#pragma once
/// storage/check/salvage: every message that can still be read, out of the segments alone. Needs no mail.db and no
/// server (one that runs waits with compacting); changes nothing in the store. What a record was called and whose it
/// was only mail.db knew: files are named SEGMENT/POSITION-mID.eml, and salvage.tsv beside them lists file, state,
/// octets, date, sender and subject of each.
///
/// Survives whatever happened to a file: cut, zeroed, overwritten, unreadable sectors (see walk.h). A record that does
/// not match its checksum is written as it is, named .damaged.eml (or .damaged.zst where it cannot be unpacked).
/// Removed mail that was not compacted away yet is found too: nothing tells it from the rest.
/// Threads: one.  Memory: one message at a time.
#include <cstdint>
#include <string>

#include "protocols/base/result.h"
#include "storage/check/check.h"

namespace posthouse::storage {

enum class SalvageWhat { everything, damaged };

struct SalvageReport {
    std::uint64_t files = 0;
    std::uint64_t files_unreadable = 0;
    std::uint64_t messages = 0;  ///< written whole
    std::uint64_t damaged = 0;   ///< written, but not as they were stored
    std::uint64_t octets = 0;
    std::uint64_t octets_skipped = 0;  ///< of the segments, belonging to no record
    bool stopped = false;
};

/// `data`: the data directory (or any directory with .seg files, or with `segments` in it). `target` is made where it
/// is missing; files that are there already are not written over: Errc::already_exists.
Result<SalvageReport> salvage(const std::string& data, const std::string& target, SalvageWhat what,
                              const CheckObserver& observer);

struct RecoverReport {
    std::uint64_t recovered = 0;
    std::uint64_t known = 0;    ///< records that mail.db knows: left where they are
    std::uint64_t damaged = 0;  ///< not recovered
    bool stopped = false;
};

/// Puts messages that no row names into the mailbox "Recovered" of `account`.
///   `from` empty:  dead records of this store's own segments: what was removed for good and not compacted away yet, or
///                  lost its row. Removed mail of every account is among them: only an administrator should ask for it.
///   `from` a directory: every record of the segments there (an old data directory whose mail.db is lost).
/// Repeating it makes no duplicates: what was recovered is noted as imported (storage/imports.h).
Result<RecoverReport> recover(Store& store, const std::string& from, const std::string& account,
                              const CheckObserver& observer);

}  // namespace posthouse::storage
