// posthouse rights ...: who else may use a mailbox, and how (RFC 4314).
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "storage/rights.h"

namespace posthouse::admin {
namespace {

using storage::Mailbox;
using storage::Rights;
using storage::RightsChange;
using storage::RightsRow;

std::string rights_text(Rights rights) { return rights == 0 ? "none" : storage::format_rights(rights); }

// rights list ACCOUNT MAILBOX
Result<> rights_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto rows, store->read([&](const storage::Snapshot& snapshot) -> Result<std::vector<RightsRow>> {
        TRY(const auto account, snapshot.catalog().account(call.get("ACCOUNT")));
        TRY(const Mailbox mailbox, snapshot.mail(account.id).mailbox(call.get("MAILBOX")));
        return snapshot.mail(account.id).rights(mailbox.id);
    }));
    std::vector<Record> records;
    for (const RightsRow& row : rows) {
        records.push_back(Record().add("identifier", row.identifier).add("rights", rights_text(row.rights)));
    }
    call.out().table(records, "Nobody but its owner may use that mailbox.");
    return {};
}

Result<> change(Invocation& call, Rights rights) {
    const std::string who = call.get("WHO");
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto account, tx.catalog().account(call.get("ACCOUNT")));
        TRY(const Mailbox mailbox, tx.mail(account.id).mailbox(call.get("MAILBOX")));
        return tx.mail(account.id).set_rights(mailbox.id, who, RightsChange::replace, rights);
    }));
    if (call.out().json()) {
        call.out().record(Record().add("identifier", who).add("rights", rights_text(rights)));
        return {};
    }
    const std::string what = rights == 0 ? "no rights" : fmt::format("the rights \"{}\"", rights_text(rights));
    call.out().say(
        fmt::format("\"{}\" has {} to {} of {} now.", who, what, call.get("MAILBOX"), call.get("ACCOUNT")));
    return {};
}

// rights set ACCOUNT MAILBOX WHO RIGHTS
Result<> rights_set(Invocation& call) {
    TRY(const Rights rights, storage::parse_rights(call.get("RIGHTS")));
    return change(call, rights);
}

// rights remove ACCOUNT MAILBOX WHO
Result<> rights_remove(Invocation& call) { return change(call, 0); }

constexpr Argument kAccount{Argument::Kind::positional, "ACCOUNT", "whose mailbox it is"};
constexpr Argument kMailbox{Argument::Kind::positional, "MAILBOX", "its name"};
constexpr Argument kWho{Argument::Kind::positional, "WHO",
                        "an account, or anyone of the owner's domain; behind '-' rights are taken away"};
constexpr Argument kListArguments[] = {kAccount, kMailbox};
constexpr Argument kSetArguments[] = {kAccount,
                                      kMailbox,
                                      kWho,
                                      {Argument::Kind::positional, "RIGHTS",
                                       "letters: l see, r read, s \\Seen, w other flags, i add, k make below, x "
                                       "remove, t \\Deleted, e expunge, a share"}};
constexpr Argument kRemoveArguments[] = {kAccount, kMailbox, kWho};

constexpr Command kRows[] = {
    {"rights", "list", "list who may use a mailbox", "posthouse rights list alice@example.org Team", kListArguments,
     rights_list},
    {"rights", "set", "let others use a mailbox", "posthouse rights set alice@example.org Team anyone lrs",
     kSetArguments, rights_set},
    {"rights", "remove", "take rights away again", "posthouse rights remove alice@example.org Team anyone",
     kRemoveArguments, rights_remove},
};

}  // namespace

std::span<const Command> rights_commands() { return kRows; }

}  // namespace posthouse::admin
