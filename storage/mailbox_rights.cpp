// The rows of mailbox_rights: what the owner of a mailbox lets others do with it (RFC 4314).
#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "storage/events_impl.h"
#include "storage/mail_impl.h"

namespace posthouse::storage {

Result<std::vector<RightsRow>> MailImpl::rights(MailboxId mailbox) const {
    TRY_VOID(check(mailbox));
    Query q = db_.query("SELECT identifier, rights FROM mailbox_rights WHERE mailbox = ?1 ORDER BY identifier");
    q.bind(mailbox);
    std::vector<RightsRow> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        TRY(const Rights rights, parse_rights(q.view(1)));
        out.push_back(RightsRow{q.text(0), rights});
    }
}

// "anyone" is a word, all else an account that is there; its owner needs no rights and has none taken away.
Result<std::string> MailImpl::check_identifier(std::string_view identifier) const {
    const std::string key = ascii::to_lower(identifier);
    const std::string name = key.substr(key.starts_with('-') ? 1 : 0);
    if (name == "anyone") return key;
    Query q = db_.query("SELECT id FROM accounts WHERE address = ?1");
    TRY(const bool found, q.bind(name).row());
    if (!found)
        return Error(Errc::invalid, fmt::format("\"{}\" is no account of this server and not \"anyone\"", name));
    if (q.id<AccountId>(0) == account_) return Error(Errc::denied, "the owner of a mailbox keeps all rights to it");
    return key;
}

Result<> MailImpl::set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights) {
    TRY(const Mailbox box, this->mailbox(mailbox));
    TRY(const std::string key, check_identifier(identifier));
    TRY(const std::vector<RightsRow> rows, this->rights(mailbox));
    unsigned now = 0;
    for (const RightsRow& row : rows) {
        if (row.identifier == key) now = row.rights;
    }
    switch (how) {
        case RightsChange::replace: now = rights; break;
        case RightsChange::add: now |= rights; break;
        case RightsChange::remove: now &= ~static_cast<unsigned>(rights); break;
    }
    if (now == 0) {
        TRY_VOID(
            db_.query("DELETE FROM mailbox_rights WHERE mailbox = ?1 AND identifier = ?2").bind(mailbox, key).run());
    } else {
        if (rows.size() >= kRightsRowsMax) return Error(Errc::limit, "too many accounts have rights to that mailbox");
        const std::string letters = format_rights(static_cast<Rights>(now));
        TRY_VOID(
            db_.query("INSERT OR REPLACE INTO mailbox_rights VALUES (?1, ?2, ?3)").bind(mailbox, key, letters).run());
    }
    // Sessions that have it open look again, and end where they may not.
    context_.write->changed(account_, mailbox, box.highest_modseq);
    const std::string detail = fmt::format("mailbox {} of account {}: \"{}\" has the rights \"{}\" now", box.name,
                                           raw(account_), key, format_rights(static_cast<Rights>(now)));
    NewEvent event;
    event.kind = EventKind::system;
    event.detail = detail;
    return write_event(context_, event, {});
}

}  // namespace posthouse::storage
