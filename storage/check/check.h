#pragma once
/// storage/check: does everything in a store agree? Looks, names what is wrong, mends what can be mended.
///
/// What is looked at, in this order: the database files (SQLite's own check); rows that name other rows; what is
/// counted (quotas, UIDNEXT, MODSEQ, references, dead octets); segment files against their rows; every live record
/// (header, length, CRC-32, unpacking, size); with `deep` what was computed from the octets at arrival, and words of
/// each message in the search index; files that nobody knows.
///
/// The server may run. Rows are read in one snapshot, so they must agree; what is seen in files may have been moved
/// (compaction) or removed in between and is asked again of a fresh snapshot before it counts. Segments themselves
/// stay: DATA/segments.lock is held shared, so that a compaction takes none away until check and repair have ended.
/// Every repair is a write of its own that looks again, inside its transaction, whether the fault is still there.
///
/// What repair does with mail it cannot read: octets that are there stay there, whatever their checksum says (kind
/// body_damaged); an entry whose octets can be found nowhere is expunged in the ordinary way, so that mail programs
/// agree, and is named with account, mailbox, UID, subject and sender in the report file DATA/fsck-<time>.txt.
/// Repair goes in rounds (rows that were mended may make a counter wrong) until a round changes nothing.
///
/// Leaves to others: damage of the database itself beyond its indexes (rebuild.h), octets without a database
/// (salvage.h), dead records brought back into a mailbox (recover.h).
/// Memory: 40 octets a message, 48 a mailbox and an account, one message body at a time; 24 a fault.
/// Threads: one; not the loop's.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "storage/check/fault.h"
#include "storage/store.h"

namespace posthouse::storage {

/// Told now and then; gives back false to stop.
using CheckObserver =
    std::function<bool(std::uint64_t done, std::uint64_t total, std::uint64_t octets, std::string_view what)>;

struct CheckOptions {
    bool quick = false;  ///< SQLite's quick_check instead of integrity_check; no look at the log of events
    bool bodies = true;  ///< read every message
    bool deep = false;   ///< compare envelope, structure and the like with the octets; costs CPU
    std::int64_t young_seconds = 600;  ///< files younger than this may be somebody's work
};

struct CheckReport {
    Findings findings;
    std::uint64_t accounts = 0;
    std::uint64_t mailboxes = 0;
    std::uint64_t entries = 0;
    std::uint64_t messages = 0;
    std::uint64_t queue_items = 0;
    std::uint64_t segments = 0;
    std::uint64_t bodies_read = 0;
    std::uint64_t octets_read = 0;
    bool stopped = false;  ///< the observer did not let it finish
};

Result<CheckReport> check_store(Store& store, const CheckOptions& options, const CheckObserver& observer);

struct RepairOptions {
    std::string account;  ///< address of who gets mail whose owner is lost; "" for nobody
};

struct RepairReport {
    CheckReport left;  ///< the check after the last round
    std::uint64_t mended = 0;
    std::string report_file;  ///< beneath DATA; "" where nothing had to be noted
};

/// Mends what `report` names and checks again; the findings of `report` are marked repaired where they are gone.
Result<RepairReport> repair_store(Store& store, CheckReport& report, const CheckOptions& options,
                                  const RepairOptions& how, const CheckObserver& observer);

}  // namespace posthouse::storage
