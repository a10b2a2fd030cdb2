// What the administrator set and what counts numbers: domains, accounts, aliases, keys, counters.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "storage/check/rows.h"
#include "storage/mail_impl.h"
#include "storage/settings.h"

namespace posthouse::storage {
namespace {

Result<> load_accounts(Picture& picture) {
    Query q = picture.db.query(
        "SELECT id, address, domain, used_octets, used_messages, modseq, uid_validity_next FROM accounts");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        AccountRow row;
        row.address = q.text(1);
        row.domain = q.i64(2);
        row.used_octets = q.i64(3);
        row.used_messages = q.i64(4);
        row.modseq = q.i64(5);
        row.uid_validity_next = q.i64(6);
        picture.accounts.emplace(q.i64(0), std::move(row));
    }
}

/// A flipped bit in a page is seen by nobody, but it may have made a value that cannot be.
void check_mailbox_values(Picture& picture, std::int64_t id, std::int64_t uid_validity) {
    const MailboxRow& row = picture.mailboxes.at(id);
    if (const auto good = check_mailbox_name(row.name); !good) {
        picture.findings().add(
            FaultKind::mailbox_name, id, 0,
            fmt::format("mailbox {} of {}: {}", id, picture.account_name(row.account), good.error().context),
            picture.place(id));
    }
    if (uid_validity < 1 || uid_validity > kUidMax) {
        picture.findings().add(FaultKind::mailbox_uids, id, 0,
                               fmt::format("{}: its UIDVALIDITY is {}", picture.where(id), uid_validity),
                               picture.place(id));
    } else if (row.uid_next < 1 || row.uid_next > kUidMax + 1) {
        picture.findings().add(FaultKind::mailbox_uids, id, 0,
                               fmt::format("{}: its UIDNEXT is {}", picture.where(id), row.uid_next),
                               picture.place(id));
    }
}

Result<> load_mailboxes(Picture& picture) {
    Query q = picture.db.query(
        "SELECT id, account, name, uid_validity, uid_next, highest_modseq, messages, unseen, octets, special_use "
        "FROM mailboxes ORDER BY id");
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> validities;
    std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> uses;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        const std::int64_t id = q.i64(0);
        MailboxRow row;
        row.account = q.i64(1);
        row.name = q.text(2);
        row.uid_next = q.i64(4);
        row.highest_modseq = q.i64(5);
        row.messages = q.i64(6);
        row.unseen = q.i64(7);
        row.octets = q.i64(8);
        row.modseq_max = 0;
        const auto added = picture.mailboxes.emplace(id, std::move(row)).first;
        const std::int64_t account = added->second.account;
        const auto owner = picture.accounts.find(account);
        if (owner == picture.accounts.end()) {
            picture.findings().add(FaultKind::mailbox_without_account, id, 0,
                                   fmt::format("mailbox {} ({}) belongs to account {}, which is not there", id,
                                               added->second.name, account),
                                   picture.place(id));
            continue;
        }
        check_mailbox_values(picture, id, q.i64(3));
        if (q.i64(3) <= kUidMax) owner->second.uid_validity_max = std::max(owner->second.uid_validity_max, q.i64(3));
        owner->second.modseq_max = std::max(owner->second.modseq_max, added->second.highest_modseq);
        const auto [elder, unique] = validities.emplace(std::pair(account, q.i64(3)), id);
        if (!unique) {
            picture.findings().add(FaultKind::uid_validity_twice, id, elder->second,
                                   fmt::format("{} has the same UIDVALIDITY as {}", picture.where(id),
                                               picture.mailboxes.at(elder->second).name),
                                   picture.place(id));
        }
        if (q.i64(9) == 0) continue;
        const auto [first, only] = uses.emplace(std::pair(account, q.i64(9)), id);
        if (!only) {
            picture.findings().add(FaultKind::special_use_twice, id, first->second,
                                   fmt::format("{} has the same special use as {}", picture.where(id),
                                               picture.mailboxes.at(first->second).name),
                                   picture.place(id));
        }
    }
}

Result<> check_domains(Picture& picture) {
    Query q = picture.db.query(
        "SELECT a.id, a.address, a.domain FROM accounts a LEFT JOIN domains d ON d.id = a.domain WHERE d.id IS NULL");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        Place place;
        place.account = q.text(1);
        picture.findings().add(FaultKind::account_without_domain, q.i64(0), 0,
                               fmt::format("{} belongs to domain {}, which is not there", q.view(1), q.i64(2)),
                               std::move(place));
    }
}

Result<> check_hosting(Picture& picture) {
    Query q = picture.db.query(
        "SELECT d.id, d.name FROM domains d WHERE d.hosted = 0 AND EXISTS (SELECT 1 FROM accounts a WHERE a.domain = "
        "d.id)");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        picture.findings().add(FaultKind::domain_not_hosted, q.i64(0), 0,
                               fmt::format("{} only signs, but accounts of it are here", q.view(1)));
    }
}

Result<> check_settings(Picture& picture) {
    const auto rows = setting_rows();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        Query q = picture.db.query("SELECT value FROM settings WHERE key = ?1");
        TRY(const bool set, q.bind(rows[i].key).row());
        if (!set) continue;
        const auto good = check_setting(rows[i].key, q.view(0));
        if (good) continue;
        picture.findings().add(FaultKind::setting_value, static_cast<std::int64_t>(i), 0, good.error().context);
    }
    return {};
}

Result<> check_aliases(Picture& picture) {
    Query q = picture.db.query(
        "SELECT id, address FROM aliases a WHERE NOT EXISTS (SELECT 1 FROM alias_targets t WHERE t.alias = a.id)");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        picture.findings().add(FaultKind::alias_without_targets, q.i64(0), 0,
                               fmt::format("the alias {} has no target", q.view(1)));
    }
}

/// Rows that nothing owns: (which of kOwned, owner). The repair names the same tables.
Result<> check_owners(Picture& picture) {
    Query q = picture.db.query(
        "SELECT 1, 'alias_targets', alias FROM alias_targets WHERE alias NOT IN (SELECT id FROM aliases) "
        "UNION SELECT 2, 'dkim_keys', domain FROM dkim_keys WHERE domain NOT IN (SELECT id FROM domains) "
        "UNION SELECT 3, 'subscriptions', account FROM subscriptions WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 4, 'keywords', account FROM keywords WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 5, 'keyword_sets', account FROM keyword_sets WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 6, 'deleted_mailboxes', account FROM deleted_mailboxes "
        "      WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 7, 'deleted_entries', account FROM deleted_entries "
        "      WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 8, 'import_folders', account FROM import_folders WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 9, 'imported', folder FROM imported WHERE folder NOT IN (SELECT id FROM import_folders) "
        "UNION SELECT 10, 'annotations', mailbox FROM annotations "
        "      WHERE mailbox <> 0 AND mailbox NOT IN (SELECT id FROM mailboxes) "
        "UNION SELECT 11, 'annotations', account FROM annotations "
        "      WHERE account <> 0 AND account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 12, 'mailbox_rights', mailbox FROM mailbox_rights "
        "      WHERE mailbox NOT IN (SELECT id FROM mailboxes) "
        "UNION SELECT 13, 'scram_keys', account FROM scram_keys WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 14, 'app_passwords', account FROM app_passwords WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 15, 'api_tokens', account FROM api_tokens WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 16, 'capability_switches', account FROM capability_switches "
        "      WHERE account <> 0 AND account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 30, 'account_hours', account FROM account_hours WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 31, 'account_recipients', account FROM account_recipients "
        "      WHERE account NOT IN (SELECT id FROM accounts) "
        "UNION SELECT 32, 'account_trust', account FROM account_trust WHERE account NOT IN (SELECT id FROM accounts)");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        picture.findings().add(FaultKind::row_without_owner, q.i64(0), q.i64(2),
                               fmt::format("rows of {} belong to number {}, which is not there", q.view(1), q.i64(2)));
    }
}

Result<std::int64_t> counter(Picture& picture, std::string_view name) {
    Query q = picture.db.query("SELECT value FROM counters WHERE name = ?1");
    TRY(const bool found, q.bind(name).row());
    return found ? q.i64(0) : -1;
}

void check_counter(Picture& picture, int which, std::string_view name, std::int64_t value, std::int64_t least) {
    if (value >= least) return;
    picture.findings().add(FaultKind::counter_behind, which, 0,
                           value < 0 ? fmt::format("the counter \"{}\" is not there", name)
                                     : fmt::format("the counter \"{}\" is {}, but {} was given already", name, value,
                                                   least - (which == 1 ? 1 : 0)));
}

/// 'message' is the first id that nobody has reserved, 'event' the last one given.
Result<> check_counters(Picture& picture) {
    TRY(const std::int64_t last_row, picture.db.value("SELECT coalesce(max(id), 0) FROM messages"));
    TRY(const std::int64_t last_told, picture.db.value("SELECT coalesce(max(message), 0) FROM events"));
    TRY(const std::int64_t message, counter(picture, "message"));
    TRY(const std::int64_t event, counter(picture, "event"));
    TRY(const std::int64_t verify, counter(picture, "verify"));
    check_counter(picture, 1, "message", message, std::max(last_row, last_told) + 1);
    // By the index of keys in quick mode: nearly every message has an event with a key.
    TRY(const std::int64_t last_event,
        picture.options.quick ? picture.db.value("SELECT coalesce(max(event), 0) FROM event_keys WHERE bucket = "
                                                 "(SELECT max(bucket) FROM event_keys)")
                              : picture.db.value("SELECT coalesce(max(id), 0) FROM events"));
    check_counter(picture, 2, "event", event, last_event);
    check_counter(picture, 3, "verify", verify, 0);
    return {};
}

}  // namespace

std::string Picture::account_name(std::int64_t account) const {
    const auto found = accounts.find(account);
    return found == accounts.end() ? fmt::format("account {}", account) : found->second.address;
}

std::string Picture::where(std::int64_t mailbox, std::int64_t uid) const {
    const auto found = mailboxes.find(mailbox);
    std::string out = found == mailboxes.end()
                          ? fmt::format("mailbox {}", mailbox)
                          : fmt::format("{}, {}", account_name(found->second.account), found->second.name);
    if (uid != 0) out += fmt::format(", UID {}", uid);
    return out;
}

Place Picture::place(std::int64_t mailbox, std::int64_t uid, std::int64_t message) const {
    Place out;
    if (const auto found = mailboxes.find(mailbox); found != mailboxes.end()) {
        out.account = account_name(found->second.account);
        out.mailbox = found->second.name;
    }
    out.uid = static_cast<Uid>(uid);
    out.message = static_cast<MessageId>(message);
    return out;
}

Result<> load_catalog(Picture& picture) {
    TRY_VOID(load_accounts(picture));
    TRY_VOID(load_mailboxes(picture));
    Query q = picture.db.query("SELECT id, account FROM keyword_sets");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        picture.keyword_sets.emplace(q.i64(0), q.i64(1));
    }
    picture.report.accounts = picture.accounts.size();
    picture.report.mailboxes = picture.mailboxes.size();
    return {};
}

Result<> check_catalog(Picture& picture) {
    TRY_VOID(check_domains(picture));
    TRY_VOID(check_hosting(picture));
    TRY_VOID(check_aliases(picture));
    TRY_VOID(check_owners(picture));
    TRY_VOID(check_settings(picture));
    return check_counters(picture);
}

}  // namespace posthouse::storage
