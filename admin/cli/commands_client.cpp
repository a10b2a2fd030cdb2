// posthouse client ...: other servers and devices of the house that hand their mail in here.
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "admin/cli/command.h"
#include "admin/cli/ways.h"
#include "protocols/base/ascii.h"
#include "protocols/base/random.h"
#include "protocols/net/address.h"
#include "protocols/net/network.h"
#include "storage/relay_clients.h"
#include "storage/routes.h"

namespace posthouse::admin {
namespace {

using storage::RelayClient;
using storage::RelayClientChange;
using storage::RelayClientTx;
using storage::RelayClientView;
using storage::Snapshot;

constexpr std::uint32_t kCountMax = 1'000'000'000;
constexpr std::size_t kPasswordCharacters = 32;  // of 32 each: 160 bits
constexpr unsigned kNetworkBitsMin4 = 16;        // wider than that is no list of machines
constexpr unsigned kNetworkBitsMin6 = 48;

// "192.0.2.7", "192.0.2.0/28": in its usual spelling, bits behind the network cleared.
Result<std::string> read_network(const std::string& text) {
    const std::size_t slash = text.find('/');
    const auto base = net::IpAddress::parse(text.substr(0, slash));
    if (!base || base->is_unspecified()) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not an address; write 192.0.2.7 or 192.0.2.0/28", text));
    }
    if (slash == std::string::npos) return base->to_string();
    const bool v4 = base->family() == net::IpAddress::Family::v4;
    const auto bits = ascii::parse_number(text.substr(slash + 1));
    if (!bits || *bits > (v4 ? 32U : 128U)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no network; write for example 192.0.2.0/28", text));
    }
    const unsigned least = v4 ? kNetworkBitsMin4 : kNetworkBitsMin6;
    if (*bits < least) {
        return Error(Errc::invalid,
                     fmt::format("{} is too wide: list the machines, or networks from /{} on", text, least));
    }
    return fmt::format("{}/{}", base->masked(static_cast<unsigned>(*bits)).to_string(), *bits);
}

std::string text_of(const char* path) {
    std::ifstream in(path);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

// Behind a NAT or a container's bridge everybody comes from the default gateway: to list it is to relay for the world.
Result<> refuse_gateway(const std::string& network) {
    if (network.contains('/')) return {};  // of a network the server leaves the gateway out
    const auto gateways = net::parse_gateways(text_of("/proc/net/route"), text_of("/proc/net/ipv6_route"));
    for (const net::IpAddress& gateway : gateways) {
        if (!net::network_holds(network, gateway)) continue;
        return Error(Errc::denied, fmt::format("{} is the default gateway of this machine: behind a NAT or a "
                                               "container's bridge everybody comes from it. Use --password instead",
                                               network));
    }
    return {};
}

/// A limit that "0" takes away.
Result<std::optional<std::uint32_t>> read_limit(const Invocation& call, const char* option) {
    if (!call.has(option)) return std::optional<std::uint32_t>();
    if (call.get(option) == "0") return std::optional<std::uint32_t>(0);
    TRY(const std::uint32_t count, read_count(call, option, kCountMax));
    return std::optional(count);
}

/// What the options say.
Result<RelayClientChange> read_change(const Invocation& call) {
    RelayClientChange change;
    if (call.has("--sender-domain")) change.sender_domains = call.all("--sender-domain");
    if (call.has("--from-address")) change.addresses.emplace();
    for (const std::string& text : call.all("--from-address")) {
        TRY(std::string network, read_network(text));
        TRY_VOID(refuse_gateway(network));
        change.addresses->push_back(std::move(network));
    }
    TRY(change.minute_max, read_limit(call, "--rate"));
    TRY(change.day_max, read_limit(call, "--per-day"));
    if (call.has("--class")) {
        change.mail_class = storage::parse_class(call.get("--class"));
        if (!change.mail_class) return Error(Errc::invalid, "--class takes interactive, transactional or bulk");
    }
    if (call.has("--stream")) change.stream = ascii::to_lower(call.get("--stream"));
    return change;
}

/// A new password, and what is kept of it.
std::string make_password(std::string& digest) {
    std::string password = system_random().token(kPasswordCharacters);
    digest = storage::client_password_digest(password);
    return password;
}

void tell_password(Invocation& call, const std::string& name, const std::string& password) {
    if (password.empty()) return;
    call.out().say(password);
    call.out().say(
        fmt::format("It logs in as {} with this password, on the submission ports over TLS. Keep it now: "
                    "it is not shown again.",
                    name));
}

void tell_address(Invocation& call) {
    call.out().say(
        "It is known by its address on port 25, without a login. That is only as safe as the address: "
        "nobody else may be able to come from it.");
}

// client add NAME
Result<> client_add(Invocation& call) {
    TRY(const RelayClientChange wanted, read_change(call));
    RelayClient client;
    client.name = ascii::to_lower(call.get("NAME"));
    client.addresses = wanted.addresses.value_or(client.addresses);
    client.sender_domains = wanted.sender_domains.value_or(client.sender_domains);
    client.minute_max = wanted.minute_max.value_or(client.minute_max);
    client.day_max = wanted.day_max.value_or(client.day_max);
    client.mail_class = wanted.mail_class.value_or(client.mail_class);
    client.stream = wanted.stream.value_or(client.stream);
    const bool by_address = !client.addresses.empty();
    std::string password;
    if (call.has("--password") || !by_address) password = make_password(client.password_digest);
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY([[maybe_unused]] const auto id, RelayClientTx(tx).add(client));
        return {};
    }));
    if (call.out().json()) {
        call.out().record(Record().add("added", client.name).add("login", client.name).add("password", password));
        return {};
    }
    tell_password(call, client.name, password);
    if (by_address) tell_address(call);
    return {};
}

Record row_of(const RelayClient& client) {
    const auto limit = [](std::uint32_t most, std::uint64_t used) {
        return most == 0 ? std::string("no limit") : fmt::format("{} of {}", used, most);
    };
    const Time now = system_clock().now();
    const bool same_day = client.day == std::chrono::floor<std::chrono::days>(now).time_since_epoch().count();
    Record row;
    row.add("name", client.name);
    row.add("state", client.disabled ? "disabled" : !client.distrust.empty() ? "address not believed" : "active");
    row.add("password", !client.password_digest.empty()).add("addresses", client.addresses);
    row.add("sender_domains", client.sender_domains);
    row.add("this_minute", limit(client.minute_max, storage::used_this_minute(client, now)));
    row.add("today", limit(client.day_max, same_day ? client.day_used : 0));
    row.add("class", storage::class_name(client.mail_class)).add("stream", client.stream);
    return row;
}

// client list
Result<> client_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto clients, store->read([](const Snapshot& snapshot) { return RelayClientView(snapshot).list(); }));
    std::vector<Record> rows;
    for (const RelayClient& client : clients) rows.push_back(row_of(client));
    call.out().table(rows, "There is no relay client: only accounts hand mail in.");
    return {};
}

// client show NAME
Result<> client_show(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const RelayClient client,
        store->read([&](const Snapshot& snapshot) { return RelayClientView(snapshot).by_name(call.get("NAME")); }));
    Record row = row_of(client);
    row.add("created", format_rfc3339(client.created)).add("distrust", client.distrust);
    call.out().record(row);
    return {};
}

template <class Change>
Result<> change_client(Invocation& call, std::string_view done, Change change) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    TRY(storage::Store* const store, call.store());
    const auto changed = store->write({}, [&](storage::Tx& tx) -> Result<> {
        RelayClientTx clients(tx);
        return change(clients, name);
    });
    if (!changed && changed.error().code == Errc::not_found) {
        return Error(Errc::not_found,
                     fmt::format("there is no relay client {}; posthouse client list shows them", name));
    }
    TRY_VOID(changed);
    if (call.out().json()) call.out().record(Record().add("client", name).add("done", done));
    call.out().say(fmt::format("The relay client {} is {}.", name, done));
    return {};
}

// client set NAME
Result<> client_set(Invocation& call) {
    TRY(RelayClientChange change, read_change(call));
    if (call.has("--no-address")) {
        if (change.addresses) return Error(Errc::invalid, "--no-address and --from-address say opposite things");
        change.addresses.emplace();
    }
    std::string password;
    if (call.has("--new-password")) password = make_password(change.password_digest.emplace());
    const std::string name = ascii::to_lower(call.get("NAME"));
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return RelayClientTx(tx).set(name, change); }));
    if (call.out().json()) {
        Record row;
        row.add("client", name).add("done", "changed");
        if (!password.empty()) row.add("login", name).add("password", password);
        call.out().record(row);
        return {};
    }
    call.out().say(fmt::format("The relay client {} is changed.", name));
    tell_password(call, name, password);
    if (change.addresses && !change.addresses->empty()) tell_address(call);
    return {};
}

// client disable, enable, remove, trust NAME
Result<> client_disable(Invocation& call) {
    return change_client(
        call, "disabled: it sends nothing until it is enabled again",
        [](RelayClientTx& clients, const std::string& name) { return clients.set_disabled(name, true); });
}
Result<> client_enable(Invocation& call) {
    return change_client(call, "enabled", [](RelayClientTx& clients, const std::string& name) {
        return clients.set_disabled(name, false);
    });
}
Result<> client_remove(Invocation& call) {
    return change_client(call, "removed",
                         [](RelayClientTx& clients, const std::string& name) { return clients.remove(name); });
}
Result<> client_trust(Invocation& call) {
    return change_client(call, "believed by its address again", [](RelayClientTx& clients, const std::string& name) {
        return clients.set_distrust(name, "");
    });
}

using Kind = Argument::Kind;
constexpr Argument kAdd[] = {
    {Kind::positional, "NAME", "how it is called; also its login: letters, digits, '-', '_', '.'"},
    {Kind::flag, "--password", "it logs in with a password, made here and shown once (the default without addresses)"},
    {Kind::option_many, "--from-address",
     "it is known by this address or network (192.0.2.0/28) on port 25, without a "
     "login; may be repeated"},
    {Kind::option_many, "--sender-domain", "a domain that it may write as; may be repeated"},
    {Kind::option, "--rate",
     "at most so many recipients a minute, such as 30/min; a message for more goes whole, and the "
     "next ones wait for it"},
    {Kind::option, "--per-day", "at most so many recipients a day (UTC)"},
    {Kind::option, "--class", "interactive, transactional (the default) or bulk: its share where mail waits"},
    {Kind::option, "--stream", "the stream that its mail is of, where that names none (posthouse stream)"}};
constexpr Argument kSet[] = {
    {Kind::positional, "NAME", "the client's name"},
    {Kind::option_many, "--sender-domain", "the domains that it may write as, in place of those it had"},
    {Kind::option_many, "--from-address", "the addresses that it is known by on port 25, in place of those it had"},
    {Kind::flag, "--no-address", "it is known by its password alone"},
    {Kind::option, "--rate", "at most so many recipients a minute, such as 30/min; 0: no limit"},
    {Kind::option, "--per-day", "at most so many recipients a day (UTC); 0: no limit"},
    {Kind::option, "--class", "interactive, transactional or bulk: its share where mail waits"},
    {Kind::option, "--stream", "the stream that its mail is of, where that names none; \"\": none"},
    {Kind::flag, "--new-password", "a new password, shown once; the old one ends at once"}};
constexpr Argument kName[] = {{Kind::positional, "NAME", "the client's name"}};

constexpr Command kRows[] = {
    {"client", "add", "let another server or device hand its mail in",
     "posthouse client add nas --sender-domain example.org --rate 30/min --per-day 500", kAdd, client_add},
    {"client", "list", "list the relay clients and what they have sent", "posthouse client list", {}, client_list},
    {"client", "show", "tell all about a relay client", "posthouse client show nas", kName, client_show},
    {"client", "set", "change what a relay client may send and how it is known",
     "posthouse client set shop --rate 60/min --per-day 2000", kSet, client_set},
    {"client", "disable", "let a relay client send nothing for now", "posthouse client disable nas", kName,
     client_disable},
    {"client", "enable", "let a relay client send again", "posthouse client enable nas", kName, client_enable},
    {"client", "trust", "believe a relay client's address again", "posthouse client trust nas", kName, client_trust},
    {"client", "remove", "remove a relay client", "posthouse client remove nas", kName, client_remove},
};

}  // namespace

std::span<const Command> client_commands() { return kRows; }

}  // namespace posthouse::admin
