// posthouse account app-password ...: passwords of single programs. Each is shown once, when it is made.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "storage/credentials.h"

namespace posthouse::admin {
namespace {

using storage::AppPassword;
using storage::CredentialTx;
using storage::CredentialView;
using storage::Snapshot;

Result<> note(storage::Tx& tx, std::string_view address, std::string detail) {
    storage::Event event;
    event.recipient = address;
    event.detail = std::move(detail);
    return tx.events().append(event);
}

Result<storage::Account> find(const storage::CatalogView& catalog, const std::string& address) {
    auto found = catalog.account(ascii::to_lower(address));
    if (!found && found.error().code == Errc::not_found) {
        return Error(Errc::not_found,
                     fmt::format("there is no account {}; posthouse account list shows them", address));
    }
    return found;
}

// account app-password add ADDRESS NAME
Result<> app_password_add(Invocation& call) {
    const std::string name = call.get("NAME");
    const std::string address = ascii::to_lower(call.get("ADDRESS"));
    TRY(storage::Store* const store, call.store());
    const auto made = storage::make_app_password(storage::scram_salt(store->sealing_key(), address));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const storage::Account account, find(tx.catalog(), address));
        TRY([[maybe_unused]] const auto id, CredentialTx(tx).add(account.id, name, made));
        return note(tx, address, fmt::format("an app password {} was made for {}", name, address));
    }));
    if (call.out().json()) {
        call.out().record(Record().add("address", address).add("name", name).add("password", made.secret));
        return {};
    }
    call.out().say(made.secret);
    call.out().say(fmt::format("It logs in as {} over IMAP and SMTP. Keep it now: it is not shown again.", address));
    return {};
}

// account app-password list ADDRESS
Result<> app_password_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto passwords, store->read([&](const Snapshot& snapshot) -> Result<std::vector<AppPassword>> {
        TRY(const storage::Account account, find(snapshot.catalog(), call.get("ADDRESS")));
        return CredentialView(snapshot).app_passwords(account.id);
    }));
    std::vector<Record> rows;
    for (const AppPassword& password : passwords) {
        const std::string never = call.out().json() ? "" : "never";
        rows.push_back(Record()
                           .add("name", password.name)
                           .add("created", format_rfc3339(password.created))
                           .add("used", password.used ? format_rfc3339(*password.used) : never));
    }
    call.out().table(rows, "There is no app password; make one with posthouse account app-password add ADDRESS NAME.");
    return {};
}

// account app-password revoke ADDRESS NAME
Result<> app_password_revoke(Invocation& call) {
    const std::string name = call.get("NAME");
    const std::string address = ascii::to_lower(call.get("ADDRESS"));
    TRY(storage::Store* const store, call.store());
    const auto revoked = store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const storage::Account account, find(tx.catalog(), address));
        const auto gone = CredentialTx(tx).revoke(account.id, name);
        if (!gone && gone.error().code == Errc::not_found) {
            return Error(Errc::not_found, fmt::format("{} has no app password {}; posthouse account app-password list "
                                                      "{} shows them",
                                                      address, name, address));
        }
        TRY_VOID(gone);
        return note(tx, address, fmt::format("the app password {} of {} was revoked", name, address));
    });
    TRY_VOID(revoked);
    if (call.out().json()) call.out().record(Record().add("address", address).add("revoked", name));
    call.out().say(fmt::format("The app password {} is revoked, and who logged in with it is logged out.", name));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kAddress{Kind::positional, "ADDRESS", "the account's address"};
constexpr Argument kName{Kind::positional, "NAME", "how it is called, such as the program or device it is for"};
constexpr Argument kBoth[] = {kAddress, kName};
constexpr Argument kAddressOnly[] = {kAddress};

constexpr Command kRows[] = {
    {"account app-password", "add", "make a password for one program and show it, once",
     "posthouse account app-password add alice@example.org phone", kBoth, app_password_add},
    {"account app-password", "list", "list them, without the passwords",
     "posthouse account app-password list alice@example.org", kAddressOnly, app_password_list},
    {"account app-password", "revoke", "make one useless and end its sessions",
     "posthouse account app-password revoke alice@example.org phone", kBoth, app_password_revoke},
};

}  // namespace

std::span<const Command> app_password_commands() { return kRows; }

}  // namespace posthouse::admin
