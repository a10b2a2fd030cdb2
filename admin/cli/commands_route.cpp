// posthouse route ... and dkim ...: which way mail goes out, and with which keys it is signed.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "admin/cli/command.h"
#include "admin/cli/keys.h"
#include "admin/cli/secret.h"
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/relay_url.h"
#include "storage/route_match.h"

namespace posthouse::admin {
namespace {

using storage::Route;
using storage::Snapshot;

Result<std::int64_t> parse_priority(const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no priority; write a whole number, lower is tried first", text));
    }
    return value;
}

// route add NAME WAY
Result<> route_add(Invocation& call) {
    TRY(const smtp::RelayUrl way, smtp::parse_relay_url(call.get("WAY")));
    Route route;
    route.name = call.get("NAME");
    route.way = way.to_string();
    route.sender_domain = ascii::to_lower(call.get("--from"));
    route.recipient_domain = ascii::to_lower(call.get("--to"));
    if (call.has("--priority")) {
        TRY(route.priority, parse_priority(call.get("--priority")));
    }
    if (call.has("--ca-file")) route.ca_file = std::filesystem::absolute(call.get("--ca-file")).string();
    TRY(storage::Store* const store, call.store());
    if (way.needs_password()) {
        TRY(const std::string password, read_secret(call.get("--password-file"), "POSTHOUSE_RELAY_PASSWORD",
                                                    fmt::format("password of {} at {}", way.user, way.host)));
        route.sealed_password = crypto::seal(store->sealing_key(), kRouteSealPurpose, password);
    }
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY([[maybe_unused]] const auto id, tx.catalog().add_route(route));
        return {};
    }));
    if (call.out().json())
        return call.out().record(Record().add("added", route.name).add("way", route.way)), Result<>();
    call.out().say(fmt::format("Route {} is added: {}. posthouse route explain FROM TO tells what takes it.",
                               route.name, route.way));
    return {};
}

// route list
Result<> route_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(auto routes, store->read([](const Snapshot& snapshot) { return snapshot.catalog().routes(); }));
    std::ranges::sort(routes, {}, [](const Route& route) { return std::pair(route.priority, storage::raw(route.id)); });
    std::vector<Record> rows;
    for (const Route& route : routes) {
        Record row;
        row.add("name", route.name).add("priority", route.priority);
        row.add("from", route.sender_domain.empty() ? "any" : route.sender_domain);
        row.add("to", route.recipient_domain.empty() ? "any" : route.recipient_domain);
        row.add("way", route.way).add("password", !route.sealed_password.empty()).add("ca_file", route.ca_file);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "There is no route: all mail goes directly to the mail servers (MX) of its recipients.");
    return {};
}

// route remove NAME
Result<> route_remove(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    const auto removed = store->write({}, [&](storage::Tx& tx) { return tx.catalog().remove_route(name); });
    if (!removed && removed.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("there is no route {}; posthouse route list shows them", name));
    }
    TRY_VOID(removed);
    if (call.out().json()) call.out().record(Record().add("removed", name));
    call.out().say(fmt::format("Route {} is removed.", name));
    return {};
}

// route explain FROM TO
Result<> route_explain(Invocation& call) {
    const std::string from = call.get("FROM");
    const std::string to = call.get("TO");
    const bool is_report = from.empty() || from == "<>";  // the null sender of delivery reports
    for (const std::string& address : {is_report ? to : from, to}) {
        if (!smtp::parse_mailbox(address))
            return Error(Errc::invalid, fmt::format("\"{}\" is not an address", address));
    }
    TRY(storage::Store* const store, call.store());
    TRY(const auto domains, store->read([](const Snapshot& snapshot) { return snapshot.catalog().domains(); }));
    TRY(const auto routes, store->read([](const Snapshot& snapshot) { return snapshot.catalog().routes(); }));
    std::string sentence = storage::explain_route(routes, from, to);
    const bool ours = std::ranges::find(domains, storage::address_domain(to), &storage::Domain::name) != domains.end();
    if (ours)
        sentence =
            fmt::format("{} is a domain of this server: mail to {} stays here.", storage::address_domain(to), to);
    if (!call.out().json()) return call.out().say(sentence), Result<>();
    const Route* const route =
        ours ? nullptr : storage::match_route(routes, storage::address_domain(from), storage::address_domain(to));
    Record record;
    record.add("local", ours).add("route", route == nullptr ? std::string() : route->name);
    record.add("way", ours ? "local" : route == nullptr ? "direct" : route->way).add("sentence", sentence);
    call.out().record(record);
    return {};
}

// dkim list
Result<> dkim_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto keys, store->read([](const Snapshot& snapshot) { return snapshot.catalog().dkim_keys(); }));
    std::vector<Record> rows;
    for (const storage::DkimKey& key : keys) {
        Record row;
        row.add("domain", key.domain_name).add("selector", key.selector).add("algorithm", key.algorithm);
        row.add("active", key.active).add("created", format_rfc3339(key.created));
        if (call.out().json()) row.add("record", key.dns_record);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "There is no key; posthouse dkim add DOMAIN makes two.");
    return {};
}

// dkim add DOMAIN
Result<> dkim_add(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("DOMAIN"));
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Domain domain,
        store->read([&](const Snapshot& snapshot) { return snapshot.catalog().domain(name); }));
    TRY(const auto keys, make_dkim_keys(*store, domain.name, system_clock().now()));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return add_dkim_keys(tx, domain.id, keys); }));
    if (call.out().json()) {
        std::vector<Record> rows;
        for (const auto& key : keys)
            rows.push_back(Record().add("selector", key.selector).add("record", key.dns_record));
        call.out().table(rows, "");
        return {};
    }
    call.out().say(fmt::format(
        "Two keys are added ({}, {}) and sign from now on, beside those that were there. Publish them at once:\n\n"
        "  posthouse domain records {}",
        keys[0].selector, keys[1].selector, name));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kRouteAdd[] = {
    {Kind::positional, "NAME", "what you call it"},
    {Kind::positional, "WAY",
     "direct, smtp://user@host:587 (STARTTLS), smtps://user@host:465, smtp+plain://host:25 (private networks), "
     "preset:NAME"},
    {Kind::option, "--from", "only mail from this domain"},
    {Kind::option, "--to", "only mail to this domain"},
    {Kind::option, "--priority", "lower is tried first [100]"},
    {Kind::option, "--ca-file", "PEM certificates to trust for this relay instead of the system's"},
    {Kind::option, "--password-file",
     "read the relay's password from the first line of a file, - for standard input; else POSTHOUSE_RELAY_PASSWORD, "
     "else a prompt"}};
constexpr Argument kRouteName[] = {{Kind::positional, "NAME", "the route's name"}};
constexpr Argument kExplain[] = {{Kind::positional, "FROM", "the sender's address"},
                                 {Kind::positional, "TO", "the recipient's address"}};
constexpr Argument kDomain[] = {{Kind::positional, "DOMAIN", "the domain to sign for"}};

constexpr Command kRouteRows[] = {
    {"route", "add", "send mail a certain way",
     "posthouse route add relay smtp://me@smtp.example.net:587 --password-file relay.txt", kRouteAdd, route_add},
    {"route", "list", "list the routes in the order they are tried", "posthouse route list", {}, route_list},
    {"route", "remove", "remove a route", "posthouse route remove relay", kRouteName, route_remove},
    {"route", "explain", "tell which way a message would take",
     "posthouse route explain alice@example.org bob@example.net", kExplain, route_explain},
};
constexpr Command kDkimRows[] = {
    {"dkim", "list", "list the signing keys", "posthouse dkim list", {}, dkim_list},
    {"dkim", "add", "make two new signing keys for a domain", "posthouse dkim add example.org", kDomain, dkim_add},
};

}  // namespace

std::span<const Command> route_commands() { return kRouteRows; }
std::span<const Command> dkim_commands() { return kDkimRows; }

}  // namespace posthouse::admin
