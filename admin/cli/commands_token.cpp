// posthouse token ...: who may use the HTTP API. The token itself is shown once, when it is made.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "storage/tokens.h"

namespace posthouse::admin {
namespace {

using storage::ApiToken;
using storage::Snapshot;
using storage::TokenTx;
using storage::TokenView;

constexpr std::uint64_t kDaysMax = 36500;

std::string time_text(const std::optional<Time>& time, std::string_view otherwise) {
    return time ? format_rfc3339(*time) : std::string(otherwise);
}

Result<> note(storage::Tx& tx, std::string_view address, std::string detail) {
    storage::Event event;
    event.recipient = address;
    event.detail = std::move(detail);
    return tx.events().append(event);
}

Result<std::optional<Time>> expiry_of(Invocation& call) {
    if (!call.has("--expires")) return std::optional<Time>();
    const std::string text = call.get("--expires");
    const auto days = ascii::parse_number(text);
    if (!days || *days == 0 || *days > kDaysMax) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no number of days; write for example 90", text));
    }
    return std::optional<Time>(system_clock().now() + std::chrono::days(static_cast<int>(*days)));
}

// token create NAME
Result<> token_create(Invocation& call) {
    const std::string name = call.get("NAME");
    const std::string address = ascii::to_lower(call.get("--account"));
    TRY(const std::optional<Time> expires, expiry_of(call));
    TRY(storage::Store* const store, call.store());
    const auto made = store->write_value({}, [&](storage::Tx& tx) -> Result<storage::NewApiToken> {
        std::optional<storage::AccountId> account;
        if (call.has("--account")) {
            const auto found = tx.catalog().account(address);
            if (!found && found.error().code == Errc::not_found) {
                return Error(Errc::not_found,
                             fmt::format("there is no account {}; posthouse account list shows them", address));
            }
            TRY_VOID(found);
            account = found->id;
        }
        TRY(storage::NewApiToken out, TokenTx(tx).create(name, account, expires));
        TRY_VOID(note(
            tx, address,
            fmt::format("API token {} was made for {}", name, account ? address : std::string("the whole server"))));
        return out;
    });
    TRY_VOID(made);
    const std::string until = time_text(expires, "");
    if (call.out().json()) {
        Record row;
        row.add("name", name).add("account", address).add("expires", until).add("token", made->secret);
        call.out().record(row);
        return {};
    }
    call.out().say(made->secret);
    call.out().say(fmt::format("It opens {}{}. Keep it now: it is not shown again.",
                               address.empty() ? "the whole server" : "the account " + address,
                               expires ? " until " + until : std::string()));
    return {};
}

// token list
Result<> token_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto tokens, store->read([](const Snapshot& snapshot) { return TokenView(snapshot).list(); }));
    const bool json = call.out().json();
    std::vector<Record> rows;
    for (const ApiToken& token : tokens) {
        Record row;
        row.add("name", token.name);
        row.add("account", json || token.account ? token.address : std::string("the whole server"));
        row.add("created", format_rfc3339(token.created));
        row.add("expires", time_text(token.expires, json ? "" : "never"));
        row.add("used", time_text(token.used, json ? "" : "never"));
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "There is no token: nobody can use the HTTP API.");
    return {};
}

// token revoke NAME
Result<> token_revoke(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    const auto revoked = store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(TokenTx(tx).revoke(name));
        return note(tx, "", fmt::format("API token {} was revoked", name));
    });
    if (!revoked && revoked.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("there is no token {}; posthouse token list shows them", name));
    }
    TRY_VOID(revoked);
    if (call.out().json()) call.out().record(Record().add("revoked", name));
    call.out().say(fmt::format("The token {} is revoked.", name));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kName{Kind::positional, "NAME", "how the token is called: letters, digits, '-', '_', '.'"};
constexpr Argument kCreateArguments[] = {kName,
                                         {Kind::option, "--account", "only for this account, by address"},
                                         {Kind::option, "--expires", "days until it ends; never by default"}};
constexpr Argument kRevokeArguments[] = {kName};

constexpr Command kRows[] = {
    {"token", "create", "make a token and show it, once",
     "posthouse token create panel --account alice@example.org --expires 90", kCreateArguments, token_create},
    {"token", "list", "list the tokens, without their secrets", "posthouse token list", {}, token_list},
    {"token", "revoke", "make a token useless at once", "posthouse token revoke panel", kRevokeArguments, token_revoke},
};

}  // namespace

std::span<const Command> token_commands() { return kRows; }

}  // namespace posthouse::admin
