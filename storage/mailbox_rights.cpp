// The rows of mailbox_rights: what the owner of a mailbox lets others do with it (RFC 4314).
#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "storage/catalog_impl.h"
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

// "anyone" is a word, all else the address of an account; its owner needs no rights and has none taken away.
Result<std::string> MailImpl::check_identifier(std::string_view identifier, Accounts accounts) const {
    const std::string key = ascii::to_lower(identifier);
    const std::string name = key.substr(key.starts_with('-') ? 1 : 0);
    if (name == "anyone") return key;
    if (accounts == Accounts::may_be_missing) {
        const auto address = check_address(name, AddressKind::mailbox);
        Query domains = db_.query("SELECT 1 FROM domains WHERE name = ?1 AND hosted <> 0");
        TRY(const bool ours, domains.bind(std::string_view(name).substr(name.find('@') + 1)).row());
        if (!address || *address != name || !ours)
            return Error(Errc::invalid, "that is no address of this server and not \"anyone\"");
    }
    Query q = db_.query("SELECT id FROM accounts WHERE address = ?1");
    TRY(const bool found, q.bind(name).row());
    if (found && q.id<AccountId>(0) == account_)
        return Error(Errc::denied, "the owner of a mailbox keeps all rights to it");
    if (!found && accounts == Accounts::must_exist)
        return Error(Errc::invalid, fmt::format("\"{}\" is no account of this server and not \"anyone\"", name));
    return key;
}

// Those who see the mailbox from now on, or no more, look at what they see again.
Result<> MailImpl::wake_viewers(std::string_view identifier) {
    const std::string_view name = identifier.substr(identifier.starts_with('-') ? 1 : 0);
    Query q = db_.query(
        "SELECT id FROM accounts WHERE address = ?1 OR (?1 = 'anyone' AND domain = (SELECT domain FROM accounts WHERE "
        "id = ?2))");
    q.bind(name, account_);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return {};
        context_.write->notice.mailboxes.push_back(MailboxChange{q.id<AccountId>(0), MailboxId{}, 0});
    }
}

Result<> MailImpl::set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights) {
    return set_rights(mailbox, identifier, how, rights, Accounts::must_exist);
}

Result<> MailImpl::set_rights(MailboxId mailbox, std::string_view identifier, RightsChange how, Rights rights,
                              Accounts accounts) {
    TRY(const Mailbox box, this->mailbox(mailbox));
    TRY(const std::string key, check_identifier(identifier, accounts));
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
    TRY_VOID(wake_viewers(key));
    const std::string held = format_rights(static_cast<Rights>(now));
    const std::string what = held.empty() ? "no rights" : fmt::format("the rights \"{}\"", held);
    const std::string detail =
        fmt::format("mailbox {} of account {}: \"{}\" has {} now", box.name, raw(account_), key, what);
    NewEvent event;
    event.kind = EventKind::system;
    event.detail = detail;
    return write_event(context_, event, {});
}

}  // namespace posthouse::storage
