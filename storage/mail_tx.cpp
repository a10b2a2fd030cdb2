// New entries, and what they take: quota, UIDs, keywords; changes of many are in mail_bulk.cpp. Every change takes one
// MODSEQ of the account for all entries it touches (RFC 7162 3.1 asks for "higher than before", not for a number each),
// and moves the counters of mailbox and account in the same transaction: STATUS and quotas are read from a row, never
// counted.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

/// flag-keyword is an atom (RFC 3501 9): no controls, blanks or specials.
bool is_keyword(std::string_view name) {
    return !name.empty() && name.size() <= kKeywordOctetsMax && std::ranges::all_of(name, [](char c) {
        return ascii::is_printable(c) && c != ' ' && std::string_view("(){%*\"\\]").find(c) == std::string_view::npos;
    });
}

// The sum over a domain's accounts is only made where the domain has a quota: 0 says that it has none.
#define LIMITED_DOMAIN \
    "coalesce((SELECT d.id FROM domains d WHERE d.id = domain AND (d.quota_octets > 0 OR d.quota_messages > 0)), 0)"

}  // namespace

Result<ModSeq> MailImpl::take_place(std::uint64_t octets, std::uint64_t messages, QuotaRule quota) {
    Query q = db_.query(
        "UPDATE accounts SET used_octets = used_octets + ?2, used_messages = used_messages + ?3, modseq = modseq + 1 "
        "WHERE id = ?1 RETURNING modseq, (quota_octets > 0 AND used_octets > quota_octets) OR "
        "(quota_messages > 0 AND used_messages > quota_messages), address, " LIMITED_DOMAIN);
    TRY(const bool found, q.bind(account_, octets, messages).row());
    if (!found) return Error(Errc::not_found, "there is no such account");
    // Taken first and looked at afterwards: the savepoint of the write gives it back.
    const bool keep = quota == QuotaRule::keep;
    if (keep && q.flag(1)) return Error(Errc::over_quota, fmt::format("the mailbox of {} is full", q.text(2)));
    const ModSeq modseq = q.u64(0);
    const auto domain = q.id<DomainId>(3);
    TRY_VOID(q.run());
    if (keep) TRY_VOID(check_domain_quota(domain));
    return modseq;
}

Result<> MailImpl::check_domain_quota(DomainId domain) {
    if (raw(domain) == 0) return {};
    Query q = db_.query(
        "SELECT d.name, (d.quota_octets > 0 AND sum(a.used_octets) > d.quota_octets) OR (d.quota_messages > 0 AND "
        "sum(a.used_messages) > d.quota_messages) FROM domains d JOIN accounts a ON a.domain = d.id WHERE d.id = ?1");
    TRY(const bool found, q.bind(domain).row());
    if (!found || !q.flag(1)) return {};
    return Error(Errc::over_quota, fmt::format("the mailboxes of {} together are full", q.text(0)));
}

Result<> MailImpl::give_quota(std::uint64_t octets, std::uint64_t messages) {
    return db_
        .query("UPDATE accounts SET used_octets = used_octets - ?2, used_messages = used_messages - ?3 WHERE id = ?1")
        .bind(account_, octets, messages)
        .run();
}

Result<Uid> MailImpl::take_uids(MailboxId mailbox, std::uint64_t count, ModSeq modseq, const Counters& more) {
    Query q = db_.query(
        "UPDATE mailboxes SET uid_next = uid_next + ?3, highest_modseq = ?4, messages = messages + ?5, "
        "unseen = unseen + ?6, octets = octets + ?7 WHERE id = ?1 AND account = ?2 RETURNING uid_next");
    TRY(const bool found, q.bind(mailbox, account_, count, modseq, more.messages, more.unseen, more.octets).row());
    if (!found) return Error(Errc::not_found, "there is no such mailbox");
    const std::uint64_t next = q.u64(0);
    TRY_VOID(q.run());
    // 2^32-1 is the last UID there can be (RFC 3501 2.3.1.1).
    if (next > ~Uid{0}) return Error(Errc::limit, "the mailbox has given all its UIDs");
    context_.write->changed(account_, mailbox, modseq);
    return static_cast<Uid>(next - count);
}

Result<> MailImpl::count_changes(MailboxId mailbox, ModSeq modseq, const Counters& by) {
    context_.write->changed(account_, mailbox, modseq);
    return db_
        .query(
            "UPDATE mailboxes SET highest_modseq = ?2, messages = messages + ?3, unseen = unseen + ?4, "
            "octets = octets + ?5 WHERE id = ?1")
        .bind(mailbox, modseq, by.messages, by.unseen, by.octets)
        .run();
}

Result<> MailImpl::insert_entry(MailboxId mailbox, const Entry& entry) {
    return db_.query("INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
        .bind(mailbox, entry.uid, entry.modseq, entry.flags, entry.keyword_set, entry.internal_date_s,
              entry.save_date_s, entry.size_octets, entry.message)
        .run();
}

Result<std::string> MailImpl::keyword(const std::string& name) {
    if (!is_keyword(name)) return Error(Errc::invalid, fmt::format("\"{}\" cannot be a keyword", name));
    const std::string folded = ascii::to_lower(name);
    {
        Query q = db_.query("SELECT name FROM keywords WHERE account = ?1 AND folded = ?2");
        TRY(const bool found, q.bind(account_, folded).row());
        if (found) return q.text(0);
    }
    TRY_VOID(db_.query("INSERT INTO keywords VALUES (?1, ?2, ?3)").bind(account_, folded, name).run());
    return name;
}

Result<std::uint32_t> MailImpl::keyword_set(std::span<const std::string> names) {
    if (names.empty()) return 0U;
    std::vector<std::string> sorted;
    for (const std::string& name : names) {
        TRY(std::string known, keyword(name));
        sorted.push_back(std::move(known));
    }
    std::ranges::sort(sorted);
    const auto [first, last] = std::ranges::unique(sorted);
    sorted.erase(first, last);
    if (sorted.size() > kKeywordsMax) return Error(Errc::limit, "a message can have at most 100 keywords");
    std::string joined;
    for (const std::string& name : sorted) {
        if (!joined.empty()) joined += ' ';
        joined += name;
    }
    {
        Query q = db_.query("SELECT id FROM keyword_sets WHERE account = ?1 AND names = ?2");
        TRY(const bool found, q.bind(account_, joined).row());
        if (found) return q.u32(0);
    }
    TRY_VOID(db_.query("INSERT INTO keyword_sets (account, names) VALUES (?1, ?2)").bind(account_, joined).run());
    return static_cast<std::uint32_t>(db_.last_id());
}

Result<bool> MailImpl::holds(MessageId message) const {
    Query q = db_.query(
        "SELECT 1 FROM mailboxes b JOIN entries e ON e.mailbox = b.id "
        "WHERE b.account = ?1 AND e.message = ?2 LIMIT 1");
    return q.bind(account_, message).row();
}

Result<> MailImpl::check_holds(MessageId message) const {
    if (context_.write->is_added(message)) return {};
    TRY(const bool ours, holds(message));
    // The same answer as for a message that never was: numbers shall tell nothing about other accounts.
    if (!ours) return Error(Errc::not_found, "there is no such message");
    return {};
}

Result<Entry> MailImpl::append(MailboxId mailbox, MessageId message, const AppendOptions& options) {
    TRY_VOID(check_holds(message));
    return put(mailbox, message, options);
}

Result<std::uint64_t> MailImpl::size_of(MessageId message) const {
    for (const PlacedBody& placed : context_.write->bodies) {
        if (placed.message == message && context_.write->is_added(message)) return placed.body->size_octets();
    }
    Query q = db_.query("SELECT size_octets FROM messages WHERE id = ?1");
    TRY(const bool found, q.bind(message).row());
    if (!found) return Error(Errc::not_found, "there is no such message");
    return q.u64(0);
}

// That the mailbox is there and this account's is found out with its UIDs.
Result<Entry> MailImpl::put(MailboxId mailbox, MessageId message, const AppendOptions& options) {
    Entry entry;
    TRY(entry.size_octets, size_of(message));
    TRY(entry.keyword_set, keyword_set(options.keywords));
    TRY(entry.modseq, take_place(entry.size_octets, 1, QuotaRule::keep));
    entry.flags = options.flags & kAllFlags;
    entry.save_date_s = seconds(context_.write->now);
    entry.internal_date_s = options.internal_date_s.value_or(entry.save_date_s);
    entry.message = message;
    const Counters more{1, is_unseen(entry.flags) ? 1 : 0, static_cast<std::int64_t>(entry.size_octets)};
    TRY(entry.uid, take_uids(mailbox, 1, entry.modseq, more));
    TRY_VOID(insert_entry(mailbox, entry));
    change_refs(context_, message, 1);
    return entry;
}

Result<Entry> MailImpl::deliver(std::string_view name, FlagBits flags, MessageId message, std::uint64_t size,
                                QuotaRule quota) {
    Entry entry;
    entry.flags = flags & kAllFlags;
    entry.size_octets = size;
    entry.message = message;
    entry.save_date_s = entry.internal_date_s = seconds(context_.write->now);
    TRY(entry.modseq, take_place(size, 1, quota));
    const std::string key = canonical_mailbox_name(name);
    MailboxId id{};
    // Two rounds at most: the second finds the mailbox that the first had to make.
    for (;;) {
        Query q = db_.query(
            "UPDATE mailboxes SET uid_next = uid_next + 1, highest_modseq = ?3, messages = messages + 1, "
            "unseen = unseen + ?4, octets = octets + ?5 WHERE account = ?1 AND name = ?2 "
            "RETURNING id, uid_next - 1");
        TRY(const bool found, q.bind(account_, key, entry.modseq, is_unseen(entry.flags), size).row());
        if (found) {
            if (q.u64(1) >= ~Uid{0}) return Error(Errc::limit, "the mailbox has given all its UIDs");
            id = q.id<MailboxId>(0);
            entry.uid = q.u32(1);
            TRY_VOID(q.run());
            break;
        }
        TRY_VOID(create(key, SpecialUse::none));
        TRY(entry.modseq, next_modseq());
    }
    TRY_VOID(insert_entry(id, entry));
    context_.write->changed(account_, id, entry.modseq);
    return entry;
}

Result<> MailImpl::note_recent(MailboxId mailbox, Uid up_to) {
    TRY_VOID(check(mailbox));
    return db_.query("UPDATE mailboxes SET recent_from = max(recent_from, min(?2, uid_next)) WHERE id = ?1")
        .bind(mailbox, up_to)
        .run();
}

}  // namespace posthouse::storage
