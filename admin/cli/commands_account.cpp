// posthouse account ... and alias ...: mailboxes, their owners, and addresses that stand for others.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "admin/cli/command.h"
#include "admin/cli/password.h"
#include "admin/cli/quota.h"
#include "admin/cli/secret.h"
#include "protocols/base/ascii.h"
#include "protocols/smtp/path.h"

namespace posthouse::admin {
namespace {

using storage::Account;
using storage::Snapshot;

constexpr const char* kPasswordVariable = "POSTHOUSE_PASSWORD";

Record to_record(const Account& account, Format format) {
    Record out;
    out.add("address", account.address).add("name", account.display_name).add("disabled", account.disabled);
    out.add("messages", account.used_messages);
    if (format == Format::json) {
        out.add("used_octets", account.used_octets).add("quota_octets", account.quota_octets);
        out.add("quota_messages", account.quota_messages);
    } else {
        out.add("used", format_octets(account.used_octets))
            .add("quota", quota_text(account.quota_octets, account.quota_messages));
    }
    out.add("created", format_rfc3339(account.created));
    return out;
}

Format format_of(Invocation& call) { return call.out().json() ? Format::json : Format::text; }

Result<Account> find_account(storage::Store& store, const std::string& address) {
    auto found =
        store.read([&](const Snapshot& snapshot) { return snapshot.catalog().account(ascii::to_lower(address)); });
    if (!found && found.error().code == Errc::not_found) {
        return Error(Errc::not_found,
                     fmt::format("there is no account {}; posthouse account list shows them", address));
    }
    return found;
}

void done(Invocation& call, std::string_view verb, const std::string& address) {
    if (call.out().json()) {
        call.out().record(Record().add(verb, address));
    } else {
        call.out().say(fmt::format("{} is {}.", address, verb));
    }
}

// account add ADDRESS
Result<> account_add(Invocation& call) {
    const std::string address = ascii::to_lower(call.get("ADDRESS"));
    TRY(storage::Store* const store, call.store());
    std::string password;
    const bool generate = call.has("--generate");
    if (generate) {
        password = generate_password();
    } else {
        TRY(password,
            read_secret(call.get("--password-file"), kPasswordVariable, fmt::format("password for {}", address)));
    }
    TRY(const NewPassword made, make_password(*store, address, password));
    const auto added = store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto id, tx.catalog().add_account(address, made.hash, call.get("--name")));
        return set_password(tx, id, made);
    });
    if (!added && added.error().code == Errc::not_found) {
        const std::string domain = address.substr(address.find('@') + 1);
        return Error(
            Errc::not_found,
            fmt::format("{} is not a domain of this server; run posthouse domain add {} first", domain, domain));
    }
    TRY_VOID(added);
    if (!generate) return done(call, "added", address), Result<>();
    if (call.out().json()) {
        call.out().record(Record().add("added", address).add("password", password));
    } else {
        call.out().say(fmt::format("{} is added. Its password, shown only now: {}", address, password));
    }
    return {};
}

// account list
Result<> account_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto accounts, store->read([](const Snapshot& snapshot) { return snapshot.catalog().accounts(); }));
    std::vector<Record> rows;
    for (const Account& account : accounts) rows.push_back(to_record(account, format_of(call)));
    call.out().table(rows, "There is no account yet; add one with posthouse account add ADDRESS.");
    return {};
}

// account show ADDRESS
Result<> account_show(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Account account, find_account(*store, call.get("ADDRESS")));
    TRY(const auto boxes, store->read([&](const Snapshot& snapshot) { return snapshot.mail(account.id).mailboxes(); }));
    Record record = to_record(account, format_of(call));
    std::vector<std::string> names;
    for (const auto& box : boxes) names.push_back(fmt::format("{} ({})", box.name, box.messages));
    record.add("mailboxes", std::move(names));
    call.out().record(record);
    return {};
}

// account password ADDRESS
Result<> account_password(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Account account, find_account(*store, call.get("ADDRESS")));
    TRY(const std::string password, read_secret(call.get("--password-file"), kPasswordVariable,
                                                fmt::format("new password for {}", account.address)));
    TRY(const NewPassword made, make_password(*store, account.address, password));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return set_password(tx, account.id, made); }));
    return done(call, "given the new password", account.address), Result<>();
}

// account quota ADDRESS
Result<> account_quota(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Account account, find_account(*store, call.get("ADDRESS")));
    std::uint64_t octets = account.quota_octets;
    std::uint64_t messages = account.quota_messages;
    if (!call.has("--size") && !call.has("--messages")) {
        call.out().record(to_record(account, format_of(call)));
        return {};
    }
    TRY_VOID(read_quota(call, octets, messages));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_quota(account.id, octets, messages); }));
    return done(call, "given the quota", account.address), Result<>();
}

// account file-sent ADDRESS [on|off]
Result<> account_file_sent(Invocation& call) {
    const std::string state = call.get("STATE");
    if (call.has("STATE") && state != "on" && state != "off") {
        return Error(Errc::invalid, fmt::format("\"{}\" is neither on nor off", state));
    }
    TRY(storage::Store* const store, call.store());
    TRY(Account account, find_account(*store, call.get("ADDRESS")));
    if (call.has("STATE")) {
        account.file_sent = state == "on";
        TRY_VOID(store->write(
            {}, [&](storage::Tx& tx) { return tx.catalog().set_file_sent(account.id, account.file_sent); }));
    }
    call.out().record(Record().add("address", account.address).add("file_sent", account.file_sent));
    return {};
}

enum class Access { open, closed };

Result<> set_access(Invocation& call, Access access) {
    TRY(storage::Store* const store, call.store());
    TRY(const Account account, find_account(*store, call.get("ADDRESS")));
    const bool disabled = access == Access::closed;
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_disabled(account.id, disabled); }));
    return done(call, disabled ? "disabled" : "enabled", account.address), Result<>();
}
// account disable ADDRESS: no login; mail is still received
Result<> account_disable(Invocation& call) { return set_access(call, Access::closed); }
// account enable ADDRESS
Result<> account_enable(Invocation& call) { return set_access(call, Access::open); }

// account remove ADDRESS
Result<> account_remove(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Account account, find_account(*store, call.get("ADDRESS")));
    if (!call.has("--yes")) {
        const std::string loss = fmt::format("{} and its {} messages", account.address, account.used_messages);
        if (::isatty(STDIN_FILENO) == 0) {
            return Error(Errc::denied, fmt::format("this would remove {}; say --yes to do it", loss));
        }
        std::cerr << "Remove " << loss << " for ever? Type yes: " << std::flush;
        std::string answer;
        std::getline(std::cin, answer);
        if (answer != "yes") return Error(Errc::cancelled, "nothing was removed");
    }
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().set_setting("senders." + account.address, ""));
        return tx.catalog().remove_account(account.id);
    }));
    return done(call, "removed", account.address), Result<>();
}

// account senders ADDRESS [DOMAIN...]: whom it may send for besides itself; for another server that relays through us
Result<> account_senders(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Account account, find_account(*store, call.get("ADDRESS")));
    const std::string key = "senders." + account.address;
    if (call.has("DOMAIN") || call.has("--none")) {
        std::string value;
        for (const std::string& domain : call.all("DOMAIN")) {
            if (!smtp::is_domain(domain)) {
                return Error(Errc::invalid, fmt::format("\"{}\" is no domain; write for example example.net", domain));
            }
            value += (value.empty() ? "" : " ") + ascii::to_lower(domain);
        }
        TRY_VOID(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    TRY(const auto value, store->read([&](const Snapshot& snapshot) { return snapshot.catalog().setting(key); }));
    call.out().record(
        Record().add("address", account.address).add("sends_for", value && !value->empty() ? *value : "itself"));
    return {};
}

// alias add ADDRESS TARGET...
Result<> alias_add(Invocation& call) {
    const std::string address = ascii::to_lower(call.get("ADDRESS"));
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY([[maybe_unused]] const auto id, tx.catalog().add_alias(address, call.all("TARGET")));
        return {};
    }));
    return done(call, "added", address), Result<>();
}

// alias list
Result<> alias_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto aliases, store->read([](const Snapshot& snapshot) { return snapshot.catalog().aliases(); }));
    std::vector<Record> rows;
    for (const auto& alias : aliases)
        rows.push_back(Record().add("address", alias.address).add("targets", alias.targets));
    call.out().table(rows, "There is no alias yet; add one with posthouse alias add ADDRESS TARGET.");
    return {};
}

// alias remove ADDRESS
Result<> alias_remove(Invocation& call) {
    const std::string address = ascii::to_lower(call.get("ADDRESS"));
    TRY(storage::Store* const store, call.store());
    const auto removed = store->write({}, [&](storage::Tx& tx) { return tx.catalog().remove_alias(address); });
    if (!removed && removed.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("there is no alias {}; posthouse alias list shows them", address));
    }
    TRY_VOID(removed);
    return done(call, "removed", address), Result<>();
}

using Kind = Argument::Kind;
constexpr Argument kAddress{Kind::positional, "ADDRESS", "the account's address"};
constexpr Argument kPasswordFile{Kind::option, "--password-file",
                                 "read the password from the first line of a file, - for standard input; "
                                 "else POSTHOUSE_PASSWORD, else a prompt"};
constexpr Argument kAddressOnly[] = {kAddress};
constexpr Argument kAddArguments[] = {kAddress,
                                      {Kind::option, "--name", "the owner's name"},
                                      kPasswordFile,
                                      {Kind::flag, "--generate", "make a password and print it once"}};
constexpr Argument kPasswordArguments[] = {kAddress, kPasswordFile};
constexpr Argument kQuotaArguments[] = {kAddress,
                                        {Kind::option, "--size", "how much it may hold, such as 5G, or none"},
                                        {Kind::option, "--messages", "how many messages it may hold, or none"}};
constexpr Argument kFileSentArguments[] = {
    kAddress, {Kind::positional_optional, "STATE", "on or off; without it, what it is now"}};
constexpr Argument kRemoveArguments[] = {kAddress, {Kind::flag, "--yes", "do not ask"}};
constexpr Argument kSendersArguments[] = {kAddress,
                                          {Kind::positional_any, "DOMAIN", "domains in whose name it may send"},
                                          {Kind::flag, "--none", "only in its own name again"}};
constexpr Argument kAliasAddress{Kind::positional, "ADDRESS",
                                 "the alias; @example.org is all other addresses of a domain"};
constexpr Argument kAliasAdd[] = {kAliasAddress,
                                  {Kind::positional_many, "TARGET", "where its mail goes, here or elsewhere"}};
constexpr Argument kAliasOnly[] = {kAliasAddress};

constexpr Command kAccountRows[] = {
    {"account", "add", "add a mailbox", "posthouse account add bob@example.org --name \"Bob Baker\"", kAddArguments,
     account_add},
    {"account", "list", "list the accounts", "posthouse account list --json", {}, account_list},
    {"account", "show", "show one account and its mailboxes", "posthouse account show bob@example.org", kAddressOnly,
     account_show},
    {"account", "password", "set a new password; who is logged in with the old one is logged out",
     "posthouse account password bob@example.org --password-file -", kPasswordArguments, account_password},
    {"account", "quota", "show or set how much an account may hold",
     "posthouse account quota bob@example.org --size 5G", kQuotaArguments, account_quota},
    {"account", "senders", "show or set the domains that an account may send for, such as another server's",
     "posthouse account senders relay@example.org example.net", kSendersArguments, account_senders},
    {"account", "file-sent", "file a copy of what it submits in its Sent mailbox, or ask whether that is done",
     "posthouse account file-sent bob@example.org on", kFileSentArguments, account_file_sent},
    {"account", "disable", "refuse logins; mail is still received", "posthouse account disable bob@example.org",
     kAddressOnly, account_disable},
    {"account", "enable", "allow logins again", "posthouse account enable bob@example.org", kAddressOnly,
     account_enable},
    {"account", "remove", "remove an account and its mail, for good: undelete does not bring it back",
     "posthouse account remove bob@example.org --yes", kRemoveArguments, account_remove},
};
constexpr Command kAliasRows[] = {
    {"alias", "add", "let an address stand for others",
     "posthouse alias add info@example.org alice@example.org bob@example.org", kAliasAdd, alias_add},
    {"alias", "list", "list the aliases", "posthouse alias list", {}, alias_list},
    {"alias", "remove", "remove an alias", "posthouse alias remove info@example.org", kAliasOnly, alias_remove},
};

}  // namespace

std::span<const Command> account_commands() { return kAccountRows; }
std::span<const Command> alias_commands() { return kAliasRows; }

}  // namespace posthouse::admin
