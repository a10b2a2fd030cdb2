// What was removed and can still be brought back. A removed entry keeps its reference to the body, so that restoring
// moves a row and copies nothing; when `undelete.days` are over the purge takes row and reference away.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

DeletedMailbox deleted_mailbox_of(const Query& row) {
    DeletedMailbox out;
    out.deleted = row.time(0);
    out.mailbox = row.id<MailboxId>(1);
    out.name = row.text(2);
    out.special_use = static_cast<SpecialUse>(row.i64(3));
    out.subscribed = row.flag(4);
    return out;
}

std::optional<std::int64_t> ms_of(const std::optional<Time>& time) {
    if (!time) return std::nullopt;
    return to_unix_ms(*time);
}

}  // namespace

Result<std::vector<DeletedEntry>> MailImpl::deleted(const DeletedQuery& query) const {
    Query q = db_.query(
        "SELECT d.deleted_ms, d.mailbox, d.uid, d.mailbox_name, d.internal_date_s, d.size_octets, m.subject, "
        "m.from_text FROM deleted_entries d JOIN messages m ON m.id = d.message WHERE d.account = ?1 "
        "AND d.deleted_ms >= ?2 AND d.deleted_ms <= ?3 AND (?4 = '' OR d.mailbox_name = ?4) "
        "AND (?5 IS NULL OR d.mailbox = ?5) AND (?6 IS NULL OR d.uid = ?6) "
        "AND (d.deleted_ms, d.mailbox, d.uid) < (?7, ?8, ?9) "
        "ORDER BY d.deleted_ms DESC, d.mailbox DESC, d.uid DESC LIMIT ?10");
    constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max();
    const std::int64_t from = ms_of(query.at ? query.at : query.since).value_or(std::int64_t{0});
    const std::int64_t to = ms_of(query.at).value_or(kLast);
    const std::string name = canonical_mailbox_name(query.mailbox);
    const DeletedKey before = query.before.value_or(DeletedKey{});
    q.bind(account_, from, to, name, query.lay_in, query.uid, query.before ? to_unix_ms(before.deleted) : kLast,
           before.mailbox, before.uid, query.limit);
    std::vector<DeletedEntry> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        DeletedEntry& entry = out.emplace_back();
        entry.key = DeletedKey{q.time(0), q.id<MailboxId>(1), q.u32(2)};
        entry.mailbox_name = q.text(3);
        entry.internal_date_s = q.i64(4);
        entry.size_octets = q.u64(5);
        entry.subject = q.text(6);
        entry.from = q.text(7);
    }
}

Result<std::vector<DeletedMailbox>> MailImpl::deleted_mailboxes() const {
    Query q = db_.query(
        "SELECT deleted_ms, mailbox, name, special_use, subscribed FROM deleted_mailboxes WHERE account = ?1 "
        "ORDER BY deleted_ms DESC, mailbox DESC");
    q.bind(account_);
    std::vector<DeletedMailbox> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(deleted_mailbox_of(q));
    }
}

Result<std::vector<MailImpl::Removed>> MailImpl::find_removed(std::span<const DeletedKey> keys) const {
    Query q = db_.query(
        "SELECT mailbox_name, flags, keyword_set, internal_date_s, size_octets, message FROM deleted_entries "
        "WHERE account = ?1 AND deleted_ms = ?2 AND mailbox = ?3 AND uid = ?4");
    // In the order they had, so that the new UIDs tell the same story; each once.
    std::vector<DeletedKey> wanted(keys.begin(), keys.end());
    const auto order = [](const DeletedKey& k) { return std::tuple(k.mailbox, k.uid, k.deleted); };
    std::ranges::sort(wanted, {}, order);
    std::vector<Removed> out;
    for (const DeletedKey& key : wanted) {
        if (!out.empty() && order(out.back().key) == order(key)) continue;
        q.reset();
        TRY(const bool found, q.bind(account_, key.deleted, key.mailbox, key.uid).row());
        if (!found) continue;
        Removed& removed = out.emplace_back();
        removed.key = key;
        removed.mailbox_name = q.text(0);
        removed.entry.flags = static_cast<FlagBits>(q.i64(1) & ~std::int64_t{bit(Flag::deleted)});
        removed.entry.keyword_set = q.u32(2);
        removed.entry.internal_date_s = q.i64(3);
        removed.entry.size_octets = q.u64(4);
        removed.entry.message = q.id<MessageId>(5);
        // It comes into the mailbox now: a rule of retention counts from here, or it would be gone again at once.
        removed.entry.save_date_s = to_unix_ms(context_.write->now) / 1000;
    }
    return out;
}

Result<std::optional<DeletedMailbox>> MailImpl::last_removal(MailboxId mailbox) const {
    Query q = db_.query(
        "SELECT deleted_ms, mailbox, name, special_use, subscribed FROM deleted_mailboxes WHERE account = ?1 AND "
        "mailbox = ?2");
    TRY(const bool found, q.bind(account_, mailbox).row());
    if (!found) return std::optional<DeletedMailbox>();
    return std::optional(deleted_mailbox_of(q));
}

Result<Mailbox> MailImpl::made_again(const DeletedMailbox& gone) {
    if (auto there = mailbox(gone.name)) return there;
    SpecialUse use = gone.special_use;
    {
        Query q = db_.query("SELECT 1 FROM mailboxes WHERE account = ?1 AND special_use = ?2");
        TRY(const bool taken, q.bind(account_, use).row());
        if (taken) use = SpecialUse::none;
    }
    TRY(const Mailbox made, create(gone.name, use));
    if (gone.subscribed) TRY_VOID(set_subscribed(gone.name, true));
    TRY_VOID(db_.query("DELETE FROM deleted_mailboxes WHERE account = ?1 AND deleted_ms = ?2 AND mailbox = ?3")
                 .bind(account_, gone.deleted, gone.mailbox)
                 .run());
    return made;
}

Result<MailboxId> MailImpl::place_of(const Removed& removed, std::string_view into) {
    if (!into.empty()) {
        if (const auto there = mailbox(into)) return there->id;
        TRY(const Mailbox made, create(into, SpecialUse::none));
        return made.id;
    }
    // The mailbox itself, whatever it is called by now.
    if (check(removed.key.mailbox)) return removed.key.mailbox;
    TRY(const auto gone, last_removal(removed.key.mailbox));
    const std::string& name = gone ? gone->name : removed.mailbox_name;
    if (const auto there = mailbox(name)) return there->id;
    DeletedMailbox unknown;
    unknown.name = name;
    TRY(const Mailbox made, made_again(gone ? *gone : unknown));
    return made.id;
}

Result<> MailImpl::put_back(MailboxId mailbox, std::vector<Removed>& removed) {
    Counters more;
    for (const Removed& one : removed) count(more, one.entry, 1);
    TRY(const ModSeq modseq,
        take_place(static_cast<std::uint64_t>(more.octets), removed.size(), QuotaRule::keep));
    TRY(Uid uid, take_uids(mailbox, removed.size(), modseq, more));
    Query drop =
        db_.query("DELETE FROM deleted_entries WHERE account = ?1 AND deleted_ms = ?2 AND mailbox = ?3 AND uid = ?4");
    for (Removed& one : removed) {
        one.entry.uid = uid++;
        one.entry.modseq = modseq;
        TRY_VOID(insert_entry(mailbox, one.entry));
        drop.reset();
        TRY_VOID(drop.bind(account_, one.key.deleted, one.key.mailbox, one.key.uid).run());
    }
    return {};
}

Result<Restored> MailImpl::restore(std::span<const DeletedKey> keys, std::string_view into) {
    TRY(std::vector<Removed> found, find_removed(keys));
    std::map<MailboxId, std::vector<Removed>> by_place;
    std::map<MailboxId, MailboxId> places;  // most lay in a few mailboxes
    for (Removed& removed : found) {
        auto place = places.find(removed.key.mailbox);
        if (place == places.end()) {
            TRY(const MailboxId target, place_of(removed, into));
            place = places.emplace(removed.key.mailbox, target).first;
        }
        by_place[place->second].push_back(std::move(removed));
    }
    Restored out;
    for (auto& [id, removed] : by_place) {
        TRY_VOID(put_back(id, removed));
        TRY(const Mailbox box, mailbox(id));
        out.places.push_back(Restored::Place{id, box.name, removed.size()});
        out.messages += removed.size();
    }
    return out;
}

Result<Mailbox> MailImpl::restore_mailbox(Time deleted, MailboxId mailbox) {
    TRY(const auto gone, last_removal(mailbox));
    if (!gone || gone->deleted != deleted) {
        return Error(Errc::not_found, "that mailbox can no longer be restored");
    }
    return made_again(*gone);
}

}  // namespace posthouse::storage
