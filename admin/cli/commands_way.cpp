// posthouse way ... and route presets: manners of sending, and the services that are known.
#include <fmt/format.h>

#include <algorithm>

#include "admin/cli/ways.h"
#include "protocols/base/ascii.h"
#include "protocols/net/address.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/presets.h"
#include "protocols/smtp/relay_url.h"
#include "storage/route_choice.h"
#include "storage/settings.h"
#include "storage/way_tokens.h"

namespace posthouse::admin {
namespace {

using storage::RouteTx;
using storage::RouteView;
using storage::Snapshot;
using storage::Way;

std::string what_it_does(const Way& way) {
    switch (way.kind) {
        case storage::WayKind::direct: return way.pool.empty() ? "directly" : "directly, from pool " + way.pool;
        case storage::WayKind::smarthost: return way.url;
        case storage::WayKind::hold: return "held in the queue until it is released";
        case storage::WayKind::fail: return "refused: the sender is told";
    }
    return "";
}

// way add NAME URL|direct
Result<> way_add(Invocation& call) {
    Way way;
    const std::string text = call.get("WAY");
    if (is_relay_url(text)) {
        if (call.has("--pool")) return Error(Errc::invalid, "--pool belongs to a direct way; a relay has none");
        TRY(way, read_way(call, call.get("NAME"), text));
    } else if (text == "direct") {
        way.name = call.get("NAME");
        way.kind = storage::WayKind::direct;
        way.pool = call.get("--pool");
        if (way.pool.empty()) {
            return Error(Errc::invalid,
                         "a direct way needs --pool NAME; without a pool the way \"direct\" is there "
                         "already");
        }
    } else {
        return Error(Errc::invalid, fmt::format("\"{}\" is no way: write a relay URL, preset:NAME, or direct with "
                                                "--pool",
                                                text));
    }
    way.return_path = ascii::to_lower(call.get("--return-path"));
    if (!way.return_path.empty() && !smtp::is_domain(way.return_path)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not a domain", way.return_path));
    }
    TRY(storage::Store* const store, call.store());
    const bool replace = call.has("--replace");
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(replace ? RouteTx(tx).set_way(way) : RouteTx(tx).add_way(way));
        return call.has("--tokens") ? storage::set_tokens_of_way(tx, way.name, call.get("--tokens")) : Result<>();
    }));
    if (call.out().json()) {
        call.out().record(Record().add(replace ? "replaced" : "added", way.name).add("way", what_it_does(way)));
        return {};
    }
    call.out().say(fmt::format("The way {} is {}: {} ({}). A route takes it: posthouse route add ROUTE {}", way.name,
                               replace ? "replaced" : "there", what_it_does(way), limits_text(way.limits), way.name));
    return {};
}

Record row_of(const Way& way) {
    Record row;
    row.add("name", way.name).add("kind", storage::to_string(way.kind)).add("sends", what_it_does(way));
    row.add("preset", way.preset).add("limits", limits_text(way.limits));
    return row;
}

// When a smarthost was last known to work, and what was found since. "" where it is new.
std::string health_of(const std::vector<storage::Memory>& memory, const std::string& way) {
    const auto found = std::ranges::find_if(
        memory, [&](const storage::Memory& one) { return one.way == way && one.site == storage::kCheckSite; });
    if (found == memory.end() || (found->since == Time{} && found->tries == 0)) return {};
    std::string out = found->since == Time{} ? "never" : format_rfc3339(found->since);
    if (found->tries > 0) out += fmt::format("; tried {} times since: {}", found->tries, found->reply);
    return out;
}

// way list
Result<> way_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto ways, store->read([](const Snapshot& snapshot) { return RouteView(snapshot).ways(); }));
    TRY(const auto memory, store->read([](const Snapshot& snapshot) { return RouteView(snapshot).memory(); }));
    std::vector<Record> rows;
    for (const std::string_view name : {"direct", "hold", "fail"}) rows.push_back(row_of(*find_way(ways, name)));
    for (const Way& way : ways) rows.push_back(row_of(way));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].add("last_good", i < 3 ? std::string() : health_of(memory, ways[i - 3].name));
    }
    call.out().table(rows, "");
    return {};
}

std::string tokens_text(const Way& way, const std::string& by_way) {
    const smtp::Preset* const preset = smtp::find_preset(way.preset);
    if (preset != nullptr && preset->own_address_only)
        return "never: the service takes the account's own address alone";
    const std::string word = storage::tokens_of_way(by_way, way.name);
    return word.empty() ? "default (setting return_path.tokens)" : word;
}

// way show NAME
Result<> way_show(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    const std::int64_t today = std::chrono::floor<std::chrono::days>(system_clock().now()).time_since_epoch().count();
    TRY(const auto picture, store->read([&](const Snapshot& snapshot) { return RouteView(snapshot).picture(today); }));
    TRY(const std::string by_way, store->read([](const Snapshot& snapshot) {
        return storage::setting_text(snapshot.catalog(), "return_path.tokens_by_way");
    }));
    const auto way = find_way(picture.ways, name);
    if (!way) return Error(Errc::not_found, fmt::format("there is no way {}; posthouse way list shows them", name));
    Record row = row_of(*way);
    row.add("login", way->sealed_secret.empty() && way->oauth.token_url.empty() ? "none"
                     : way->oauth.token_url.empty()                             ? "password"
                     : way->oauth.sealed_refresh.empty() ? "XOAUTH2, client credentials from " + way->oauth.token_url
                                                         : "XOAUTH2, refresh token at " + way->oauth.token_url);
    row.add("return_path", way->return_path).add("tokens", tokens_text(*way, by_way));
    const auto url = smtp::parse_relay_url(way->url);
    row.add("client_cert", url ? url->certificate_file : std::string());
    row.add("ca_file", way->ca_file).add("headers", std::string(ascii::trim(way->headers)));
    const auto used = picture.used_today.find(name);
    row.add("used_today", used == picture.used_today.end() ? std::uint64_t{0} : used->second);
    std::vector<std::string> known;
    for (const storage::Memory& memory : picture.memory) {
        if (memory.way != name || !storage::counts_against(memory)) continue;
        known.push_back(fmt::format("{}{} since {}, {} times, tried again at {}: {}", storage::describe(memory),
                                    memory.source.empty() ? "" : " from " + memory.source, format_rfc3339(memory.since),
                                    memory.tries, format_rfc3339(memory.probe), memory.reply));
    }
    row.add("remembered", std::move(known)).add("last_good", health_of(picture.memory, name));
    call.out().record(row);
    return {};
}

// Another certificate, and none where it is empty.
Result<> set_certificate(storage::Tx& tx, const Invocation& call, Way way) {
    if (way.kind != storage::WayKind::smarthost) {
        return Error(Errc::invalid,
                     fmt::format("the way {} leads to no relay that could ask for a certificate", way.name));
    }
    TRY(smtp::RelayUrl url, smtp::parse_relay_url(way.url));
    TRY_VOID(read_client_certificate(call, url));
    way.url = url.to_string();
    return RouteTx(tx).set_way(way);
}

// way set NAME [--tokens on|programs|off|default] [--client-cert FILE [--client-key FILE]]
Result<> way_set(Invocation& call) {
    const std::string name = call.get("NAME");
    const bool has_certificate = call.has("--client-cert") || call.has("--client-key");
    if (!call.has("--tokens") && !has_certificate) {
        return Error(Errc::invalid, "say what to set: --tokens on, programs, off or default; or --client-cert FILE");
    }
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto ways, RouteTx(tx).ways());
        const auto way = find_way(ways, name);
        if (!way) {
            return Error(Errc::not_found, fmt::format("there is no way {}; posthouse way list shows them", name));
        }
        if (has_certificate) TRY_VOID(set_certificate(tx, call, *way));
        return call.has("--tokens") ? storage::set_tokens_of_way(tx, name, call.get("--tokens")) : Result<>();
    }));
    Record row;
    row.add("set", name);
    if (call.has("--tokens")) row.add("tokens", call.get("--tokens"));
    if (has_certificate) row.add("client_cert", call.get("--client-cert"));
    if (call.out().json()) call.out().record(row);
    if (call.has("--tokens")) call.out().say(fmt::format("The way {}: return tokens {}.", name, call.get("--tokens")));
    if (has_certificate) {
        const std::string file = call.get("--client-cert");
        const std::string shown =
            fmt::format("The way {0} shows the certificate in {1} where the relay asks; try posthouse route test {0}.",
                        name, file);
        call.out().say(file.empty() ? fmt::format("The way {} shows no certificate.", name) : shown);
    }
    return {};
}

// way remove NAME
Result<> way_remove(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(RouteTx(tx).remove_way(name));
        return storage::set_tokens_of_way(tx, name, "default");
    }));
    if (call.out().json()) call.out().record(Record().add("removed", name));
    call.out().say(fmt::format("The way {} is removed.", name));
    return {};
}

// way forget NAME
Result<> way_forget(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    std::uint64_t count = 0;
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        RouteTx routes(tx);
        TRY(const auto ways, routes.ways());
        if (!find_way(ways, name)) return Error(Errc::not_found, fmt::format("there is no way {}", name));
        TRY(const auto memory, routes.memory());
        for (const storage::Memory& one : memory) {
            if (one.way != name) continue;
            TRY_VOID(routes.forget(one.way, one.source, one.site));
            if (storage::counts_against(one)) ++count;
        }
        // What is held for it tries again, too.
        storage::IncidentTx incidents(tx);
        TRY(const auto open, incidents.open());
        for (const storage::Incident& one : open) {
            if (one.key.way == name) TRY_VOID(incidents.clear(one.id, "the way is tried again (posthouse way forget)"));
        }
        return {};
    }));
    if (call.out().json()) call.out().record(Record().add("forgotten", count));
    call.out().say(
        fmt::format("{} refusals of {} are forgotten; it is tried again with the next message.", count, name));
    return {};
}

std::string ports_text(const smtp::Preset& preset) {
    std::string out;
    for (const smtp::PresetPort& row : preset.ports) {
        const bool implicit = row.security == smtp::RelayUrl::Security::implicit_tls;
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", row.port, implicit ? "TLS" : "STARTTLS");
    }
    return out;
}

std::string host_text(const smtp::Preset& preset) {
    std::string out(preset.host);
    if (preset.region == "-") {
        if (const auto at = out.find("{region}"); at != std::string::npos) out.replace(at, 8, "[-REGION]");
    }
    return out;
}

Result<> show_preset(Invocation& call, const smtp::Preset& preset) {
    storage::WayLimits limits;
    limits.connections_max = preset.connections_max;
    limits.minute_max = preset.minute_max;
    limits.day_max = preset.day_max;
    limits.message_octets_max = preset.message_octets_max;
    limits.recipients_max = preset.recipients_max;
    std::vector<std::string> headers;
    for (const smtp::PresetHeader& header : preset.headers) {
        headers.push_back(fmt::format("{}: {}", header.name, header.value));
    }
    std::vector<std::string> records;
    for (const smtp::PresetRecord& record : preset.records) {
        records.push_back(fmt::format("{} {} {}", record.name, record.type, record.value));
    }
    std::vector<std::string> replies;
    for (const smtp::PresetReply& reply : preset.replies) {
        const std::string code = reply.code == 0 ? "any" : fmt::format("{}", reply.code);
        const std::string text = reply.contains.empty() ? "" : fmt::format(" \"{}\"", reply.contains);
        replies.push_back(fmt::format("{}{} ({}): {}", code, text, smtp::to_string(reply.scope), reply.meaning));
    }
    Record row;
    row.add("name", preset.name).add("title", preset.title).add("host", host_text(preset));
    row.add("ports", ports_text(preset)).add("login", preset.user).add("example", preset.example);
    row.add("limits", limits_text(limits)).add("token_url", preset.token_url);
    row.add("return_path", preset.return_path);
    row.add("own_headers", std::vector<std::string>(preset.own_headers.begin(), preset.own_headers.end()));
    row.add("headers", std::move(headers)).add("dns", std::move(records)).add("replies", std::move(replies));
    row.add("note", preset.note);
    call.out().record(row);
    return {};
}

// route presets [NAME]
Result<> route_presets(Invocation& call) {
    if (call.has("NAME")) {
        const smtp::Preset* const preset = smtp::find_preset(call.get("NAME"));
        if (preset == nullptr) {
            return Error(Errc::not_found,
                         fmt::format("there is no preset {}; posthouse route presets lists them", call.get("NAME")));
        }
        return show_preset(call, *preset);
    }
    std::vector<Record> rows;
    for (const smtp::Preset& preset : smtp::presets()) {
        Record row;
        row.add("name", preset.name).add("service", preset.title).add("host", host_text(preset));
        row.add("write", preset.example);
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "");
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kWayAdd[] = {
    {Kind::positional, "NAME", "what you call it"},
    {Kind::positional, "WAY", "smtp://user@host:587, smtps://user@host:465, preset:NAME:user, or direct with --pool"},
    {Kind::option, "--preset",
     "the URL leads to this service another way (a tunnel, a private endpoint): its limits count"},
    {Kind::option, "--pool", "direct: send from the addresses of this pool"},
    {Kind::option, "--connections", "at most so many connections at a time"},
    {Kind::option, "--rate", "at most so many recipients a minute"},
    {Kind::option, "--per-day", "at most so many recipients a day (UTC)"},
    {Kind::option, "--max-size", "no larger messages, for example 25M"},
    {Kind::option, "--max-recipients", "at most so many recipients of one message at once"},
    {Kind::option_many, "--header", "a header field to set on what goes this way, \"Name: value\"; may be repeated"},
    {Kind::option, "--return-path",
     "domain of the envelope sender of what goes this way, so that SPF is asked about it; its MX must lead here"},
    {Kind::option, "--tokens",
     "envelope senders that tell which message a late bounce is about: on, programs, off, default (the setting "
     "return_path.tokens)"},
    {Kind::option, "--ca-file", "PEM certificates to trust for this relay instead of the system's"},
    {Kind::option, "--client-cert", "PEM certificate to show where the relay asks for one, with its chain"},
    {Kind::option, "--client-key", "its key, PEM; without it the key is in the same file"},
    {Kind::option, "--oauth-client", "log in with XOAUTH2: the id of the application"},
    {Kind::option, "--oauth-refresh-file", "its refresh token, in a file; without one: client credentials"},
    {Kind::option, "--oauth-url", "where tokens are had; known for the presets of Microsoft and Google"},
    {Kind::option, "--oauth-scope", "what the token is for; known likewise"},
    {Kind::option, "--password-file",
     "read the password (with XOAUTH2 the application's secret) from the first line of a file, - for standard input; "
     "else POSTHOUSE_RELAY_PASSWORD, else a prompt"},
    {Kind::flag, "--replace", "replace the way of this name; routes keep naming it"}};
constexpr Argument kWayName[] = {{Kind::positional, "NAME", "the way's name"}};
constexpr Argument kWaySet[] = {
    {Kind::positional, "NAME", "the way's name"},
    {Kind::option, "--tokens",
     "envelope senders that tell which message a late bounce is about: on, programs, off, default"},
    {Kind::option, "--client-cert", "PEM certificate to show where the relay asks for one, with its chain; \"\": none"},
    {Kind::option, "--client-key", "its key, PEM; without it the key is in the same file"}};
constexpr Argument kPreset[] = {{Kind::positional_optional, "NAME", "tell all about this one"}};

constexpr Command kWayRows[] = {
    {"way", "add", "name a relay, or a pool of own addresses",
     "posthouse way add backup preset:smtp2go:me --password-file smtp2go.txt", kWayAdd, way_add},
    {"way", "list", "list the ways that a route can take", "posthouse way list", {}, way_list},
    {"way", "show", "tell all about a way, and where it was refused", "posthouse way show backup", kWayName, way_show},
    {"way", "set", "change how mail leaves by a way", "posthouse way set backup --tokens off", kWaySet, way_set},
    {"way", "forget", "try a way again where it was refused", "posthouse way forget direct", kWayName, way_forget},
    {"way", "remove", "remove a way that no route names", "posthouse way remove backup", kWayName, way_remove},
};
constexpr Command kPresetRows[] = {
    {"route", "presets", "list the relay services that are known, or tell all about one",
     "posthouse route presets sendgrid", kPreset, route_presets},
};

}  // namespace

std::span<const Command> way_commands() { return kWayRows; }
std::span<const Command> preset_commands() { return kPresetRows; }

}  // namespace posthouse::admin
