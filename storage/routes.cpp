#include "storage/routes.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/catalog_impl.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kKinds[] = {"direct", "smarthost", "hold", "fail"};
constexpr std::string_view kClasses[] = {"interactive", "transactional", "bulk"};

// Names stand in logs, in lists of steps and on the command line.
bool is_name(std::string_view name) {
    const auto fits = [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_' || c == '.'; };
    return !name.empty() && name.size() <= kNameOctetsMax && std::ranges::all_of(name, fits);
}

Result<> check_name(std::string_view what, std::string_view name) {
    if (is_name(name)) return {};
    return Error(Errc::invalid, fmt::format("a {} needs a name of letters, digits, '-', '_' and '.', at most {}", what,
                                            kNameOctetsMax));
}

bool is_plain(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return ascii::is_control(c) || c == ' '; }) &&
           ascii::is_valid_utf8(text);
}

Result<Step::Share> parse_share(std::string_view text) {
    Step::Share out;
    const std::size_t star = text.find('*');
    out.way = ascii::trim(text.substr(0, star));
    if (!is_name(out.way)) return Error(Errc::invalid, fmt::format("\"{}\" is not the name of a way", text));
    if (star == std::string_view::npos) return out;
    const auto weight = ascii::parse_number(ascii::trim(text.substr(star + 1)));
    if (!weight || *weight == 0 || *weight > kWeightMax) {
        return Error(Errc::invalid, fmt::format("\"{}\": a weight is a number from 1 to {}", text, kWeightMax));
    }
    out.weight = static_cast<std::uint32_t>(*weight);
    return out;
}

// Calls `part` for each piece between the dividers; at least once.
template <class Part>
Result<> split(std::string_view text, char divider, Part part) {
    for (;;) {
        const std::size_t end = text.find(divider);
        TRY_VOID(part(text.substr(0, end)));
        if (end == std::string_view::npos) return {};
        text = text.substr(end + 1);
    }
}

#define WAY_COLUMNS                                                                                     \
    "id, name, kind, pool, url, preset, sealed_secret, ca_file, headers, token_url, client_id, scope, " \
    "sealed_refresh, connections_max, minute_max, day_max, message_octets_max, recipients_max, return_path"

Way way_of(const Query& row) {
    Way out;
    out.id = row.id<WayId>(0);
    out.name = row.text(1);
    const std::string kind = row.text(2);
    const auto* const found = std::ranges::find(kKinds, std::string_view(kind));
    // An unknown word can only come from a newer program: to hold is the answer that loses nothing.
    out.kind = found == std::end(kKinds) ? WayKind::hold : static_cast<WayKind>(found - std::begin(kKinds));
    out.pool = row.text(3);
    out.url = row.text(4);
    out.preset = row.text(5);
    out.sealed_secret = row.text(6);
    out.ca_file = row.text(7);
    out.headers = row.text(8);
    out.oauth.token_url = row.text(9);
    out.oauth.client_id = row.text(10);
    out.oauth.scope = row.text(11);
    out.oauth.sealed_refresh = row.text(12);
    out.limits.connections_max = row.u32(13);
    out.limits.minute_max = row.u32(14);
    out.limits.day_max = row.u32(15);
    out.limits.message_octets_max = row.u64(16);
    out.limits.recipients_max = row.u32(17);
    out.return_path = row.text(18);
    return out;
}

}  // namespace

std::string_view to_string(WayKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::optional<std::uint8_t> parse_class(std::string_view text) {
    for (std::uint8_t i = 0; i < std::size(kClasses); ++i) {
        if (ascii::equals_ci(text, kClasses[i])) return i;
    }
    return std::nullopt;
}

std::string_view class_name(std::uint8_t mail_class) {
    return kClasses[std::min<std::size_t>(mail_class, std::size(kClasses) - 1)];
}

Result<std::vector<Step>> parse_steps(std::string_view text) {
    std::vector<Step> out;
    TRY_VOID(split(text, ',', [&](std::string_view step) -> Result<> {
        Step& to = out.emplace_back();
        return split(step, '+', [&](std::string_view share) -> Result<> {
            TRY(Step::Share read, parse_share(share));
            to.shares.push_back(std::move(read));
            return {};
        });
    }));
    if (out.size() > kStepsMax) return Error(Errc::invalid, fmt::format("a route has at most {} steps", kStepsMax));
    return out;
}

std::string format_steps(std::span<const Step> steps) {
    std::string out;
    for (const Step& step : steps) {
        if (!out.empty()) out += ',';
        for (const Step::Share& share : step.shares) {
            if (&share != step.shares.data()) out += '+';
            out += share.way;
            if (step.shares.size() > 1) out += fmt::format("*{}", share.weight);
        }
    }
    return out;
}

bool is_built_in_way(std::string_view name) { return name == "direct" || name == "hold" || name == "fail"; }

std::optional<Way> find_way(std::span<const Way> ways, std::string_view name) {
    const auto found = std::ranges::find(ways, name, &Way::name);
    if (found != ways.end()) return *found;
    if (!is_built_in_way(name)) return std::nullopt;
    Way out;
    out.name = name;
    out.kind = name == "direct" ? WayKind::direct : name == "hold" ? WayKind::hold : WayKind::fail;
    return out;
}

// ---- reading

RouteView::RouteView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
RouteView::RouteView(Tx& tx) : db_(context_of(tx).db) {}

Result<std::vector<Way>> RouteView::ways() const {
    std::vector<Way> out;
    Query q = db_.query("SELECT " WAY_COLUMNS " FROM ways ORDER BY name");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(way_of(q));
    }
}

Result<std::vector<Route>> RouteView::routes() const {
    std::vector<Route> out;
    Query q = db_.query(
        "SELECT id, name, priority, sender, recipient, ways, provider, octets_min, octets_max, class, client "
        "FROM routes ORDER BY priority, id");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        Route& route = out.emplace_back();
        route.id = q.id<RouteId>(0);
        route.name = q.text(1);
        route.priority = q.i64(2);
        route.sender = q.text(3);
        route.recipient = q.text(4);
        TRY(route.steps, parse_steps(q.text(5)));
        route.provider = q.text(6);
        route.octets_min = q.u64(7);
        route.octets_max = q.u64(8);
        if (!q.is_null(9)) route.mail_class = static_cast<std::uint8_t>(q.u32(9));
        route.client = q.text(10);
    }
}

Result<std::vector<SourceAddress>> RouteView::addresses() const {
    std::vector<SourceAddress> out;
    Query q = db_.query("SELECT address, pool, ehlo, weight, warm_ms FROM source_addresses ORDER BY pool, address");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(SourceAddress{q.text(0), q.text(1), q.text(2), q.u32(3), q.time(4)});
    }
}

Result<std::vector<Memory>> RouteView::memory() const {
    std::vector<Memory> out;
    Query q = db_.query(
        "SELECT way, source, site, since_ms, probe_ms, tries, reply FROM route_memory ORDER BY way, source, site");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(Memory{q.text(0), q.text(1), q.text(2), q.time(3), q.time(4), q.u32(5), q.text(6)});
    }
}

Result<std::vector<LaneLimit>> RouteView::lane_limits() const {
    Query q = db_.query("SELECT value FROM settings WHERE key = 'lane.limits'");
    TRY(const bool found, q.row());
    return found ? parse_lane_limits(q.view(0)) : std::vector<LaneLimit>();
}

Result<RoutePicture> RouteView::picture(std::int64_t day) const {
    RoutePicture out;
    TRY(out.ways, ways());
    TRY(out.routes, routes());
    TRY(out.addresses, addresses());
    TRY(out.memory, memory());
    TRY(out.incidents, open_incidents(db_));
    TRY(out.book, read_address_book(db_));
    TRY(out.lane_limits, lane_limits());
    Query q = db_.query("SELECT way, recipients FROM way_use WHERE day = ?1");
    q.bind(day);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.used_today[q.text(0)] = q.u64(1);
    }
}

// ---- writing

RouteTx::RouteTx(Tx& tx) : RouteView(tx), tx_(tx) {}

void RouteTx::changed() { context_of(tx_).write->notice.catalog = true; }

Result<> RouteTx::write_way(const Way& way) {
    TRY_VOID(check_name("way", way.name));
    if (is_built_in_way(way.name)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is always there; choose another name", way.name));
    }
    if (way.kind == WayKind::smarthost && (way.url.empty() || !is_plain(way.url))) {
        return Error(Errc::invalid, "a smarthost needs a URL");
    }
    if (!way.return_path.empty() && (!is_plain(way.return_path) || !way.return_path.contains('.'))) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no domain for a return path", way.return_path));
    }
    const std::string return_path = ascii::to_lower(way.return_path);
    // What it was refused for may be mended: one message of those that are held tries at once.
    TRY_VOID(db_.query("UPDATE incidents SET probe_ms = 1 WHERE way = ?1 AND state = 0 AND probe_ms <> 0")
                 .bind(way.name)
                 .run());
    TRY_VOID(db_.query("INSERT INTO ways (name, kind, pool, url, preset, sealed_secret, ca_file, headers, token_url, "
                       "client_id, scope, sealed_refresh, connections_max, minute_max, day_max, message_octets_max, "
                       "recipients_max, return_path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
                       "?13, ?14, ?15, ?16, ?17, ?18)")
                 .bind(way.name, to_string(way.kind), way.pool, way.url, way.preset, Blob(way.sealed_secret),
                       way.ca_file, way.headers, way.oauth.token_url, way.oauth.client_id, way.oauth.scope,
                       Blob(way.oauth.sealed_refresh), way.limits.connections_max, way.limits.minute_max,
                       way.limits.day_max, way.limits.message_octets_max, way.limits.recipients_max, return_path)
                 .run());
    changed();
    return {};
}

Result<> RouteTx::add_way(const Way& way) {
    TRY(const auto all, ways());
    if (std::ranges::find(all, way.name, &Way::name) != all.end()) {
        return Error(Errc::already_exists, fmt::format("there is a way {} already", way.name));
    }
    return write_way(way);
}

Result<> RouteTx::set_way(const Way& way) {
    TRY_VOID(db_.query("DELETE FROM ways WHERE name = ?1").bind(way.name).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no way {}", way.name));
    // What was learned of the old one says nothing about the new.
    TRY_VOID(db_.query("DELETE FROM route_memory WHERE way = ?1").bind(way.name).run());
    return write_way(way);
}

Result<> RouteTx::set_refresh(std::string_view way, std::string_view sealed) {
    return db_.query("UPDATE ways SET sealed_refresh = ?2 WHERE name = ?1").bind(way, Blob(sealed)).run();
}

Result<> RouteTx::remove_way(std::string_view name) {
    TRY(const auto all, routes());
    for (const Route& route : all) {
        for (const Step& step : route.steps) {
            if (std::ranges::find(step.shares, name, &Step::Share::way) == step.shares.end()) continue;
            return Error(Errc::conflict, fmt::format("the route {} names it; change or remove that first", route.name));
        }
    }
    TRY_VOID(db_.query("DELETE FROM ways WHERE name = ?1").bind(name).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no way {}", name));
    TRY_VOID(db_.query("DELETE FROM route_memory WHERE way = ?1").bind(name).run());
    changed();
    return {};
}

Result<> RouteTx::add_route(const Route& route) {
    TRY_VOID(check_name("route", route.name));
    TRY(const auto known, ways());
    if (route.steps.empty())
        return Error(Errc::invalid, "a route needs a way: \"direct\", a relay URL or a way's name");
    for (const Step& step : route.steps) {
        for (const Step::Share& share : step.shares) {
            if (!find_way(known, share.way)) {
                return Error(Errc::not_found,
                             fmt::format("there is no way {}; posthouse way list shows them", share.way));
            }
        }
    }
    TRY(const auto all, routes());
    if (std::ranges::find(all, route.name, &Route::name) != all.end()) {
        return Error(Errc::already_exists, fmt::format("there is a route {} already", route.name));
    }
    if (route.octets_max != 0 && route.octets_max < route.octets_min) {
        return Error(Errc::invalid, "the greatest size is below the smallest: no message would fit");
    }
    const std::string sender = ascii::to_lower(route.sender);
    const std::string recipient = ascii::to_lower(route.recipient);
    const std::string provider = ascii::to_lower(route.provider);
    const std::string steps = format_steps(route.steps);
    TRY_VOID(db_.query("INSERT INTO routes (name, priority, sender, recipient, ways, provider, octets_min, octets_max, "
                       "class, client) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
                 .bind(route.name, route.priority, sender, recipient, steps, provider, route.octets_min,
                       route.octets_max, route.mail_class, route.client)
                 .run());
    changed();
    return {};
}

Result<> RouteTx::remove_route(std::string_view name) {
    TRY_VOID(db_.query("DELETE FROM routes WHERE name = ?1").bind(name).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no route {}", name));
    changed();
    if (const auto gone = remove_way(name);
        !gone && gone.error().code != Errc::not_found && gone.error().code != Errc::conflict) {
        return Error(gone.error());
    }
    return {};
}

Result<> RouteTx::add_address(const SourceAddress& address) {
    TRY_VOID(check_name("pool", address.pool));
    TRY(const auto all, addresses());
    if (std::ranges::find(all, address.address, &SourceAddress::address) != all.end()) {
        return Error(Errc::already_exists, fmt::format("{} is in a pool already", address.address));
    }
    TRY_VOID(
        db_.query("INSERT INTO source_addresses (address, pool, ehlo, weight, warm_ms) VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(address.address, address.pool, address.ehlo, address.weight, address.warm_since)
            .run());
    changed();
    return {};
}

Result<> RouteTx::remove_address(std::string_view address) {
    TRY_VOID(db_.query("DELETE FROM source_addresses WHERE address = ?1").bind(address).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("{} is in no pool", address));
    TRY_VOID(db_.query("DELETE FROM route_memory WHERE source = ?1").bind(address).run());
    TRY_VOID(ReputationTx(tx_).forget(address));
    changed();
    return {};
}

Result<> RouteTx::remember(const Memory& memory) {
    if (memory.site.starts_with("from:")) changed();  // who hands in mail of that domain is told at once
    return db_
        .query(
            "INSERT INTO route_memory (way, source, site, since_ms, probe_ms, tries, reply) VALUES (?1, ?2, ?3, ?4, "
            "?5, ?6, ?7) ON CONFLICT (way, source, site) DO UPDATE SET probe_ms = ?5, tries = ?6, reply = ?7")
        .bind(memory.way, memory.source, memory.site, memory.since, memory.probe, memory.tries, memory.reply)
        .run();
}

Result<> RouteTx::forget(std::string_view way, std::string_view source, std::string_view site) {
    TRY_VOID(db_.query("DELETE FROM route_memory WHERE way = ?1 AND source = ?2 AND site = ?3")
                 .bind(way, source, site)
                 .run());
    if (site.starts_with("from:") && db_.changes() > 0) changed();
    return {};
}

Result<> RouteTx::add_use(std::string_view way, std::int64_t day, std::uint64_t recipients) {
    TRY_VOID(db_.query("DELETE FROM way_use WHERE way = ?1 AND day < ?2").bind(way, day).run());
    return db_
        .query(
            "INSERT INTO way_use (way, day, recipients) VALUES (?1, ?2, ?3) "
            "ON CONFLICT (way, day) DO UPDATE SET recipients = recipients + ?3")
        .bind(way, day, recipients)
        .run();
}

}  // namespace posthouse::storage
