// The rounds of a repair, and the repairs of what the administrator set, of the queue and of segments.
#include "storage/check/repair.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "protocols/base/log.h"
#include "storage/check/walk.h"
#include "storage/incidents.h"
#include "storage/segments_lock.h"
#include "storage/settings.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kTargetsAWrite = 200;
constexpr int kRoundsMax = 6;

Result<> repair_indexes(Repairer&, Tx& tx, const Targets& targets) {
    if (std::ranges::none_of(targets, [](const auto& target) { return target.a == 1; })) return {};
    return context_of(tx).db.exec("REINDEX");
}

Result<> repair_counter(Repairer&, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    const auto raise = [&](std::string_view name, std::int64_t least) {
        return db.query("INSERT INTO counters VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)")
            .bind(name, least)
            .run();
    };
    for (const auto& target : targets) {
        if (target.a == 1) {
            TRY(const std::int64_t last, db.value("SELECT max((SELECT coalesce(max(id), 0) FROM messages), "
                                                  "(SELECT coalesce(max(message), 0) FROM events))"));
            TRY_VOID(raise("message", last + 1));
        } else if (target.a == 2) {
            TRY(const std::int64_t last, db.value("SELECT coalesce(max(id), 0) FROM events"));
            TRY_VOID(raise("event", last));
        } else {
            TRY_VOID(raise("verify", 0));
        }
    }
    return {};
}

Result<> repair_account_domain(Repairer&, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        std::string domain;
        std::int64_t lost = 0;
        {
            Query q = db.query(
                "SELECT address, domain FROM accounts a WHERE id = ?1 AND NOT EXISTS "
                "(SELECT 1 FROM domains d WHERE d.id = a.domain)");
            TRY(const bool found, q.bind(target.a).row());
            if (!found) continue;
            domain = std::string(q.view(0).substr(q.view(0).rfind('@') + 1));
            lost = q.i64(1);
        }
        // Under its old number, so that its keys belong to it again.
        TRY_VOID(db.query("INSERT OR IGNORE INTO domains (id, name, created_ms) VALUES (?1, ?2, ?3)")
                     .bind(lost, domain, tx.now())
                     .run());
        TRY_VOID(db.query("UPDATE accounts SET domain = (SELECT id FROM domains WHERE name = ?2) WHERE id = ?1")
                     .bind(target.a, domain)
                     .run());
        TRY_VOID(db.query("UPDATE domains SET hosted = 1 WHERE name = ?1").bind(domain).run());
        context_of(tx).write->notice.catalog = true;
    }
    return {};
}

Result<> repair_hosting(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx).db.query("UPDATE domains SET hosted = 1 WHERE id = ?1").bind(target.a).run());
        context_of(tx).write->notice.catalog = true;
    }
    return {};
}

Query orphan_delete(Connection& db, std::int64_t which) {
    switch (which) {
        case 1: return db.query("DELETE FROM alias_targets WHERE alias = ?1 AND ?1 NOT IN (SELECT id FROM aliases)");
        case 2: return db.query("DELETE FROM dkim_keys WHERE domain = ?1 AND ?1 NOT IN (SELECT id FROM domains)");
        case 3: return db.query("DELETE FROM subscriptions WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 4: return db.query("DELETE FROM keywords WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 5: return db.query("DELETE FROM keyword_sets WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 6:
            return db.query("DELETE FROM deleted_mailboxes WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 7:
            return db.query("DELETE FROM deleted_entries WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 8:
            return db.query("DELETE FROM import_folders WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 10: return db.query("DELETE FROM annotations WHERE mailbox = ?1 AND ?1 NOT IN (SELECT id FROM mailboxes)");
        case 11: return db.query("DELETE FROM annotations WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 12:
            return db.query("DELETE FROM mailbox_rights WHERE mailbox = ?1 AND ?1 NOT IN (SELECT id FROM mailboxes)");
        case 13: return db.query("DELETE FROM scram_keys WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 14:
            return db.query("DELETE FROM app_passwords WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 15: return db.query("DELETE FROM api_tokens WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 16:
            return db.query(
                "DELETE FROM capability_switches WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 30:
            return db.query("DELETE FROM account_hours WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 31:
            return db.query(
                "DELETE FROM account_recipients WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        case 32:
            return db.query("DELETE FROM account_trust WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
        default:
            return db.query("DELETE FROM imported WHERE folder = ?1 AND ?1 NOT IN (SELECT id FROM import_folders)");
    }
}

Result<> repair_orphan_rows(Repairer& repairer, Tx& tx, const Targets& targets) {
    Context& context = context_of(tx);
    for (const auto& target : targets) {
        if (target.a == 7) {
            // Each row counts as a reference to its message.
            Query q = context.db.query(
                "SELECT message FROM deleted_entries WHERE account = ?1 AND ?1 NOT IN (SELECT id FROM accounts)");
            q.bind(target.b);
            for (;;) {
                TRY(const bool more, q.row());
                if (!more) break;
                change_refs(context, q.id<MessageId>(0), -1);
            }
        }
        TRY_VOID(orphan_delete(context.db, target.a).bind(target.b).run());
        if (context.db.changes() == 0) continue;
        TRY_VOID(repairer.notes.note(fmt::format("{} rows (table {} of row-without-owner) of number {} removed",
                                                 context.db.changes(), target.a, target.b)));
    }
    return {};
}

Result<> repair_recipient_without_item(Repairer& repairer, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        Query q = db.query(
            "DELETE FROM queue_recipients WHERE id = ?1 AND queue NOT IN (SELECT id FROM queue_items) "
            "RETURNING queue, address");
        TRY(const bool gone, q.bind(target.a).row());
        if (!gone) continue;
        TRY_VOID(repairer.notes.note(fmt::format("<{}>, a recipient of {}, which is not there, removed", q.view(1),
                                                 format_queue_id(q.id<QueueId>(0)))));
    }
    return {};
}

Result<> repair_item_without_recipients(Repairer& repairer, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        {
            Query q = context_of(tx).db.query("SELECT 1 FROM queue_recipients WHERE queue = ?1");
            TRY(const bool some, q.bind(target.a).row());
            if (some) continue;
        }
        TRY_VOID(drop_queue_item(repairer, tx, target.a, "it had no recipients"));
    }
    return {};
}

Result<> repair_item_finished(Repairer&, Tx& tx, const Targets& targets) {
    // The end of every write drops what is finished among these.
    for (const auto& target : targets) context_of(tx).write->touched_items.push_back(static_cast<QueueId>(target.a));
    return {};
}

Result<> repair_recipient_state(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db.query("UPDATE queue_recipients SET state = 4 WHERE id = ?1 AND state NOT BETWEEN 0 AND 5")
                     .bind(target.a)
                     .run());
    }
    context_of(tx).write->queue_is_due();
    return {};
}

Result<> repair_recipient_address(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db
                     .query("UPDATE queue_recipients SET state = 4 WHERE id = ?1 AND state IN (0, 1) AND "
                            "(address = '' OR domain = '')")
                     .bind(target.a)
                     .run());
    }
    context_of(tx).write->queue_is_due();
    return {};
}

Result<> repair_recipient_waits(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx)
                     .db
                     .query("UPDATE queue_recipients SET next_attempt_ms = ?2 WHERE id = ?1 AND state = 0 AND "
                            "next_attempt_ms > (SELECT i.expires_ms FROM queue_items i WHERE i.id = queue)")
                     .bind(target.a, tx.now())
                     .run());
    }
    context_of(tx).write->queue_is_due();
    return {};
}

Result<> repair_recipient_held(Repairer&, Tx& tx, const Targets& targets) {
    std::vector<RecipientId> ids;
    for (const auto& target : targets) ids.push_back(static_cast<RecipientId>(target.a));
    TRY(const auto stranded, IncidentView(tx).stranded(~std::size_t{0}));
    std::erase_if(ids, [&](RecipientId id) { return std::ranges::find(stranded, id) == stranded.end(); });
    return IncidentTx(tx).release(ids, "Released by fsck: its incident is over");
}

Result<> repair_setting(Repairer& repairer, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        const std::string_view key = setting_rows()[static_cast<std::size_t>(target.a)].key;
        std::string value;
        {
            Query q = db.query("SELECT value FROM settings WHERE key = ?1");
            TRY(const bool set, q.bind(key).row());
            if (!set || check_setting(key, q.view(0))) continue;
            value = q.text(0);
        }
        TRY_VOID(repairer.notes.note(fmt::format("setting {} had the value \"{}\": its default counts", key, value)));
        TRY_VOID(db.query("DELETE FROM settings WHERE key = ?1").bind(key).run());
        context_of(tx).write->notice.catalog = true;
    }
    return {};
}

// ---- segments

/// Of a message that lies beyond the end of its segment though its record is there: it is the end that is wrong.
Result<> repair_message_place(Repairer& repairer, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        Placement where;
        {
            Query q = db.query("SELECT segment, position, stored_octets FROM messages WHERE id = ?1");
            TRY(const bool found, q.bind(target.a).row());
            if (!found || q.i64(0) < 1) continue;
            where = Placement{q.i64(0), q.u64(1), q.u64(2)};
        }
        const auto file = open_beneath(directory_of(repairer.store).segments(), segment_name(where.segment), O_RDONLY);
        char octets[kRecordHeaderOctets];
        const auto got = file ? read_at(*file, where.position, octets) : Result<std::size_t>(Error(file.error()));
        if (!got) continue;
        const auto header = parse_record_header({octets, *got});
        if (!header || raw(header->message) != target.a || header->payload_octets != where.payload_octets) continue;
        TRY_VOID(db.query("UPDATE segments SET octets = max(octets, ?2) WHERE id = ?1")
                     .bind(where.segment, where.position + kRecordHeaderOctets + where.payload_octets)
                     .run());
    }
    return {};
}

Result<> repair_segment_row(Repairer& repairer, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        std::uint64_t octets = 0;
        {
            Query q = db.query("SELECT max(position + stored_octets) FROM messages WHERE segment = ?1");
            TRY_VOID(q.bind(target.a).row());
            octets = q.u64(0) + kRecordHeaderOctets;
        }
        const auto file = open_beneath(directory_of(repairer.store).segments(), segment_name(target.a), O_RDONLY);
        if (file) {
            TRY(const std::uint64_t size, size_of(*file));
            SegmentWalk walk(*file, kFileHeaderOctets, size);
            for (auto found = walk.next(); found && found->in_line; found = walk.next()) {
                if (found->end() <= size) octets = std::max(octets, found->end());
            }
        }
        TRY_VOID(db.query("INSERT OR IGNORE INTO segments (id, octets, sealed) VALUES (?1, ?2, 1)")
                     .bind(target.a, octets)
                     .run());
    }
    return {};
}

Result<> repair_segment_file(Repairer& repairer, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    for (const auto& target : targets) {
        const auto file = open_beneath(directory_of(repairer.store).segments(), segment_name(target.a), O_RDONLY);
        if (file || file.error().code != Errc::not_found) continue;
        TRY_VOID(db.query("DELETE FROM segments WHERE id = ?1 AND NOT EXISTS "
                          "(SELECT 1 FROM messages WHERE segment = ?1)")
                     .bind(target.a)
                     .run());
        if (db.changes() == 0) continue;
        TRY_VOID(repairer.notes.note(fmt::format("{}, whose file is gone, forgotten", segment_name(target.a))));
    }
    return {};
}

Result<> repair_segment_short(Repairer& repairer, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY(const Descriptor file,
            open_beneath(directory_of(repairer.store).segments(), segment_name(target.a), O_RDONLY));
        TRY(const std::uint64_t size, size_of(file));
        const std::uint64_t octets = std::max(size, kFileHeaderOctets);
        TRY_VOID(context_of(tx)
                     .db
                     .query("UPDATE segments SET octets = ?2, sealed = 1 WHERE id = ?1 AND octets > ?2 AND NOT EXISTS "
                            "(SELECT 1 FROM messages WHERE segment = ?1 AND position + stored_octets + ?3 > ?2)")
                     .bind(target.a, octets, kRecordHeaderOctets)
                     .run());
    }
    return {};
}

Result<> repair_segment_header(Repairer& repairer, Tx&, const Targets& targets) {
    for (const auto& target : targets) {
        TRY(const Descriptor file,
            open_beneath(directory_of(repairer.store).segments(), segment_name(target.a), O_RDWR));
        TRY_VOID(write_at(file, 0, format_file_header(static_cast<std::uint32_t>(target.a))));
        TRY_VOID(sync_data(file));
    }
    return {};
}

Result<> repair_segment_state(Repairer&, Tx& tx, const Targets& targets) {
    for (const auto& target : targets) {
        TRY_VOID(context_of(tx).db.query("UPDATE segments SET sealed = 1 WHERE id = ?1").bind(target.a).run());
    }
    return {};
}

Result<> repair_dead_octets(Repairer&, Tx& tx, const Targets& targets) {
    Connection& db = context_of(tx).db;
    // There is no index by segment: one pass for all of them.
    std::map<std::int64_t, std::int64_t> live;
    for (const auto& target : targets) live[target.a] = 0;
    {
        Query q = db.query("SELECT segment, sum(stored_octets + ?1) FROM messages GROUP BY segment");
        q.bind(kRecordHeaderOctets);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            if (const auto found = live.find(q.i64(0)); found != live.end()) found->second = q.i64(1);
        }
    }
    for (const auto& [segment, octets] : live) {
        TRY_VOID(db.query("UPDATE segments SET dead_octets = max(0, octets - ?2 - ?3) WHERE id = ?1")
                     .bind(segment, kFileHeaderOctets, octets)
                     .run());
    }
    return {};
}

constexpr std::pair<FaultKind, RepairFn> kRepairs[] = {
    {FaultKind::database_damaged, repair_indexes},
    {FaultKind::counter_behind, repair_counter},
    {FaultKind::account_without_domain, repair_account_domain},
    {FaultKind::domain_not_hosted, repair_hosting},
    {FaultKind::segment_row_missing, repair_segment_row},
    {FaultKind::message_place, repair_message_place},
    {FaultKind::segment_header, repair_segment_header},
    {FaultKind::segment_not_sealed, repair_segment_state},
    {FaultKind::mailbox_without_account, repair_mailbox_without_account},
    {FaultKind::entry_without_mailbox, repair_entry_without_mailbox},
    {FaultKind::mailbox_name, repair_mailbox_name},
    {FaultKind::mailbox_uids, repair_mailbox_uids},
    {FaultKind::row_without_owner, repair_orphan_rows},
    {FaultKind::setting_value, repair_setting},
    {FaultKind::recipient_without_item, repair_recipient_without_item},
    {FaultKind::item_without_recipients, repair_item_without_recipients},
    {FaultKind::item_finished, repair_item_finished},
    {FaultKind::recipient_state, repair_recipient_state},
    {FaultKind::recipient_address, repair_recipient_address},
    {FaultKind::recipient_waits, repair_recipient_waits},
    {FaultKind::recipient_held, repair_recipient_held},
    {FaultKind::uid_validity_twice, repair_uid_validity_twice},
    {FaultKind::special_use_twice, repair_special_use_twice},
    {FaultKind::entry_keywords, repair_entry_keywords},
    {FaultKind::entry_flags, repair_entry_flags},
    {FaultKind::entry_size, repair_entry_size},
    {FaultKind::entry_modseq, repair_entry_modseq},
    {FaultKind::flag_runs, repair_flag_runs},
    {FaultKind::expunged_alive, repair_expunged_alive},
    {FaultKind::expunged_without_mailbox, repair_expunged_without_mailbox},
    {FaultKind::message_unreferenced, repair_message_unreferenced},
    {FaultKind::message_refs, repair_message_refs},
    {FaultKind::facts_stale, repair_facts},
    {FaultKind::mailbox_counters, repair_mailbox_counts},
    {FaultKind::mailbox_uid_next, repair_mailbox_counts},
    {FaultKind::mailbox_modseq, repair_mailbox_counts},
    {FaultKind::account_used, repair_account_counts},
    {FaultKind::account_modseq, repair_account_counts},
    {FaultKind::account_uid_validity, repair_account_counts},
    {FaultKind::segment_file_missing, repair_segment_file},
    {FaultKind::segment_short, repair_segment_short},
    {FaultKind::segment_dead_octets, repair_dead_octets},
    {FaultKind::segment_row_left, repair_segment_row_left},
    {FaultKind::orphan_file, repair_orphan_file},
    {FaultKind::leftover_file, repair_leftover_file},
};

/// A write for some; where it fails, one for each, so that what cannot be mended does not keep the rest.
void mend(Repairer& repairer, FaultKind kind, RepairFn repair, const std::set<Findings::Target>& all) {
    auto next = all.begin();
    while (next != all.end()) {
        Targets some;
        while (next != all.end() && some.size() < kTargetsAWrite) some.push_back(*next++);
        const auto together = repairer.store.write({}, [&](Tx& tx) { return repair(repairer, tx, some); });
        if (together) continue;
        for (const Findings::Target& one : some) {
            const Targets alone = {one};
            const auto done = repairer.store.write({}, [&](Tx& tx) { return repair(repairer, tx, alone); });
            if (!done) log::error("storage", "{} cannot be repaired: {}", row_of(kind).code, done.error().context);
        }
    }
}

Result<> mend_round(Repairer& repairer, const Findings& findings, const CheckObserver& observer) {
    const Result<> lost = repair_lost_messages(repairer, findings, observer);
    if (!lost) log::error("storage", "lost messages could not all be looked for: {}", lost.error().context);
    for (const auto& [kind, repair] : kRepairs) {
        if (findings.has(kind)) mend(repairer, kind, repair, findings.targets(kind));
    }
    return {};
}

/// What is still there, by names alone.
std::map<FaultKind, std::set<Findings::Target>> names_of(const Findings& findings) {
    std::map<FaultKind, std::set<Findings::Target>> out;
    for (const auto& [kind, group] : findings.groups()) out.emplace(kind, group.targets);
    return out;
}

}  // namespace

Result<> ReportFile::note(std::string_view sentence) {
    if (!file_) {
        std::string stamp = format_rfc3339(system_clock().now());
        std::erase_if(stamp, [](char c) { return c == ':' || c == '-' || c == '.'; });
        const std::string name = fmt::format("fsck-{}.txt", stamp);
        TRY(file_, open_beneath(directory_.root(), name, O_RDWR | O_CREAT));
        TRY(end_, size_of(file_));
        TRY_VOID(sync_directory(directory_.root()));
        name_ = name;
    }
    const std::string line = log::escape(sentence) + "\n";
    TRY_VOID(write_at(file_, end_, line));
    end_ += line.size();
    return sync_data(file_);
}

Result<RepairReport> repair_store(Store& store, CheckReport& report, const CheckOptions& options,
                                  const RepairOptions& how, const CheckObserver& observer) {
    TRY(const Descriptor segments_held, hold_segments(directory_of(store)));
    ReportFile notes(directory_of(store));
    Repairer repairer{store, notes, std::nullopt};
    if (!how.account.empty()) {
        TRY(const Account heir, store.read([&](const Snapshot& s) { return s.catalog().account(how.account); }));
        repairer.heir = heir.id;
    }
    RepairReport out;
    CheckOptions rows_only = options;
    rows_only.bodies = false;
    Findings now = report.findings;
    for (int round = 0; round < kRoundsMax; ++round) {
        TRY_VOID(mend_round(repairer, now, observer));
        TRY(out.left, check_store(store, rows_only, observer));
        if (names_of(out.left.findings) == names_of(now)) break;
        now = out.left.findings;
        if (now.faults() == 0) break;
    }
    const bool bodies = report.findings.has(FaultKind::body_unreadable) ||
                        report.findings.has(FaultKind::body_damaged) || report.findings.has(FaultKind::facts_stale) ||
                        report.findings.has(FaultKind::entry_without_message);
    if (options.bodies && bodies) {
        TRY(out.left, check_store(store, options, observer));
    }
    report.findings.settle(out.left.findings);
    for (const auto& [kind, group] : report.findings.groups()) out.mended += group.repaired;
    out.report_file = notes.name();
    return out;
}

}  // namespace posthouse::storage
