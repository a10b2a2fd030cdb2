// posthouse capability ...: what IMAP does not offer, for the day a client trips over it.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "protocols/base/nearest.h"
#include "protocols/imap/capability.h"
#include "storage/capability_switches.h"

namespace posthouse::admin {
namespace {

using storage::AccountId;
using storage::Snapshot;
using storage::SwitchTx;
using storage::SwitchView;

enum class Turn { off, on };

// A mistyped name would switch nothing off and say that it did.
Result<std::string> known_capability(const std::string& typed) {
    const std::string name = ascii::to_upper(typed);
    if (const imap::Capability* const known = imap::find_capability(name)) return ascii::to_upper(known->name);
    std::vector<std::string> names;
    for (const imap::Capability& one : imap::capabilities()) names.push_back(ascii::to_upper(one.name));
    const std::vector<std::string_view> views(names.begin(), names.end());
    return Error(Errc::invalid, fmt::format("{} is no capability of this server; {}", name, suggest(name, views)));
}

Result<> turn(Invocation& call, Turn way) {
    std::string capability = ascii::to_upper(call.get("CAPABILITY"));
    if (way == Turn::off) {
        TRY(capability, known_capability(capability));
    }
    const std::string address = ascii::to_lower(call.get("--account"));
    const std::string client = call.get("--client");
    if (call.has("--client") && client.empty()) {
        return Error(Errc::invalid, "--client needs a part of the client's name; leave it out to mean every client");
    }
    TRY(storage::Store* const store, call.store());
    const auto done = store->write({}, [&](storage::Tx& tx) -> Result<> {
        AccountId account{};
        if (call.has("--account")) {
            const auto found = tx.catalog().account(address);
            if (!found && found.error().code == Errc::not_found) {
                return Error(Errc::invalid,
                             fmt::format("there is no account {}; posthouse account list shows them", address));
            }
            TRY_VOID(found);
            account = found->id;
        }
        SwitchTx switches(tx);
        return way == Turn::off ? switches.switch_off(account, client, capability)
                                : switches.switch_on(account, client, capability);
    });
    if (!done && done.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("{}; posthouse capability list shows what is", done.error().context));
    }
    TRY_VOID(done);
    const std::string_view state = way == Turn::off ? "off" : "on";
    if (call.out().json()) call.out().record(Record().add("capability", capability).add("state", state));
    call.out().say(fmt::format("{} is switched {}{}{}.", capability, state,
                               address.empty() ? std::string() : " for " + address,
                               client.empty() ? std::string() : " for the client " + client));
    return {};
}

// capability off CAPABILITY
Result<> capability_off(Invocation& call) { return turn(call, Turn::off); }
// capability on CAPABILITY
Result<> capability_on(Invocation& call) { return turn(call, Turn::on); }

// capability list
Result<> capability_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto switches, store->read([](const Snapshot& snapshot) { return SwitchView(snapshot).list(); }));
    const bool json = call.out().json();
    std::vector<Record> rows;
    for (const auto& one : switches) {
        Record row;
        row.add("capability", one.capability);
        row.add("account", one.address.empty() && !json ? std::string("everyone") : one.address);
        row.add("client", one.client.empty() && !json ? std::string("any") : one.client);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "Nothing is switched off.");
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kArguments[] = {{Kind::positional, "CAPABILITY", "as CAPABILITY shows it, such as COMPRESS=DEFLATE"},
                                   {Kind::option, "--account", "only for this account, by address"},
                                   {Kind::option, "--client", "only for clients whose ID name holds this"}};

constexpr Command kRows[] = {
    {"capability", "off", "announce it no more, and refuse its commands and words",
     "posthouse capability off QRESYNC --client thunderbird", kArguments, capability_off},
    {"capability", "on", "offer it again", "posthouse capability on QRESYNC --client thunderbird", kArguments,
     capability_on},
    {"capability", "list", "list what is switched off", "posthouse capability list", {}, capability_list},
};

}  // namespace

std::span<const Command> capability_commands() { return kRows; }

}  // namespace posthouse::admin
