#pragma once
/// storage/flag_runs (internal): which entries have their MODSEQ from a change of flags, as runs of UIDs. CONDSTORE and
/// QRESYNC ask for what has changed since (RFC 7162 3.1.4, 3.2.5); an index over every entry's MODSEQ would cost a row
/// for each message of a STORE. Entries no run covers are as they came in, and what comes in later has a higher UID
/// and a higher MODSEQ, so those are found from the end of the mailbox.
///
/// Invariants (storage/check looks for both):
///   1. Runs of a mailbox do not overlap; each covers at least one entry, and its entries have the run's MODSEQ.
///   2. An entry that no run covers has no entry with a lower MODSEQ behind it.
///
/// Threads: as the connection that is given.
#include "storage/sqlite.h"
#include "storage/types.h"

namespace posthouse::storage {

/// All entries there are with UIDs first..last have just got `modseq`, and no other has.
Result<> add_flag_run(Connection& db, MailboxId mailbox, Uid first, Uid last, ModSeq modseq);
/// The entries with UIDs first..last were removed.
Result<> cut_flag_runs(Connection& db, MailboxId mailbox, Uid first, Uid last);
/// Works out the runs of a mailbox anew from its entries: after a repair of them.
Result<> rebuild_flag_runs(Connection& db, MailboxId mailbox);

/// The runs of entries, each with those beside it that have the same MODSEQ: `mailbox` is a condition on the entries.
#define POSTHOUSE_FLAG_RUNS_OF(mailbox)                                                                               \
    "INSERT INTO flag_runs SELECT mailbox, min(uid), max(uid), modseq FROM (SELECT mailbox, uid, modseq, place - "    \
    "row_number() OVER (PARTITION BY mailbox, modseq ORDER BY uid) AS island FROM (SELECT mailbox, uid, modseq, "     \
    "row_number() OVER (PARTITION BY mailbox ORDER BY uid) AS place, min(modseq) OVER (PARTITION BY mailbox ORDER "   \
    "BY uid DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS later FROM entries " mailbox                    \
    ") WHERE modseq > later) GROUP BY mailbox, modseq, island"

}  // namespace posthouse::storage
