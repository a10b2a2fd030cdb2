// posthouse route ... and dkim ...: which mail takes which ways, and with which keys it is signed.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "admin/cli/command.h"
#include "admin/cli/keys.h"
#include "admin/cli/ways.h"
#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/smtp/path.h"
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

// The steps of a route as they are typed; a URL among them becomes a way with the name of the route.
Result<std::string> read_steps(Invocation& call, const std::string& text, std::optional<storage::Way>& made) {
    std::string out;
    std::string_view rest = text;
    for (;;) {
        const std::size_t end = rest.find(',');
        std::string item(rest.substr(0, end));
        if (is_relay_url(item)) {
            if (made) return Error(Errc::invalid, "only one URL fits here; name the others with posthouse way add");
            TRY(made, read_way(call, call.get("NAME"), item));
            item = made->name;
        }
        out += (out.empty() ? "" : ",") + item;
        if (end == std::string_view::npos) return out;
        rest = rest.substr(end + 1);
    }
}

Result<> read_size(const Invocation& call, const char* option, std::uint64_t& octets) {
    if (!call.has(option) || parse_octets(call.get(option), octets)) return {};
    return Error(Errc::invalid, fmt::format("\"{}\" is no size; write for example 10M", call.get(option)));
}

// An address, a domain, or "*.example.org".
Result<std::string> read_pattern(const Invocation& call, const char* option) {
    std::string text = ascii::to_lower(call.get(option));
    const std::string_view domain = std::string_view(text).starts_with("*.") ? std::string_view(text).substr(2) : text;
    if (text.empty() || text == "*" || smtp::is_domain(domain) || smtp::parse_mailbox(text)) return text;
    return Error(Errc::invalid,
                 fmt::format("{} takes an address, a domain or *.example.org, not \"{}\"", option, text));
}

Result<> read_conditions(const Invocation& call, Route& route) {
    TRY(route.sender, read_pattern(call, "--from"));
    TRY(route.recipient, read_pattern(call, "--to"));
    route.provider = ascii::to_lower(call.get("--provider"));
    route.client = ascii::to_lower(call.get("--client"));
    TRY_VOID(read_size(call, "--min-size", route.octets_min));
    TRY_VOID(read_size(call, "--max-size", route.octets_max));
    if (call.has("--class")) {
        route.mail_class = storage::parse_class(call.get("--class"));
        if (!route.mail_class) return Error(Errc::invalid, "--class takes interactive, transactional or bulk");
    }
    if (call.has("--priority")) {
        TRY(route.priority, parse_priority(call.get("--priority")));
    }
    return {};
}

// route add NAME WAY[,WAY...]
Result<> route_add(Invocation& call) {
    Route route;
    route.name = call.get("NAME");
    TRY_VOID(read_conditions(call, route));
    std::optional<storage::Way> made;
    TRY(const std::string steps, read_steps(call, call.get("WAY"), made));
    TRY(route.steps, storage::parse_steps(steps));
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        if (made) TRY_VOID(routes.add_way(*made));
        return routes.add_route(route);
    }));
    const std::string shown = made && route.steps.size() == 1 ? made->url : steps;
    if (call.out().json()) return call.out().record(Record().add("added", route.name).add("way", shown)), Result<>();
    call.out().say(
        fmt::format("Route {} is added: {}. posthouse route explain FROM TO tells what takes it.", route.name, shown));
    return {};
}

// route list
Result<> route_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto routes, store->read([](const Snapshot& snapshot) { return storage::RouteView(snapshot).routes(); }));
    TRY(const auto ways, store->read([](const Snapshot& snapshot) { return storage::RouteView(snapshot).ways(); }));
    std::vector<Record> rows;
    for (const Route& route : routes) {
        Record row;
        row.add("name", route.name).add("priority", route.priority);
        row.add("from", route.sender.empty() ? "any" : route.sender);
        row.add("to", route.recipient.empty() ? "any" : route.recipient);
        row.add("when", storage::conditions_of(route)).add("ways", storage::format_steps(route.steps));
        const auto first = storage::find_way(ways, route.steps.front().shares.front().way);
        row.add("way", first && first->kind == storage::WayKind::smarthost ? first->url
                       : first                                             ? first->name
                                                                           : "missing");
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "There is no route: all mail goes directly to the mail servers (MX) of its recipients.");
    return {};
}

// route remove NAME
Result<> route_remove(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    const auto removed =
        store->write({}, [&](storage::Tx& tx) -> Result<> { return storage::RouteTx(tx).remove_route(name); });
    if (!removed && removed.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("there is no route {}; posthouse route list shows them", name));
    }
    TRY_VOID(removed);
    if (call.out().json()) call.out().record(Record().add("removed", name));
    call.out().say(fmt::format("Route {} is removed.", name));
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
        row.add("state", storage::to_string(key.state)).add("active", key.active);
        row.add("created", format_rfc3339(key.created)).add("since", format_rfc3339(key.changed));
        if (call.out().json()) row.add("record", key.dns_record);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "There is no key; posthouse dkim add DOMAIN makes two.");
    return {};
}

// A key that signs, and that can be opened: after a restore without the sealing key none can.
Result<bool> signs_already(storage::Store& store, storage::DomainId domain) {
    TRY(const auto keys, store.read([](const Snapshot& snapshot) { return snapshot.catalog().dkim_keys(); }));
    return std::ranges::any_of(keys, [&](const storage::DkimKey& key) {
        return key.domain == domain && key.active &&
               crypto::unseal(store.sealing_key(), kDkimSealPurpose, key.sealed_pem).has_value();
    });
}

// dkim add DOMAIN
Result<> dkim_add(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("DOMAIN"));
    TRY(storage::Store* const store, call.store());
    TRY(const storage::Domain domain,
        store->read([&](const Snapshot& snapshot) { return snapshot.catalog().domain(name); }));
    // Signatures that nobody can check yet would only fail: where others sign, these wait until the DNS shows them.
    TRY(const bool waits, signs_already(*store, domain.id));
    TRY(const auto keys, waits ? make_next_dkim_keys(*store, domain.name, system_clock().now())
                               : make_dkim_keys(*store, domain.name, system_clock().now()));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return add_dkim_keys(tx, domain.id, keys); }));
    if (call.out().json()) {
        std::vector<Record> rows;
        for (const auto& key : keys)
            rows.push_back(Record()
                               .add("selector", key.selector)
                               .add("state", storage::to_string(key.state))
                               .add("record", key.dns_record));
        call.out().table(rows, "");
        return {};
    }
    const std::string_view when = waits ? "take over some minutes after the DNS shows them; until then the keys of "
                                          "today sign. Publish them"
                                        : "sign from now on. Publish them at once";
    call.out().say(fmt::format("Two keys are added ({}, {}) and {}:\n\n  posthouse domain records {}", keys[0].selector,
                               keys[1].selector, when, name));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kRouteAdd[] = {
    {Kind::positional, "NAME", "what you call it"},
    {Kind::positional, "WAY",
     "what takes the mail, in order: direct, hold, fail, the name of a way, or one URL (smtp://user@host:587, "
     "smtps://user@host:465, smtp+plain://host:25, preset:NAME:user). \"direct,backup\" sends directly and takes "
     "backup where our address is refused; \"a*3+b*1\" shares by weight; fail or hold behind ways take what those "
     "refuse, and wait out an outage"},
    {Kind::option, "--from", "only mail from this address, domain or *.example.org"},
    {Kind::option, "--to", "only mail to this address, domain or *.example.org"},
    {Kind::option, "--provider", "only to domains whose mail is kept by google, microsoft, yahoo, ..."},
    {Kind::option, "--min-size", "only messages of at least this size"},
    {Kind::option, "--max-size", "only messages of at most this size"},
    {Kind::option, "--class", "only interactive, transactional or bulk mail"},
    {Kind::option, "--client", "only what this relay client hands in"},
    {Kind::option, "--priority", "lower is tried first [100]"},
    {Kind::option, "--ca-file", "PEM certificates to trust for this relay instead of the system's"},
    {Kind::option, "--client-cert", "PEM certificate to show where the relay asks for one, with its chain"},
    {Kind::option, "--client-key", "its key, PEM; without it the key is in the same file"},
    {Kind::option, "--password-file",
     "read the relay's password from the first line of a file, - for standard input; else POSTHOUSE_RELAY_PASSWORD, "
     "else a prompt"}};
constexpr Argument kRouteName[] = {{Kind::positional, "NAME", "the route's name"}};
constexpr Argument kDomain[] = {{Kind::positional, "DOMAIN", "the domain to sign for"}};

constexpr Command kRouteRows[] = {
    {"route", "add", "send mail a certain way",
     "posthouse route add relay smtp://me@smtp.example.net:587 --password-file relay.txt", kRouteAdd, route_add},
    {"route", "list", "list the routes in the order they are tried", "posthouse route list", {}, route_list},
    {"route", "remove", "remove a route", "posthouse route remove relay", kRouteName, route_remove},
};
constexpr Command kDkimRows[] = {
    {"dkim", "list", "list the signing keys", "posthouse dkim list", {}, dkim_list},
    {"dkim", "add", "make two new signing keys for a domain", "posthouse dkim add example.org", kDomain, dkim_add},
};

}  // namespace

std::span<const Command> route_commands() { return kRouteRows; }
std::span<const Command> dkim_commands() { return kDkimRows; }

}  // namespace posthouse::admin
