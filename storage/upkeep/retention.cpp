#include "storage/upkeep/retention.h"

#include "protocols/base/log.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

// One transaction; a mailbox of a million is emptied in many.
constexpr std::size_t kStep = 200;

std::string_view use_name(SpecialUse use) {
    switch (use) {
        case SpecialUse::drafts: return "\\Drafts";
        case SpecialUse::sent: return "\\Sent";
        case SpecialUse::junk: return "\\Junk";
        case SpecialUse::trash: return "\\Trash";
        case SpecialUse::archive: return "\\Archive";
        case SpecialUse::none: break;
    }
    return "";
}

/// UIDs of the next messages that came into the mailbox before `before_s`.
Result<std::vector<Uid>> next_old(Store& store, MailboxId mailbox, std::int64_t before_s) {
    return store.read([&](const Snapshot& snapshot) -> Result<std::vector<Uid>> {
        Query q = context_of(snapshot).db.query(
            "SELECT uid FROM entries WHERE mailbox = ?1 AND save_date_s < ?2 ORDER BY uid LIMIT ?3");
        q.bind(mailbox, before_s, kStep);
        std::vector<Uid> out;
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            out.push_back(q.u32(0));
        }
    });
}

Result<std::uint64_t> expunge_old(Store& store, AccountId account, const Mailbox& mailbox, std::int64_t before_s,
                                  Pace& pace, double per_second) {
    std::uint64_t total = 0;
    while (!pace.stopping()) {
        TRY(const std::vector<Uid> uids, next_old(store, mailbox.id, before_s));
        if (uids.empty()) break;
        const auto gone = store.write_value({}, [&](Tx& tx) { return tx.mail(account).expunge(mailbox.id, uids); });
        if (!gone && gone.error().code == Errc::not_found) break;  // the mailbox was removed meanwhile
        TRY_VOID(gone);
        total += gone->size();
        pace.spend(static_cast<double>(uids.size()), per_second);
    }
    return total;
}

}  // namespace

const RetentionRule* find_rule(const std::vector<RetentionRule>& rules, std::string_view address,
                               const Mailbox& mailbox) {
    const std::string_view domain = address.substr(address.find('@') + 1);
    const std::string_view use = use_name(mailbox.special_use);
    for (const std::string_view scope : {address, domain, std::string_view()}) {
        const RetentionRule* by_use = nullptr;
        for (const RetentionRule& rule : rules) {
            if (rule.scope != scope) continue;
            if (rule.mailbox == mailbox.name) return &rule;
            if (!use.empty() && rule.mailbox == use) by_use = &rule;
        }
        if (by_use != nullptr) return by_use;
    }
    return nullptr;
}

Result<std::uint64_t> apply_retention(Store& store, const std::vector<RetentionRule>& rules, Time now, Pace& pace,
                                      double messages_per_second) {
    constexpr std::int64_t kDay = 86'400;
    if (rules.empty()) return std::uint64_t{0};
    TRY(const auto accounts, store.read([](const Snapshot& snapshot) { return snapshot.catalog().accounts(); }));
    std::uint64_t total = 0;
    for (const Account& account : accounts) {
        TRY(const auto boxes, store.read([&](const Snapshot& s) { return s.mail(account.id).mailboxes(); }));
        for (const Mailbox& box : boxes) {
            const RetentionRule* const rule = find_rule(rules, account.address, box);
            if (rule == nullptr || rule->days == 0 || box.messages == 0) continue;
            if (pace.stopping()) return total;
            const std::int64_t before_s = to_unix_ms(now) / 1000 - rule->days * kDay;
            TRY(const std::uint64_t gone, expunge_old(store, account.id, box, before_s, pace, messages_per_second));
            if (gone > 0) {
                log::info("storage", "{} messages of {} in {} were older than {} days and are expunged", gone,
                          account.address, box.name, rule->days);
            }
            total += gone;
        }
    }
    return total;
}

}  // namespace posthouse::storage
