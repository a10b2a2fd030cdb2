#include "storage/flag_runs.h"

#include <optional>

namespace posthouse::storage {
namespace {

struct FlagRun {
    Uid first = 0;
    Uid last = 0;
    ModSeq modseq = 0;
};

/// The last run that begins at from..to.
Result<std::optional<FlagRun>> last_run(Connection& db, MailboxId mailbox, Uid from, Uid to) {
    Query q = db.query(
        "SELECT first, last, modseq FROM flag_runs WHERE mailbox = ?1 AND first BETWEEN ?2 AND ?3 "
        "ORDER BY first DESC LIMIT 1");
    TRY(const bool found, q.bind(mailbox, from, to).row());
    if (!found) return std::optional<FlagRun>();
    return std::optional(FlagRun{q.u32(0), q.u32(1), q.u64(2)});
}

Result<> insert_run(Connection& db, MailboxId mailbox, const FlagRun& run) {
    return db.query("INSERT OR REPLACE INTO flag_runs VALUES (?1, ?2, ?3, ?4)")
        .bind(mailbox, run.first, run.last, run.modseq)
        .run();
}

/// first..last with the UIDs on both sides that no entry has, so that no run is left over a gap alone.
Result<FlagRun> widened(Connection& db, MailboxId mailbox, Uid first, Uid last) {
    FlagRun out{1, ~Uid{0}, 0};
    Query before = db.query("SELECT max(uid) FROM entries WHERE mailbox = ?1 AND uid < ?2");
    TRY([[maybe_unused]] const bool one, before.bind(mailbox, first).row());
    if (!before.is_null(0)) out.first = before.u32(0) + 1;
    Query behind = db.query("SELECT min(uid) FROM entries WHERE mailbox = ?1 AND uid > ?2");
    TRY([[maybe_unused]] const bool other, behind.bind(mailbox, last).row());
    if (!behind.is_null(0)) out.last = behind.u32(0) - 1;
    return out;
}

/// Takes the UIDs of `gap` out of every run; what stands on either side of it stays.
Result<> cut(Connection& db, MailboxId mailbox, const FlagRun& gap) {
    std::optional<FlagRun> before;
    if (gap.first > 1) {
        TRY(before, last_run(db, mailbox, 1, gap.first - 1));
    }
    TRY(const std::optional<FlagRun> inside, last_run(db, mailbox, gap.first, gap.last));
    if (inside) {
        TRY_VOID(db.query("DELETE FROM flag_runs WHERE mailbox = ?1 AND first BETWEEN ?2 AND ?3")
                     .bind(mailbox, gap.first, gap.last)
                     .run());
    }
    if (before && before->last >= gap.first) {
        TRY_VOID(insert_run(db, mailbox, FlagRun{before->first, gap.first - 1, before->modseq}));
    }
    const std::optional<FlagRun>& over = inside ? inside : before;
    if (!over || over->last <= gap.last) return {};
    return insert_run(db, mailbox, FlagRun{gap.last + 1, over->last, over->modseq});
}

}  // namespace

Result<> add_flag_run(Connection& db, MailboxId mailbox, Uid first, Uid last, ModSeq modseq) {
    TRY(const std::optional<FlagRun> old, last_run(db, mailbox, 1, last));
    const bool is_same = old && old->first == first && old->last == last;
    if (old && old->last >= first && !is_same) {
        TRY(const FlagRun gap, widened(db, mailbox, first, last));
        TRY_VOID(cut(db, mailbox, gap));
    }
    return insert_run(db, mailbox, FlagRun{first, last, modseq});
}

Result<> cut_flag_runs(Connection& db, MailboxId mailbox, Uid first, Uid last) {
    TRY(const std::optional<FlagRun> old, last_run(db, mailbox, 1, last));
    if (!old || old->last < first) return {};
    TRY(const FlagRun gap, widened(db, mailbox, first, last));
    return cut(db, mailbox, gap);
}

Result<> rebuild_flag_runs(Connection& db, MailboxId mailbox) {
    TRY_VOID(db.query("DELETE FROM flag_runs WHERE mailbox = ?1").bind(mailbox).run());
    return db.query(POSTHOUSE_FLAG_RUNS_OF("WHERE mailbox = ?1")).bind(mailbox).run();
}

}  // namespace posthouse::storage
