#include "storage/sent_copy.h"

#include <algorithm>

#include "protocols/base/log.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

constexpr const char* kSentName = "Sent";
/// What is larger is never taken for the same: comparing it would hold up other writes.
constexpr std::uint64_t kComparedOctetsMax = 8UL * 1024 * 1024;

enum class Filed { by_anyone, by_us };  // what the server filed has a Received field, what a client uploads has none

// Among the newest entries, which are few: an index of Message-IDs would cost every delivery a page. What is marked
// \Deleted is about to go, and stands for nothing.
Result<std::optional<Uid>> find_recent(Tx& tx, const Mailbox& mailbox, std::string_view message_id, Filed by) {
    if (message_id.empty()) return std::optional<Uid>();
    const Uid first = mailbox.uid_next > kSentLookBackMax ? mailbox.uid_next - kSentLookBackMax : 1;
    const std::int64_t since = to_unix_ms(tx.now() - kSentWindow) / 1000;
    Query q = context_of(tx).db.query(
        "SELECT e.uid FROM entries e JOIN messages m ON m.id = e.message WHERE e.mailbox = ?1 AND e.uid >= ?2 AND "
        "e.save_date_s >= ?3 AND m.message_id = ?4 AND m.hops >= ?5 AND (e.flags & ?6) = 0 ORDER BY e.uid DESC LIMIT "
        "1");
    const int hops = by == Filed::by_us ? 1 : 0;
    TRY(const bool found, q.bind(mailbox.id, first, since, message_id, hops, bit(Flag::deleted)).row());
    if (!found) return std::optional<Uid>();
    return std::optional(q.u32(0));
}

// Headers differ (trace fields, Bcc); what stands below them must be the same to the octet.
Result<bool> same_below_header(const MailTx& mail, MailboxId mailbox, Uid uid, std::string_view given) {
    TRY(const mime::MessageFacts facts, mail.facts(mailbox, uid));
    TRY(const BodyReader stored, mail.body(mailbox, uid));
    const std::uint64_t octets =
        stored.size_octets() - std::min<std::uint64_t>(facts.header_octets, stored.size_octets());
    if (octets != given.size() || octets > kComparedOctetsMax) return false;
    TRY(const std::string text, stored.read(facts.header_octets, octets));
    return text == given;
}

Result<bool> wants_copies(Tx& tx, AccountId account) {
    TRY(const Account found, tx.catalog().account(account));
    return found.file_sent;
}

}  // namespace

Result<Mailbox> mailbox_of_use(MailTx& mail, SpecialUse use, const char* usual_name) {
    TRY(const std::vector<Mailbox> all, mail.mailboxes());
    const auto found = std::ranges::find(all, use, &Mailbox::special_use);
    if (found != all.end()) return *found;
    const auto named = std::ranges::find(all, usual_name, &Mailbox::name);
    if (named != all.end()) return *named;
    return mail.create(usual_name, use);
}

Result<std::optional<Entry>> file_sent(Tx& tx, AccountId account, MessageId message, std::string_view message_id,
                                       std::uint64_t size_octets) {
    const std::optional<Entry> none;
    TRY(const bool wanted, wants_copies(tx, account));
    if (!wanted) return none;
    MailTx& mail = tx.mail(account);
    TRY(const Mailbox sent, mailbox_of_use(mail, SpecialUse::sent, kSentName));
    TRY(const auto there, find_recent(tx, sent, message_id, Filed::by_anyone));
    if (there) return none;
    const AccountId accounts[] = {account};
    const auto room = check_quota(tx.catalog(), accounts, size_octets);
    if (!room && room.error().code != Errc::over_quota && room.error().code != Errc::too_large) {
        return Error(room.error());
    }
    if (!room) {
        log::warn("storage", "a sent message was not filed: {}", room.error().context);
        return none;
    }
    AppendOptions options;
    options.flags = bit(Flag::seen);
    TRY(const Entry entry, mail.append(sent.id, message, options));
    return std::optional(entry);
}

Result<std::optional<Entry>> find_filed(Tx& tx, AccountId account, const Mailbox& mailbox,
                                        const mime::MessageFacts& facts, const StagedBody& body,
                                        const AppendOptions& options) {
    const std::optional<Entry> none;
    if (mailbox.special_use != SpecialUse::sent || mailbox.account != account) return none;
    TRY(const bool wanted, wants_copies(tx, account));
    if (!wanted) return none;
    TRY(const auto uid, find_recent(tx, mailbox, facts.message_id, Filed::by_us));
    if (!uid) return none;
    MailTx& mail = tx.mail(account);
    const std::string_view octets = body.view();
    const std::size_t header = std::min<std::size_t>(facts.header_octets, octets.size());
    const auto same = same_below_header(mail, mailbox.id, *uid, octets.substr(header));
    if (!same || !*same) return none;  // a copy that cannot be read stands for nothing either
    const Uid uids[] = {*uid};
    FlagChange change;
    change.flags = options.flags;
    change.keywords = options.keywords;
    TRY_VOID(mail.store(mailbox.id, uids, change, std::nullopt));
    TRY(const std::vector<Entry> entries, mail.entries(mailbox.id, *uid, *uid));
    if (entries.empty()) return none;
    return std::optional(entries.front());
}

}  // namespace posthouse::storage
