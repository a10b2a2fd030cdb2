// Repairs of mailboxes, of entries, and of what is counted of them. Every change that a mail program could see takes a
// MODSEQ of its account, as any other change does.
#include <fmt/format.h>

#include <algorithm>

#include "storage/check/holders.h"
#include "storage/check/repair.h"
#include "storage/check/rows.h"
#include "storage/flag_runs.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

constexpr const char* kRecovered = "Recovered";

Result<ModSeq> next_modseq(Connection& db, std::int64_t account) {
    Query q = db.query("UPDATE accounts SET modseq = modseq + 1 WHERE id = ?1 RETURNING modseq");
    TRY(const bool found, q.bind(account).row());
    if (!found) return Error(Errc::not_found, "there is no such account");
    const ModSeq modseq = q.u64(0);
    TRY_VOID(q.run());
    return modseq;
}

/// As for a new mailbox: never below the time, never twice in an account.
Result<std::int64_t> next_validity(Connection& db, std::int64_t account, Time now) {
    Query q = db.query(
        "UPDATE accounts SET uid_validity_next = max(uid_validity_next, ?2, "
        "(SELECT coalesce(max(uid_validity), 0) + 1 FROM mailboxes WHERE account = ?1)) + 1 WHERE id = ?1 "
        "RETURNING uid_validity_next - 1");
    TRY(const bool found, q.bind(account, to_unix_ms(now) / 1000).row());
    if (!found) return Error(Errc::not_found, "there is no such account");
    const std::int64_t validity = q.i64(0);
    TRY_VOID(q.run());
    return validity;
}

/// "Recovered/<name>", with a number behind it where that is taken.
Result<std::string> free_name(Connection& db, std::int64_t account, const std::string& name) {
    const std::string wanted = fmt::format("{}/{}", kRecovered, name);
    for (int n = 1;; ++n) {
        std::string candidate = n == 1 ? wanted : fmt::format("{} {}", wanted, n);
        Query q = db.query("SELECT 1 FROM mailboxes WHERE account = ?1 AND name = ?2");
        TRY(const bool taken, q.bind(account, candidate).row());
        if (!taken) return candidate;
    }
}

Result<std::int64_t> account_of(Connection& db, std::int64_t mailbox) {
    Query q = db.query("SELECT account FROM mailboxes WHERE id = ?1");
    TRY(const bool found, q.bind(mailbox).row());
    return found ? q.i64(0) : 0;
}

struct Owner {
    std::int64_t account = 0;
    std::string name;
};

Result<std::optional<Owner>> ask_owner(Query&& q, std::int64_t mailbox) {
    TRY(const bool found, q.bind(mailbox).row());
    if (!found) return std::optional<Owner>();
    return std::optional<Owner>(Owner{q.i64(0), q.text(1)});
}

/// Whose mailbox it was: what was noted when one was removed, imported to, or delivered into.
Result<std::optional<Owner>> former_owner(Connection& db, std::int64_t mailbox) {
    TRY(const auto removed, ask_owner(db.query("SELECT d.account, d.name FROM deleted_mailboxes d JOIN accounts a "
                                               "ON a.id = d.account WHERE d.mailbox = ?1 LIMIT 1"),
                                      mailbox));
    if (removed) return removed;
    TRY(const auto emptied,
        ask_owner(db.query("SELECT d.account, d.mailbox_name FROM deleted_entries d JOIN accounts a "
                           "ON a.id = d.account WHERE d.mailbox = ?1 LIMIT 1"),
                  mailbox));
    if (emptied) return emptied;
    TRY(const auto imported, ask_owner(db.query("SELECT i.account, i.name FROM import_folders i JOIN accounts a "
                                                "ON a.id = i.account WHERE i.mailbox = ?1 LIMIT 1"),
                                       mailbox));
    if (imported) return imported;
    // A message delivered to one account only tells whose this is.
    return ask_owner(db.query("SELECT a.id, '' FROM entries e JOIN events v ON v.message = e.message AND v.kind = 1 "
                              "JOIN accounts a ON a.address = v.recipient WHERE e.mailbox = ?1 "
                              "GROUP BY e.message HAVING count(DISTINCT a.id) = 1 LIMIT 1"),
                     mailbox);
}

/// Entries as (mailbox, uid): one statement each, with a new MODSEQ.
Result<> touch_entries(Tx& tx, const Targets& targets, Sql change) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        TRY(const std::int64_t account, account_of(context.db, target.a));
        if (account == 0) continue;
        TRY_VOID(context.db.query(change).bind(target.a, target.b).run());
        if (context.db.changes() == 0) continue;
        TRY(const ModSeq modseq, next_modseq(context.db, account));
        TRY_VOID(context.db.query("UPDATE entries SET modseq = ?3 WHERE mailbox = ?1 AND uid = ?2")
                     .bind(target.a, target.b, modseq)
                     .run());
        const Uid uid = static_cast<Uid>(target.b);
        TRY_VOID(add_flag_run(context.db, static_cast<MailboxId>(target.a), uid, uid, modseq));
        TRY_VOID(
            context.db.query("UPDATE mailboxes SET highest_modseq = ?2 WHERE id = ?1").bind(target.a, modseq).run());
        context.write->changed(static_cast<AccountId>(account), static_cast<MailboxId>(target.a), modseq);
    }
    return {};
}

}  // namespace

Result<> repair_mailbox_without_account(Repairer& repairer, Tx& tx, const Targets& targets) {
    if (!repairer.heir) return {};
    Context& context = context_of(tx);
    const std::int64_t heir = raw(*repairer.heir);
    for (const auto& target : targets) {
        std::string old_name;
        {
            Query q = context.db.query(
                "SELECT name FROM mailboxes WHERE id = ?1 AND account NOT IN (SELECT id FROM accounts)");
            TRY(const bool found, q.bind(target.a).row());
            if (!found) continue;
            old_name = q.text(0);
        }
        TRY(const std::string name, free_name(context.db, heir, old_name));
        TRY(const std::int64_t validity, next_validity(context.db, heir, tx.now()));
        TRY(const ModSeq modseq, next_modseq(context.db, heir));
        TRY_VOID(context.db
                     .query("UPDATE mailboxes SET account = ?2, name = ?3, uid_validity = ?4, special_use = 0, "
                            "highest_modseq = max(highest_modseq, ?5) WHERE id = ?1")
                     .bind(target.a, heir, name, validity, modseq)
                     .run());
        context.write->changed(*repairer.heir, static_cast<MailboxId>(target.a), modseq);
        TRY_VOID(repairer.notes.note(
            fmt::format("mailbox {} ({}), whose account is gone, given as {}", target.a, old_name, name)));
    }
    return {};
}

Result<> repair_entry_without_mailbox(Repairer& repairer, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        TRY(const std::int64_t there, account_of(context.db, target.a));
        if (there != 0) continue;
        TRY(std::optional<Owner> owner, former_owner(context.db, target.a));
        if (!owner && repairer.heir) owner = Owner{raw(*repairer.heir), ""};
        if (!owner) continue;
        const std::string wanted = owner->name.empty() ? fmt::format("mailbox {}", target.a) : owner->name;
        TRY(const std::string name, free_name(context.db, owner->account, wanted));
        TRY(const std::int64_t validity, next_validity(context.db, owner->account, tx.now()));
        TRY(const ModSeq modseq, next_modseq(context.db, owner->account));
        // Under its old number: the entries belong to it as they are. Counters follow in the next round.
        TRY_VOID(context.db
                     .query("INSERT INTO mailboxes (id, account, name, uid_validity, uid_next, highest_modseq) "
                            "VALUES (?1, ?2, ?3, ?4, (SELECT max(uid) + 1 FROM entries WHERE mailbox = ?1), ?5)")
                     .bind(target.a, owner->account, name, validity, modseq)
                     .run());
        context.write->changed(static_cast<AccountId>(owner->account), static_cast<MailboxId>(target.a), modseq);
        TRY_VOID(repairer.notes.note(
            fmt::format("mailbox {}, which was not there but had messages, made again as {}", target.a, name)));
    }
    return {};
}

Result<> repair_uid_validity_twice(Repairer&, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        TRY(const std::int64_t account, account_of(context.db, target.a));
        {
            Query q = context.db.query(
                "SELECT 1 FROM mailboxes x JOIN mailboxes y ON y.account = x.account AND "
                "y.uid_validity = x.uid_validity AND y.id < x.id WHERE x.id = ?1");
            TRY(const bool twice, q.bind(target.a).row());
            if (!twice) continue;
        }
        TRY(const std::int64_t validity, next_validity(context.db, account, tx.now()));
        TRY(const ModSeq modseq, next_modseq(context.db, account));
        TRY_VOID(context.db.query("UPDATE mailboxes SET uid_validity = ?2, highest_modseq = ?3 WHERE id = ?1")
                     .bind(target.a, validity, modseq)
                     .run());
        context.write->changed(static_cast<AccountId>(account), static_cast<MailboxId>(target.a), modseq);
    }
    return {};
}

Result<> repair_mailbox_name(Repairer& repairer, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        std::int64_t account = 0;
        std::string old_name;
        {
            Query q = context.db.query("SELECT account, name FROM mailboxes WHERE id = ?1");
            TRY(const bool found, q.bind(target.a).row());
            if (!found || check_mailbox_name(q.view(1))) continue;
            account = q.i64(0);
            old_name = q.text(1);
        }
        TRY(const std::string name, free_name(context.db, account, fmt::format("mailbox {}", target.a)));
        TRY(const ModSeq modseq, next_modseq(context.db, account));
        TRY_VOID(context.db.query("UPDATE mailboxes SET name = ?2 WHERE id = ?1").bind(target.a, name).run());
        context.write->changed(static_cast<AccountId>(account), static_cast<MailboxId>(target.a), modseq);
        TRY_VOID(repairer.notes.note(fmt::format("mailbox {}, named \"{}\", is now {}", target.a, old_name, name)));
    }
    return {};
}

namespace {

/// Entries whose UID cannot be get the next ones after those that can; gives back UIDNEXT.
Result<std::int64_t> renumber(Connection& db, std::int64_t mailbox) {
    TRY_VOID(
        db.query("DELETE FROM expunged WHERE mailbox = ?1 AND uid NOT BETWEEN 0 AND ?2").bind(mailbox, kUidMax).run());
    std::vector<std::int64_t> wrong;
    std::int64_t next = 1;
    {
        Query q = db.query("SELECT uid FROM entries WHERE mailbox = ?1 ORDER BY uid");
        q.bind(mailbox);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            if (q.i64(0) >= 1 && q.i64(0) <= kUidMax) {
                next = q.i64(0) + 1;
            } else {
                wrong.push_back(q.i64(0));
            }
        }
    }
    Query last = db.query("SELECT coalesce(max(uid), 0) FROM expunged WHERE mailbox = ?1");
    TRY_VOID(last.bind(mailbox).row());
    next = std::max(next, last.i64(0) + 1);
    for (const std::int64_t uid : wrong) {
        TRY_VOID(
            db.query("UPDATE entries SET uid = ?3 WHERE mailbox = ?1 AND uid = ?2").bind(mailbox, uid, next).run());
        ++next;
    }
    return next;
}

}  // namespace

// A UIDVALIDITY of its own tells mail programs that UIDs they knew may mean other messages now.
Result<> repair_mailbox_uids(Repairer&, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        TRY(const std::int64_t account, account_of(context.db, target.a));
        if (account == 0) continue;
        TRY(const std::int64_t next, renumber(context.db, target.a));
        TRY_VOID(context.db
                     .query("UPDATE mailboxes SET uid_validity = 0 WHERE account = ?1 AND uid_validity NOT BETWEEN 1 "
                            "AND ?2")
                     .bind(account, kUidMax)
                     .run());
        TRY_VOID(context.db.query("UPDATE accounts SET uid_validity_next = 1 WHERE id = ?1 AND uid_validity_next > ?2")
                     .bind(account, kUidMax)
                     .run());
        TRY(const std::int64_t validity, next_validity(context.db, account, tx.now()));
        TRY(const ModSeq modseq, next_modseq(context.db, account));
        TRY_VOID(
            context.db
                .query("UPDATE mailboxes SET uid_validity = ?2, highest_modseq = ?3, recent_from = min(recent_from, "
                       "?4), uid_next = iif(uid_next BETWEEN 1 AND ?5, max(uid_next, ?4), ?4) WHERE id = ?1")
                .bind(target.a, validity, modseq, next, kUidMax + 1)
                .run());
        TRY_VOID(rebuild_flag_runs(context.db, static_cast<MailboxId>(target.a)));
        context.write->changed(static_cast<AccountId>(account), static_cast<MailboxId>(target.a), modseq);
    }
    return {};
}

Result<> repair_special_use_twice(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db
                     .query("UPDATE mailboxes SET special_use = 0 WHERE id = ?1 AND EXISTS (SELECT 1 FROM mailboxes y "
                            "WHERE y.account = mailboxes.account AND y.special_use = mailboxes.special_use AND "
                            "y.id < mailboxes.id)")
                     .bind(target.a)
                     .run());
    }
    return {};
}

Result<> repair_entry_keywords(Repairer&, Tx& tx, const Targets& targets) {
    return touch_entries(tx, targets,
                         "UPDATE entries SET keyword_set = 0 WHERE mailbox = ?1 AND uid = ?2 AND keyword_set <> 0 AND "
                         "NOT EXISTS (SELECT 1 FROM keyword_sets k JOIN mailboxes b ON b.account = k.account "
                         "WHERE k.id = entries.keyword_set AND b.id = ?1)");
}

Result<> repair_entry_flags(Repairer&, Tx& tx, const Targets& targets) {
    return touch_entries(tx, targets,
                         "UPDATE entries SET flags = flags & 31 WHERE mailbox = ?1 AND uid = ?2 AND flags & ~31 <> 0");
}

Result<> repair_entry_size(Repairer&, Tx& tx, const Targets& targets) {
    return touch_entries(tx, targets,
                         "UPDATE entries SET size_octets = (SELECT m.size_octets FROM messages m "
                         "WHERE m.id = entries.message) WHERE mailbox = ?1 AND uid = ?2 AND EXISTS "
                         "(SELECT 1 FROM messages m WHERE m.id = entries.message AND "
                         "m.size_octets <> entries.size_octets)");
}

Result<> repair_flag_runs(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(rebuild_flag_runs(context_of(tx).db, static_cast<MailboxId>(target.a)));
    }
    return {};
}

Result<> repair_entry_modseq(Repairer&, Tx& tx, const Targets& targets) {
    return touch_entries(tx, targets, "UPDATE entries SET modseq = 1 WHERE mailbox = ?1 AND uid = ?2 AND modseq < 1");
}

Result<> repair_expunged_alive(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db
                     .query("DELETE FROM expunged WHERE mailbox = ?1 AND uid = ?2 AND EXISTS "
                            "(SELECT 1 FROM entries WHERE mailbox = ?1 AND uid = ?2)")
                     .bind(target.a, target.b)
                     .run());
    }
    return {};
}

Result<> repair_expunged_without_mailbox(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db.query("DELETE FROM expunged WHERE mailbox = ?1 AND ?1 NOT IN (SELECT id FROM mailboxes)")
                     .bind(target.a)
                     .run());
    }
    return {};
}

Result<> repair_mailbox_counts(Repairer&, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        Query q = context.db.query(
            "WITH seen AS (SELECT count(*) AS n, coalesce(sum(flags & 1 = 0), 0) AS unseen, "
            "coalesce(sum(size_octets), 0) AS octets, coalesce(max(uid), 0) AS uid, coalesce(max(modseq), 0) AS modseq "
            "FROM entries WHERE mailbox = ?1), "
            "gone AS (SELECT coalesce(max(uid), 0) AS uid, coalesce(max(modseq), 0) AS modseq FROM expunged "
            "WHERE mailbox = ?1) "
            "UPDATE mailboxes SET messages = (SELECT n FROM seen), unseen = (SELECT unseen FROM seen), "
            "octets = (SELECT octets FROM seen), "
            "uid_next = max(uid_next, (SELECT uid + 1 FROM seen), (SELECT uid + 1 FROM gone)), "
            "highest_modseq = max(highest_modseq, (SELECT modseq FROM seen), (SELECT modseq FROM gone)) "
            "WHERE id = ?1 RETURNING account, highest_modseq");
        TRY(const bool found, q.bind(target.a).row());
        if (!found) continue;
        context.write->changed(q.id<AccountId>(0), static_cast<MailboxId>(target.a), q.u64(1));
        TRY_VOID(q.run());
    }
    return {};
}

Result<> repair_account_counts(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db
                     .query("WITH seen AS (SELECT count(*) AS n, coalesce(sum(e.size_octets), 0) AS octets "
                            "FROM mailboxes b JOIN entries e ON e.mailbox = b.id WHERE b.account = ?1), "
                            "boxes AS (SELECT coalesce(max(highest_modseq), 0) AS modseq, "
                            "coalesce(max(uid_validity) FILTER (WHERE uid_validity <= ?2), 0) AS validity "
                            "FROM mailboxes WHERE account = ?1) "
                            "UPDATE accounts SET used_messages = (SELECT n FROM seen), "
                            "used_octets = (SELECT octets FROM seen), "
                            "modseq = max(modseq, (SELECT modseq FROM boxes)), "
                            "uid_validity_next = max(iif(uid_validity_next > ?2, 1, uid_validity_next), "
                            "(SELECT validity + 1 FROM boxes)) WHERE id = ?1")
                     .bind(target.a, kUidMax)
                     .run());
    }
    return {};
}

Result<> repair_message_refs(Repairer&, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    std::set<std::int64_t> ids;
    for (const auto& target : targets) ids.insert(target.a);
    TRY(const auto holders, find_holders(db, ids));
    for (const std::int64_t id : ids) {
        const auto found = holders.find(id);
        if (found == holders.end()) continue;  // in no place: message_unreferenced
        TRY_VOID(db.query("UPDATE messages SET refs = ?2 WHERE id = ?1").bind(id, found->second.size()).run());
    }
    return {};
}

Result<> repair_message_unreferenced(Repairer& repairer, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    std::set<std::int64_t> ids;
    for (const auto& target : targets) ids.insert(target.a);
    TRY(const auto holders, find_holders(context.db, ids));
    for (const std::int64_t id : ids) {
        if (holders.contains(id)) continue;
        std::set<AccountId> owners;
        {
            Query q = context.db.query(
                "SELECT a.id FROM events v JOIN accounts a ON a.address = v.recipient WHERE v.message = ?1 AND v.kind "
                "= ?2");
            q.bind(id, EventKind::stored);
            for (;;) {
                TRY(const bool more, q.row());
                if (!more) break;
                owners.insert(q.id<AccountId>(0));
            }
        }
        if (owners.empty() && repairer.heir) owners.insert(*repairer.heir);
        if (owners.empty()) continue;
        TRY_VOID(context.db.query("UPDATE messages SET refs = 0 WHERE id = ?1").bind(id).run());
        // Nobody holds it: it comes into the mailbox as one that this write brought.
        context.write->added.push_back(static_cast<MessageId>(id));
        for (const AccountId owner : owners) {
            MailTx& mail = tx.mail(owner);
            if (!mail.mailbox(kRecovered)) TRY_VOID(mail.create(kRecovered, SpecialUse::none));
            TRY(const Mailbox box, mail.mailbox(kRecovered));
            TRY_VOID(mail.append(box.id, static_cast<MessageId>(id), AppendOptions()));
        }
    }
    return {};
}

Result<> repair_facts(Repairer&, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        auto reader = open_body(context, static_cast<MessageId>(target.a));
        if (!reader) continue;
        const auto octets = reader->read_all();
        if (!octets) continue;  // a damaged body says nothing about its facts
        const mime::MessageFacts facts = mime::compute_facts(*octets);
        TRY_VOID(context.db
                     .query("UPDATE messages SET header_octets = ?2, hops = ?3, date_ms = ?4, message_id = ?5, "
                            "in_reply_to = ?6, subject = ?7, from_text = ?8, to_text = ?9, envelope = ?10, "
                            "structure = ?11 WHERE id = ?1")
                     .bind(target.a, facts.header_octets, facts.received_hops, facts.date, facts.message_id,
                           facts.in_reply_to, facts.subject, facts.from, facts.to, Blob(facts.envelope),
                           Blob(facts.structure))
                     .run());
    }
    return {};
}

}  // namespace posthouse::storage
