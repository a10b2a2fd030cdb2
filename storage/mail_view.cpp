// What IMAP reads. Lists come from `entries` alone, which holds about 150 messages a page; facts join the message row;
// only body() opens a segment.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {
namespace {

#define MAILBOX_COLUMNS                                                                                           \
    "b.id, b.name, b.uid_validity, b.uid_next, b.highest_modseq, b.messages, b.unseen, b.octets, b.recent_from, " \
    "b.special_use, EXISTS (SELECT 1 FROM subscriptions s WHERE s.account = b.account AND s.name = b.name), "     \
    "b.account"

Mailbox mailbox_of(const Query& row) {
    Mailbox mailbox;
    mailbox.id = row.id<MailboxId>(0);
    mailbox.name = row.text(1);
    mailbox.uid_validity = row.u32(2);
    mailbox.uid_next = row.u32(3);
    mailbox.highest_modseq = row.u64(4);
    mailbox.messages = row.u64(5);
    mailbox.unseen = row.u64(6);
    mailbox.octets = row.u64(7);
    mailbox.recent_from = row.u32(8);
    mailbox.special_use = static_cast<SpecialUse>(row.i64(9));
    mailbox.subscribed = row.flag(10);
    mailbox.account = row.id<AccountId>(11);
    return mailbox;
}

Error no_entry(Uid uid) { return Error(Errc::not_found, fmt::format("there is no message with UID {}", uid)); }

std::vector<std::string> split_names(std::string_view names) {
    std::vector<std::string> out;
    while (!names.empty()) {
        const std::size_t blank = names.find(' ');
        out.emplace_back(names.substr(0, blank));
        names.remove_prefix(blank == std::string_view::npos ? names.size() : blank + 1);
    }
    return out;
}

}  // namespace

std::string canonical_mailbox_name(std::string_view name) {
    // "INBOX" is the same in any case (RFC 3501 5.1); its children follow it.
    const std::string_view first = name.substr(0, name.find('/'));
    if (!ascii::equals_ci(first, "INBOX")) return std::string(name);
    return "INBOX" + std::string(name.substr(first.size()));
}

Entry entry_of(const Query& row) {
    Entry entry;
    entry.uid = row.u32(0);
    entry.flags = static_cast<FlagBits>(row.i64(1));
    entry.keyword_set = row.u32(2);
    entry.modseq = row.u64(3);
    entry.internal_date_s = row.i64(4);
    entry.save_date_s = row.i64(5);
    entry.size_octets = row.u64(6);
    entry.message = row.id<MessageId>(7);
    return entry;
}

Result<> MailImpl::check(MailboxId mailbox) const {
    Query q = db_.query("SELECT 1 FROM mailboxes WHERE id = ?1 AND account = ?2");
    TRY(const bool found, q.bind(mailbox, account_).row());
    if (!found) return Error(Errc::not_found, "there is no such mailbox");
    return {};
}

Result<std::vector<Mailbox>> MailImpl::mailboxes() const {
    Query q = db_.query("SELECT " MAILBOX_COLUMNS " FROM mailboxes b WHERE b.account = ?1 ORDER BY b.name");
    q.bind(account_);
    std::vector<Mailbox> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(mailbox_of(q));
    }
}

Result<Mailbox> MailImpl::mailbox(std::string_view name) const {
    const std::string key = canonical_mailbox_name(name);
    Query q = db_.query("SELECT " MAILBOX_COLUMNS " FROM mailboxes b WHERE b.account = ?1 AND b.name = ?2");
    TRY(const bool found, q.bind(account_, key).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no mailbox \"{}\"", key));
    return mailbox_of(q);
}

Result<Mailbox> MailImpl::mailbox(MailboxId id) const {
    Query q = db_.query("SELECT " MAILBOX_COLUMNS " FROM mailboxes b WHERE b.id = ?1 AND b.account = ?2");
    TRY(const bool found, q.bind(id, account_).row());
    if (!found) return Error(Errc::not_found, "there is no such mailbox");
    return mailbox_of(q);
}

Result<std::vector<std::string>> MailImpl::subscriptions() const {
    Query q = db_.query("SELECT name FROM subscriptions WHERE account = ?1 ORDER BY name");
    q.bind(account_);
    std::vector<std::string> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(q.text(0));
    }
}

Result<std::vector<Entry>> MailImpl::take_entries(Query&& query) const {
    std::vector<Entry> out;
    for (;;) {
        TRY(const bool more, query.row());
        if (!more) return out;
        out.push_back(entry_of(query));
    }
}

Result<std::vector<Entry>> MailImpl::entries(MailboxId mailbox, Uid first, Uid last) const {
    TRY_VOID(check(mailbox));
    return take_entries(
        db_.query("SELECT " ENTRY_COLUMNS " FROM entries WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid")
            .bind(mailbox, first, last));
}

Result<Totals> MailImpl::deleted_totals(MailboxId mailbox) const {
    TRY_VOID(check(mailbox));
    Query q =
        db_.query("SELECT count(*), coalesce(sum(size_octets), 0) FROM entries WHERE mailbox = ?1 AND flags & ?2 <> 0");
    TRY([[maybe_unused]] const bool one, q.bind(mailbox, bit(Flag::deleted)).row());
    return Totals{q.u64(0), q.u64(1)};
}

Result<std::uint64_t> MailImpl::count_from(MailboxId mailbox, Uid first) const {
    TRY_VOID(check(mailbox));
    Query q = db_.query("SELECT count(*) FROM entries WHERE mailbox = ?1 AND uid >= ?2");
    TRY([[maybe_unused]] const bool one, q.bind(mailbox, first).row());
    return q.u64(0);
}

Result<bool> MailImpl::changed_much(MailboxId mailbox, ModSeq since) const {
    Query q = db_.query(
        "SELECT count(*) * 4 > (SELECT messages FROM mailboxes WHERE id = ?1) FROM (SELECT 1 FROM flag_runs "
        "WHERE mailbox = ?1 AND modseq > ?2 LIMIT (SELECT messages / 4 + 1 FROM mailboxes WHERE id = ?1))");
    TRY([[maybe_unused]] const bool one, q.bind(mailbox, since).row());
    return q.flag(0);
}

Result<std::vector<Entry>> MailImpl::newest_since(MailboxId mailbox, ModSeq since) const {
    Query q = db_.query("SELECT " ENTRY_COLUMNS " FROM entries WHERE mailbox = ?1 ORDER BY uid DESC");
    q.bind(mailbox);
    std::vector<Entry> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        const Entry entry = entry_of(q);
        if (entry.modseq <= since) break;
        out.push_back(entry);
    }
    std::ranges::reverse(out);
    return out;
}

Result<std::vector<Entry>> MailImpl::changed_since(MailboxId mailbox, ModSeq since) const {
    TRY_VOID(check(mailbox));
    // After a change of most of it the mailbox is read by UID: each run costs a seek.
    TRY(const bool much, changed_much(mailbox, since));
    if (much) {
        return take_entries(
            db_.query("SELECT " ENTRY_COLUMNS " FROM entries WHERE mailbox = ?1 AND modseq > ?2 ORDER BY uid")
                .bind(mailbox, since));
    }
    // What came in since stands at the end; before the first of it only what flag_runs lists can have changed.
    TRY(const std::vector<Entry> newest, newest_since(mailbox, since));
    const Uid rest = newest.empty() ? ~Uid{0} : newest.front().uid - 1;
    TRY(std::vector<Entry> found,
        take_entries(db_.query("SELECT " ENTRY_COLUMNS " FROM (SELECT first, last FROM flag_runs INDEXED BY "
                               "flag_runs_by_modseq WHERE mailbox = ?1 AND modseq > ?2 AND first <= ?3) CROSS JOIN "
                               "entries WHERE mailbox = ?1 AND uid BETWEEN first AND min(last, ?3)")
                         .bind(mailbox, since, rest)));
    std::ranges::sort(found, {}, &Entry::uid);
    found.insert(found.end(), newest.begin(), newest.end());
    return found;
}

Result<std::vector<Uid>> MailImpl::missing_uids(MailboxId mailbox) const {
    // Beyond what is remembered: every UID that is not there, which RFC 7162 3.2.5.1 allows in place of the exact list.
    TRY(const Mailbox box, this->mailbox(mailbox));
    Query q = db_.query("SELECT uid FROM entries WHERE mailbox = ?1 ORDER BY uid");
    q.bind(mailbox);
    std::vector<Uid> out;
    for (Uid next = 1;;) {
        TRY(const bool more, q.row());
        const Uid end = more ? q.u32(0) : box.uid_next;
        for (; next < end; ++next) out.push_back(next);
        if (!more) return out;
        next = end + 1;
    }
}

Result<std::vector<Uid>> MailImpl::expunged_since(MailboxId mailbox, ModSeq since) const {
    TRY_VOID(check(mailbox));
    Query q = db_.query("SELECT uid FROM expunged WHERE mailbox = ?1 AND modseq > ?2");
    q.bind(mailbox, since);
    std::vector<Uid> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        if (q.u32(0) == 0) return missing_uids(mailbox);
        out.push_back(q.u32(0));
    }
    std::ranges::sort(out);
    return out;
}

Result<std::vector<std::string>> MailImpl::keywords(std::uint32_t keyword_set) const {
    if (keyword_set == 0) return std::vector<std::string>();
    Query q = db_.query("SELECT names FROM keyword_sets WHERE id = ?1 AND account = ?2");
    TRY(const bool found, q.bind(keyword_set, account_).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no set of keywords {}", keyword_set));
    return split_names(q.view(0));
}

Result<std::vector<std::string>> MailImpl::mailbox_keywords(MailboxId mailbox) const {
    TRY_VOID(check(mailbox));
    Query q = db_.query(
        "SELECT names FROM keyword_sets WHERE id IN (SELECT DISTINCT keyword_set FROM entries "
        "INDEXED BY entries_by_keywords WHERE mailbox = ?1 AND keyword_set <> 0)");
    q.bind(mailbox);
    std::vector<std::string> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        for (std::string& name : split_names(q.view(0))) out.push_back(std::move(name));
    }
    std::ranges::sort(out);
    const auto [first, last] = std::ranges::unique(out);
    out.erase(first, last);
    return out;
}

Result<mime::MessageFacts> MailImpl::facts(MailboxId mailbox, Uid uid) const {
    Query q = db_.query("SELECT " POSTHOUSE_FACT_COLUMNS
                        " FROM mailboxes b JOIN entries e ON e.mailbox = b.id JOIN messages m ON m.id = e.message "
                        "WHERE b.id = ?1 AND b.account = ?2 AND e.uid = ?3");
    TRY(const bool found, q.bind(mailbox, account_, uid).row());
    if (!found) return no_entry(uid);
    return facts_of(q, 0);
}

Result<> MailImpl::each_facts(MailboxId mailbox, std::span<const Entry> entries,
                              const std::function<void(std::size_t, const mime::MessageFacts&)>& visit) const {
    TRY_VOID(check(mailbox));
    Query q = db_.query("SELECT " POSTHOUSE_FACT_COLUMNS
                        " FROM entries e JOIN messages m ON m.id = e.message WHERE e.mailbox = ?1 AND e.uid = ?2");
    for (std::size_t i = 0; i < entries.size(); ++i) {
        q.reset();
        TRY(const bool found, q.bind(mailbox, entries[i].uid).row());
        if (found) visit(i, facts_of(q, 0));  // one that was expunged meanwhile is passed over
    }
    return {};
}

Result<> MailImpl::each_listed(MailboxId mailbox, Uid first, Uid last, Listing listing,
                               const std::function<void(const ListedFacts&)>& visit) const {
    TRY_VOID(check(mailbox));
    // CROSS JOIN: by UID, each message looked up by its id. The date stands near the start of a row, the texts do not.
    Query dates = db_.query(
        "SELECT e.uid, m.date_ms FROM entries e CROSS JOIN messages m "
        "WHERE e.mailbox = ?1 AND e.uid BETWEEN ?2 AND ?3 AND m.id = e.message ORDER BY e.uid");
    Query texts = db_.query(
        "SELECT e.uid, m.date_ms, m.envelope, m.message_id, m.in_reply_to, m.header_octets "
        "FROM entries e CROSS JOIN messages m "
        "WHERE e.mailbox = ?1 AND e.uid BETWEEN ?2 AND ?3 AND m.id = e.message ORDER BY e.uid");
    Query shapes = db_.query(
        "SELECT e.uid, m.envelope, m.structure, m.header_octets, e.message, e.save_date_s, e.size_octets "
        "FROM entries e CROSS JOIN messages m "
        "WHERE e.mailbox = ?1 AND e.uid BETWEEN ?2 AND ?3 AND m.id = e.message ORDER BY e.uid");
    Query& q = listing == Listing::dates ? dates : listing == Listing::texts ? texts : shapes;
    q.bind(mailbox, first, last);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        ListedFacts facts;
        facts.uid = q.u32(0);
        if (listing == Listing::shapes) {
            facts.envelope = q.view(1);
            facts.structure = q.view(2);
            facts.header_octets = q.u32(3);
            facts.message = q.id<MessageId>(4);
            facts.save_date_s = q.i64(5);
            facts.size_octets = static_cast<std::uint64_t>(q.i64(6));
            visit(facts);
            continue;
        }
        if (!q.is_null(1)) facts.date_ms = q.i64(1);
        if (listing == Listing::texts) {
            facts.envelope = q.view(2);
            facts.message_id = q.view(3);
            facts.in_reply_to = q.view(4);
            facts.header_octets = q.u32(5);
        }
        visit(facts);
    }
}

Result<BodyReader> MailImpl::body(MailboxId mailbox, Uid uid) const {
    MessageId message{};
    Placement placement;
    std::uint64_t size = 0;
    {
        Query q = db_.query(
            "SELECT m.id, m.segment, m.position, m.stored_octets, m.size_octets FROM mailboxes b "
            "CROSS JOIN entries e CROSS JOIN messages m "
            "WHERE b.id = ?1 AND b.account = ?2 AND e.mailbox = b.id AND e.uid = ?3 AND m.id = e.message");
        TRY(const bool found, q.bind(mailbox, account_, uid).row());
        if (!found) return no_entry(uid);
        message = q.id<MessageId>(0);
        placement = Placement{q.i64(1), q.u64(2), q.u64(3)};
        size = q.u64(4);
    }
    return context_.segments.open(message, placement, size);
}

}  // namespace posthouse::storage
