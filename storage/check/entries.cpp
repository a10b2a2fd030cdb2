// Messages in mailboxes, what was removed from them, and what is counted of both.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "storage/check/rows.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kAllFlags = 31;
constexpr std::uint64_t kRowsAStep = 20'000;

struct Row {
    std::int64_t mailbox = 0;
    std::int64_t uid = 0;
    std::int64_t modseq = 0;
    std::int64_t flags = 0;
    std::int64_t keyword_set = 0;
    std::int64_t size_octets = 0;
    std::int64_t message = 0;
};

void tally(MailboxRow& box, const Row& row) {
    ++box.seen_messages;
    box.seen_unseen += (row.flags & static_cast<std::int64_t>(Flag::seen)) == 0 ? 1 : 0;
    box.seen_octets += row.size_octets;
    // One out of range is a fault of its own, which UIDNEXT shall not follow.
    if (row.uid <= kUidMax) box.uid_max = std::max(box.uid_max, row.uid);
    box.modseq_max = std::max(box.modseq_max, row.modseq);
}

void check_keywords(Picture& picture, const Row& row, std::int64_t account) {
    if (row.keyword_set == 0) return;
    const auto set = picture.keyword_sets.find(row.keyword_set);
    if (set != picture.keyword_sets.end() && set->second == account) return;
    picture.findings().add(
        FaultKind::entry_keywords, row.mailbox, row.uid,
        fmt::format("{}: its set of keywords {} {}", picture.where(row.mailbox, row.uid), row.keyword_set,
                    set == picture.keyword_sets.end() ? "is not there" : "is another account's"),
        picture.place(row.mailbox, row.uid, row.message));
}

void check_entry(Picture& picture, const Row& row) {
    MessageRow* const message = picture.messages.find(row.message);
    const auto box = picture.mailboxes.find(row.mailbox);
    if (message == nullptr) {
        picture.findings().add(
            FaultKind::entry_without_message, row.mailbox, row.uid,
            fmt::format("{}: its message {} is not known to mail.db", picture.where(row.mailbox, row.uid), row.message),
            picture.place(row.mailbox, row.uid, row.message));
    } else {
        ++message->seen;
        if (row.size_octets != message->size_octets) {
            picture.findings().add(
                FaultKind::entry_size, row.mailbox, row.uid,
                fmt::format("{}: the mailbox says {} octets, the message has {}", picture.where(row.mailbox, row.uid),
                            row.size_octets, message->size_octets),
                picture.place(row.mailbox, row.uid, row.message));
        }
    }
    if (box == picture.mailboxes.end()) {
        picture.findings().add(FaultKind::entry_without_mailbox, row.mailbox, 0,
                               fmt::format("messages lie in mailbox {}, which is not there", row.mailbox));
        return;
    }
    if (row.uid < 1 || row.uid > kUidMax) {
        picture.findings().add(FaultKind::mailbox_uids, row.mailbox, 0,
                               fmt::format("{}: a message has the UID {}", picture.where(row.mailbox), row.uid),
                               picture.place(row.mailbox));
    }
    if (row.modseq < 1) {
        picture.findings().add(FaultKind::entry_modseq, row.mailbox, row.uid,
                               fmt::format("{}: its MODSEQ is {}", picture.where(row.mailbox, row.uid), row.modseq),
                               picture.place(row.mailbox, row.uid, row.message));
    }
    tally(box->second, row);
    check_keywords(picture, row, box->second.account);
    if ((row.flags & ~kAllFlags) != 0) {
        picture.findings().add(
            FaultKind::entry_flags, row.mailbox, row.uid,
            fmt::format("{}: it has flags {:#x}", picture.where(row.mailbox, row.uid), row.flags & ~kAllFlags),
            picture.place(row.mailbox, row.uid, row.message));
    }
}

/// flag_runs beside the entries, both in the order of their keys (the invariants of storage/flag_runs.h).
class RunCheck {
 public:
    explicit RunCheck(Picture& picture)
        : picture_(picture), runs_(picture.db.query("SELECT mailbox, first, last, modseq FROM flag_runs "
                                                    "ORDER BY mailbox, first")) {}
    Result<> see(const Row& row) {
        TRY_VOID(pass(row.mailbox, row.uid));
        if (row.mailbox != mailbox_) {
            mailbox_ = row.mailbox;
            lowest_ = 0;
        }
        const bool is_in_run = has_run_ && run_.mailbox == row.mailbox && run_.first <= row.uid && run_.last >= row.uid;
        if (is_in_run && run_.modseq == row.modseq) is_used_ = true;
        if ((is_in_run && run_.modseq != row.modseq) || row.modseq < lowest_) report(row.mailbox);
        if (!is_in_run) lowest_ = row.modseq;
        return {};
    }
    Result<> end() { return pass(std::numeric_limits<std::int64_t>::max(), 0); }

 private:
    struct Run {
        std::int64_t mailbox = 0;
        std::int64_t first = 0;
        std::int64_t last = 0;
        std::int64_t modseq = 0;
    };
    /// On to the run that holds that UID or stands behind it.
    Result<> pass(std::int64_t mailbox, std::int64_t uid) {
        while (!is_over_ && (!has_run_ || std::pair(run_.mailbox, run_.last) < std::pair(mailbox, uid))) {
            if (has_run_ && !is_used_) report(run_.mailbox);
            const Run before = run_;
            TRY(const bool more, runs_.row());
            is_over_ = !more;
            if (more) {
                run_ = Run{runs_.i64(0), runs_.i64(1), runs_.i64(2), runs_.i64(3)};
                if (has_run_ && run_.mailbox == before.mailbox && run_.first <= before.last) report(run_.mailbox);
            }
            has_run_ = more;
            is_used_ = false;
        }
        return {};
    }
    void report(std::int64_t mailbox) {
        picture_.findings().add(
            FaultKind::flag_runs, mailbox, 0,
            fmt::format("{}: mail programs would not hear of every changed flag", picture_.where(mailbox)),
            picture_.place(mailbox));
    }

    Picture& picture_;
    Query runs_;
    Run run_;
    bool has_run_ = false;
    bool is_over_ = false;
    bool is_used_ = false;
    std::int64_t mailbox_ = 0;
    std::int64_t lowest_ = 0;  ///< MODSEQ of the last entry that no run covers
};

Result<> check_expunged(Picture& picture) {
    {
        // In key order of both tables: a merge, not a search for each row.
        Query q = picture.db.query(
            "SELECT x.mailbox, x.uid, x.modseq FROM expunged x JOIN entries e ON e.mailbox = x.mailbox AND "
            "e.uid = x.uid");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            picture.findings().add(
                FaultKind::expunged_alive, q.i64(0), q.i64(1),
                fmt::format("{} is listed as expunged, but is there", picture.where(q.i64(0), q.i64(1))),
                picture.place(q.i64(0), q.i64(1)));
        }
    }
    Query q = picture.db.query("SELECT mailbox, max(modseq), max(uid), count(*) FROM expunged GROUP BY mailbox");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        const auto box = picture.mailboxes.find(q.i64(0));
        if (box == picture.mailboxes.end()) {
            picture.findings().add(
                FaultKind::expunged_without_mailbox, q.i64(0), 0,
                fmt::format("{} expunged messages of mailbox {}, which is not there", q.i64(3), q.i64(0)));
            continue;
        }
        box->second.modseq_max = std::max(box->second.modseq_max, q.i64(1));
        if (q.i64(2) <= kUidMax) {
            box->second.uid_max = std::max(box->second.uid_max, q.i64(2));
        } else {
            picture.findings().add(
                FaultKind::mailbox_uids, q.i64(0), 0,
                fmt::format("{}: the UID {} is said to be expunged", picture.where(q.i64(0)), q.i64(2)),
                picture.place(q.i64(0)));
        }
    }
}

void check_mailbox(Picture& picture, std::int64_t id, const MailboxRow& box) {
    const std::string where = picture.where(id);
    if (box.messages != box.seen_messages || box.unseen != box.seen_unseen || box.octets != box.seen_octets) {
        picture.findings().add(
            FaultKind::mailbox_counters, id, 0,
            fmt::format("{}: it says {} messages, {} unseen, {} octets; there are {}, {}, {}", where, box.messages,
                        box.unseen, box.octets, box.seen_messages, box.seen_unseen, box.seen_octets),
            picture.place(id));
    }
    if (box.uid_next <= box.uid_max) {
        picture.findings().add(FaultKind::mailbox_uid_next, id, 0,
                               fmt::format("{}: UIDNEXT is {}, but UID {} was given", where, box.uid_next, box.uid_max),
                               picture.place(id));
    }
    if (box.highest_modseq < box.modseq_max) {
        picture.findings().add(
            FaultKind::mailbox_modseq, id, 0,
            fmt::format("{}: HIGHESTMODSEQ is {}, but a change has {}", where, box.highest_modseq, box.modseq_max),
            picture.place(id));
    }
}

void check_account(Picture& picture, std::int64_t id, const AccountRow& account) {
    Place place;
    place.account = account.address;
    if (account.used_octets != account.seen_octets || account.used_messages != account.seen_messages) {
        picture.findings().add(
            FaultKind::account_used, id, 0,
            fmt::format("{}: it says {} messages of {} octets; there are {} of {}", account.address,
                        account.used_messages, account.used_octets, account.seen_messages, account.seen_octets),
            place);
    }
    if (account.modseq < account.modseq_max) {
        picture.findings().add(FaultKind::account_modseq, id, 0,
                               fmt::format("{}: the last MODSEQ is {}, but {} was given", account.address,
                                           account.modseq, account.modseq_max),
                               place);
    }
    if (account.uid_validity_next <= account.uid_validity_max || account.uid_validity_next > kUidMax) {
        picture.findings().add(FaultKind::account_uid_validity, id, 0,
                               fmt::format("{}: the next UIDVALIDITY is {}, but {} was given", account.address,
                                           account.uid_validity_next, account.uid_validity_max),
                               place);
    }
}

}  // namespace

Result<> check_entries(Picture& picture, const RowObserver& observer) {
    Query q = picture.db.query(
        "SELECT mailbox, uid, modseq, flags, keyword_set, size_octets, message FROM entries ORDER BY mailbox, uid");
    RunCheck runs(picture);
    std::uint64_t done = 0;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        Row row;
        row.mailbox = q.i64(0);
        row.uid = q.i64(1);
        row.modseq = q.i64(2);
        row.flags = q.i64(3);
        row.keyword_set = q.i64(4);
        row.size_octets = q.i64(5);
        row.message = q.i64(6);
        check_entry(picture, row);
        TRY_VOID(runs.see(row));
        if (++done % kRowsAStep == 0 && !observer(done, "messages in mailboxes")) {
            return Error(Errc::cancelled, "the check was stopped");
        }
    }
    TRY_VOID(runs.end());
    picture.report.entries = done;
    return check_expunged(picture);
}

Result<> check_deleted(Picture& picture) {
    Query q = picture.db.query("SELECT account, deleted_ms, mailbox, uid, mailbox_name, message FROM deleted_entries");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        MessageRow* const message = picture.messages.find(q.i64(5));
        if (message != nullptr) {
            ++message->seen;
            continue;
        }
        Place place;
        place.account = picture.account_name(q.i64(0));
        place.mailbox = q.text(4);
        place.uid = q.u32(3);
        place.message = q.id<MessageId>(5);
        // Named by its message: the rows of one message are one fault, mended together.
        picture.findings().add(FaultKind::deleted_without_message, q.i64(5), 0,
                               fmt::format("{}, {}, UID {} was removed and could be restored, but its message {} is "
                                           "not known to mail.db",
                                           place.account, q.view(4), q.i64(3), q.i64(5)),
                               std::move(place));
    }
}

void check_counted(Picture& picture) {
    for (auto& [id, box] : picture.mailboxes) {
        check_mailbox(picture, id, box);
        const auto owner = picture.accounts.find(box.account);
        if (owner == picture.accounts.end()) continue;
        owner->second.seen_messages += box.seen_messages;
        owner->second.seen_octets += box.seen_octets;
        owner->second.modseq_max = std::max(owner->second.modseq_max, box.modseq_max);
    }
    for (const auto& [id, account] : picture.accounts) check_account(picture, id, account);
}

void check_refs(Picture& picture) {
    for (const MessageRow& row : picture.messages.rows()) {
        Place place;
        place.message = static_cast<MessageId>(row.id);
        if (row.seen == 0) {
            picture.findings().add(
                FaultKind::message_unreferenced, row.id, 0,
                fmt::format("message {} of {} octets is in no mailbox and no queue", row.id, row.size_octets),
                std::move(place));
        } else if (row.refs != static_cast<std::int64_t>(row.seen)) {
            picture.findings().add(
                FaultKind::message_refs, row.id, 0,
                fmt::format("message {}: it says that {} places name it, but {} do", row.id, row.refs, row.seen),
                std::move(place));
        }
    }
}

}  // namespace posthouse::storage
