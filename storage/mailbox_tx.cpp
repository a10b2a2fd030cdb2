// Mailboxes as such: made, renamed, removed, subscribed. Names are paths, so that a rename is a change of names only:
// ids, UIDs and UIDVALIDITY stay, and no entry is touched (but for INBOX, whose messages move).
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

/// C1 controls in UTF-8 are C2 80 .. C2 9F.
bool has_control(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (ascii::is_control(text[i])) return true;
        if (text[i] == '\xc2' && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) return true;
    }
    return false;
}

Error bad_name(std::string_view name, std::string_view why) {
    return Error(Errc::invalid, fmt::format("\"{}\" cannot be a mailbox name: {}", name, why));
}

}  // namespace

Result<std::string> check_mailbox_name(std::string_view name) {
    if (name.empty()) return bad_name(name, "it is empty");
    if (name.size() > kMailboxNameOctetsMax) return bad_name(name.substr(0, 40), "it is too long");
    if (!ascii::is_valid_utf8(name)) return Error(Errc::invalid, "a mailbox name must be valid UTF-8");
    if (has_control(name)) return Error(Errc::invalid, "a mailbox name cannot have control characters");
    std::size_t levels = 0;
    std::string_view rest = name;
    for (bool more = true; more;) {
        const std::size_t slash = rest.find('/');
        const std::string_view level = rest.substr(0, slash);
        if (level.empty()) return bad_name(name, "a level is empty");
        if (level.size() > kMailboxLevelOctetsMax) return bad_name(level.substr(0, 40), "a level is over 255 octets");
        if (level == "." || level == "..") return bad_name(name, "a level is \".\" or \"..\"");
        if (++levels > kMailboxLevelsMax) return bad_name(name, "it has too many levels");
        more = slash != std::string_view::npos;
        if (more) rest.remove_prefix(slash + 1);
    }
    return canonical_mailbox_name(name);
}

Result<ModSeq> MailImpl::next_modseq() {
    Query q = db_.query("UPDATE accounts SET modseq = modseq + 1 WHERE id = ?1 RETURNING modseq");
    TRY(const bool found, q.bind(account_).row());
    if (!found) return Error(Errc::not_found, "there is no such account");
    const ModSeq modseq = q.u64(0);
    TRY_VOID(q.run());
    return modseq;
}

Result<> MailImpl::make_row(const std::string& name, SpecialUse use) {
    if (use != SpecialUse::none) {
        Query q = db_.query("SELECT name FROM mailboxes WHERE account = ?1 AND special_use = ?2");
        TRY(const bool taken, q.bind(account_, use).row());
        if (taken) return Error(Errc::already_exists, fmt::format("\"{}\" has that special use already", q.text(0)));
    }
    TRY(const ModSeq modseq, next_modseq());
    std::int64_t validity = 0;
    {
        // Never below the time: a later account, or a restored one, does not fall back behind what clients have seen.
        Query q = db_.query(
            "UPDATE accounts SET uid_validity_next = max(uid_validity_next, ?2) + 1 WHERE id = ?1 "
            "RETURNING uid_validity_next - 1");
        TRY_VOID(q.bind(account_, to_unix_ms(context_.write->now) / 1000).row());
        validity = q.i64(0);
        TRY_VOID(q.run());
    }
    TRY_VOID(db_.query("INSERT INTO mailboxes (account, name, uid_validity, highest_modseq, special_use) "
                       "VALUES (?1, ?2, ?3, ?4, ?5)")
                 .bind(account_, name, validity, modseq, use)
                 .run());
    const auto made = static_cast<MailboxId>(db_.last_id());
    context_.write->changed(account_, made, modseq);
    const std::size_t slash = name.rfind('/');
    if (slash == std::string::npos) return {};
    // Whoever may use the mailbox above may use this one (RFC 4314 4).
    const std::string above = name.substr(0, slash);
    return db_
        .query(
            "INSERT INTO mailbox_rights SELECT ?1, r.identifier, r.rights FROM mailboxes b "
            "JOIN mailbox_rights r ON r.mailbox = b.id WHERE b.account = ?2 AND b.name = ?3")
        .bind(made, account_, above)
        .run();
}

Result<> MailImpl::make_parents(const std::string& name) {
    for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
        const std::string parent = name.substr(0, slash);
        if (!mailbox(parent)) TRY_VOID(make_row(parent, SpecialUse::none));
    }
    return {};
}

Result<Mailbox> MailImpl::create(std::string_view name, SpecialUse use) {
    TRY(const std::string key, check_mailbox_name(name));
    if (mailbox(key)) return Error(Errc::already_exists, fmt::format("there is a mailbox \"{}\" already", key));
    TRY_VOID(make_parents(key));
    TRY_VOID(make_row(key, use));
    return mailbox(key);
}

Result<std::vector<std::string>> MailImpl::children(std::string_view name) const {
    // '0' is the octet behind '/': the range holds everything below `name`, whatever its characters.
    const std::string from = std::string(name) + "/";
    const std::string to = std::string(name) + "0";
    Query q = db_.query("SELECT name FROM mailboxes WHERE account = ?1 AND name > ?2 AND name < ?3 ORDER BY name");
    q.bind(account_, from, to);
    std::vector<std::string> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(q.text(0));
    }
}

Result<> MailImpl::rename(std::string_view from_name, std::string_view to_name) {
    const std::string from = canonical_mailbox_name(from_name);
    TRY(const std::string to, check_mailbox_name(to_name));
    if (mailbox(to)) return Error(Errc::already_exists, fmt::format("there is a mailbox \"{}\" already", to));
    if (from == "INBOX") return rename_inbox(to);
    TRY(const std::vector<std::string> below, children(from));
    const bool exists = mailbox(from).has_value();
    if (!exists && below.empty()) return Error(Errc::not_found, fmt::format("there is no mailbox \"{}\"", from));
    if (to.starts_with(from + "/")) return bad_name(to, "a mailbox cannot move below itself");
    TRY_VOID(make_parents(to));
    std::vector<std::pair<std::string, std::string>> moves;
    if (exists) moves.emplace_back(from, to);
    for (const std::string& child : below) {
        TRY(std::string target, check_mailbox_name(to + child.substr(from.size())));
        if (mailbox(target))
            return Error(Errc::already_exists, fmt::format("there is a mailbox \"{}\" already", target));
        moves.emplace_back(child, std::move(target));
    }
    for (const auto& [old_name, new_name] : moves) {
        TRY(const Mailbox moved, mailbox(old_name));
        TRY_VOID(db_.query("UPDATE mailboxes SET name = ?2 WHERE id = ?1").bind(moved.id, new_name).run());
        context_.write->changed(account_, moved.id, moved.highest_modseq);
    }
    return {};
}

Result<> MailImpl::rename_inbox(const std::string& to) {
    TRY(const Mailbox inbox, mailbox("INBOX"));
    TRY(const Mailbox target, create(to, SpecialUse::none));
    TRY(const std::vector<Entry> all, entries(inbox.id, 1, ~Uid{0}));
    std::vector<Uid> uids;
    uids.reserve(all.size());
    for (const Entry& entry : all) uids.push_back(entry.uid);
    TRY_VOID(move(inbox.id, uids, target.id));
    // INBOX keeps its own (RFC 5464 4.1).
    TRY_VOID(db_.query("INSERT OR IGNORE INTO annotations SELECT ?2, account, entry, value FROM annotations "
                       "WHERE mailbox = ?1")
                 .bind(inbox.id, target.id)
                 .run());
    return {};
}

Result<> MailImpl::remove(std::string_view name) {
    const std::string key = canonical_mailbox_name(name);
    if (key == "INBOX") return Error(Errc::denied, "INBOX cannot be removed");
    TRY(const Mailbox gone, mailbox(key));
    TRY_VOID(db_.query("INSERT INTO deleted_entries SELECT ?2, ?3, mailbox, uid, ?4, flags, keyword_set, "
                       "internal_date_s, save_date_s, size_octets, message FROM entries WHERE mailbox = ?1")
                 .bind(gone.id, account_, context_.write->now, key)
                 .run());
    TRY_VOID(db_.query("INSERT INTO deleted_mailboxes VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
                 .bind(account_, context_.write->now, gone.id, key, gone.special_use, gone.subscribed)
                 .run());
    TRY_VOID(db_.query("DELETE FROM entries WHERE mailbox = ?1").bind(gone.id).run());
    TRY_VOID(db_.query("DELETE FROM flag_runs WHERE mailbox = ?1").bind(gone.id).run());
    // QRESYNC ends with the mailbox: one made anew under the name has another UIDVALIDITY.
    TRY_VOID(db_.query("DELETE FROM expunged WHERE mailbox = ?1").bind(gone.id).run());
    TRY_VOID(db_.query("DELETE FROM annotations WHERE mailbox = ?1").bind(gone.id).run());
    TRY_VOID(db_.query("DELETE FROM mailbox_rights WHERE mailbox = ?1").bind(gone.id).run());
    TRY_VOID(db_.query("DELETE FROM mailboxes WHERE id = ?1").bind(gone.id).run());
    TRY_VOID(give_quota(gone.octets, gone.messages));
    TRY(const ModSeq modseq, next_modseq());
    context_.write->removed(account_, gone.id, modseq);
    return {};
}

Result<> MailImpl::set_subscribed(std::string_view name, bool subscribed) {
    const std::string key = canonical_mailbox_name(name);
    context_.write->changed(account_, MailboxId{}, 0);
    if (!subscribed) {
        return db_.query("DELETE FROM subscriptions WHERE account = ?1 AND name = ?2").bind(account_, key).run();
    }
    TRY_VOID(check_mailbox_name(key));
    return db_.query("INSERT OR IGNORE INTO subscriptions VALUES (?1, ?2)").bind(account_, key).run();
}

Result<> MailImpl::remove_everything() {
    std::vector<MessageId> messages;
    {
        Query q = db_.query(
            "SELECT e.message FROM mailboxes b JOIN entries e ON e.mailbox = b.id WHERE b.account = ?1 "
            "UNION ALL SELECT message FROM deleted_entries WHERE account = ?1");
        q.bind(account_);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            messages.push_back(q.id<MessageId>(0));
        }
    }
    for (const MessageId message : messages) change_refs(context_, message, -1);
    TRY(const std::vector<Mailbox> all, mailboxes());
    for (const Mailbox& gone : all) {
        TRY_VOID(db_.query("DELETE FROM entries WHERE mailbox = ?1").bind(gone.id).run());
        TRY_VOID(db_.query("DELETE FROM flag_runs WHERE mailbox = ?1").bind(gone.id).run());
        TRY_VOID(db_.query("DELETE FROM expunged WHERE mailbox = ?1").bind(gone.id).run());
        TRY_VOID(db_.query("DELETE FROM annotations WHERE mailbox = ?1").bind(gone.id).run());
        TRY_VOID(db_.query("DELETE FROM mailbox_rights WHERE mailbox = ?1").bind(gone.id).run());
        context_.write->changed(account_, gone.id, gone.highest_modseq);
    }
    TRY_VOID(db_.query("DELETE FROM deleted_entries WHERE account = ?1").bind(account_).run());
    TRY_VOID(db_.query("DELETE FROM deleted_mailboxes WHERE account = ?1").bind(account_).run());
    TRY_VOID(db_.query("DELETE FROM imported WHERE folder IN (SELECT id FROM import_folders WHERE account = ?1)")
                 .bind(account_)
                 .run());
    TRY_VOID(db_.query("DELETE FROM import_folders WHERE account = ?1").bind(account_).run());
    TRY_VOID(db_.query("DELETE FROM mailboxes WHERE account = ?1").bind(account_).run());
    TRY_VOID(db_.query("DELETE FROM annotations WHERE account = ?1").bind(account_).run());
    TRY_VOID(db_.query("DELETE FROM subscriptions WHERE account = ?1").bind(account_).run());
    TRY_VOID(db_.query("DELETE FROM keywords WHERE account = ?1").bind(account_).run());
    return db_.query("DELETE FROM keyword_sets WHERE account = ?1").bind(account_).run();
}

}  // namespace posthouse::storage
