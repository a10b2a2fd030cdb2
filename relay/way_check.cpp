#include "relay/way_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/log.h"
#include "relay/connect.h"
#include "storage/await.h"
#include "storage/incidents.h"
#include "storage/settings.h"

namespace posthouse::relay {

namespace {

using storage::kCheckSite;
using storage::Memory;

constexpr std::chrono::hours kNotedAfter{1};  // that mail goes out well is written down so often at most
constexpr std::size_t kReasonOctetsMax = 400;
constexpr std::chrono::hours kAskedAgainAfter{1};

struct Looked {
    std::vector<storage::Way> ways;
    std::vector<Memory> memory;
    std::vector<storage::Incident> incidents;  // open ones
    Milliseconds interval{0};
};

Result<Looked> look(const storage::Snapshot& snapshot) {
    Looked out;
    TRY(const std::int64_t hours, storage::setting_number(snapshot.catalog(), "way.check_hours"));
    out.interval = std::chrono::hours(hours);
    const storage::RouteView view(snapshot);
    TRY(out.ways, view.ways());
    TRY(out.memory, view.memory());
    TRY(out.incidents, storage::IncidentView(snapshot).open());
    return out;
}

net::Task<Result<Looked>> look_now(Core& core) {
    auto read = [](const storage::Snapshot& snapshot) { return look(snapshot); };
    co_return co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
}

// Not all at one hour, and never together with the cron jobs of the world: up to a tenth later.
Time next_check(Core& core, Time from, Milliseconds interval) {
    const std::uint64_t spread = core.deps.random->below(1 + static_cast<std::uint64_t>(interval.count()) / 10);
    return from + interval + Milliseconds(static_cast<std::int64_t>(spread));
}

struct Found {
    Memory row;
    std::optional<storage::Way> tried;  // nothing where it was not
    Lesson lesson;                      // works, down, login, or nothing about the way
    bool was_dead = false;              // by the check before
};

bool logs_in(const storage::Way& way) {
    const auto url = smtp::parse_relay_url(way.url);
    return url && !url->user.empty();
}

// What a service says behind a login that it took (a suspended account) is not over for a good login.
bool is_about_login(const storage::Incident& incident) { return incident.reply.contains("535"); }

Result<> end_login_incident(storage::Tx& tx, const std::string& way, bool was_dead) {
    storage::IncidentTx incidents(tx);
    TRY(const auto open, incidents.open());
    for (const storage::Incident& one : open) {
        if (one.key.kind != storage::IncidentKind::credentials || one.key.way != way) continue;
        if (!was_dead && !is_about_login(one)) continue;
        TRY_VOID(incidents.clear(one.id, "the login was accepted"));
    }
    return {};
}

Result<> open_login_incident(storage::Tx& tx, const Memory& row) {
    storage::IncidentKey key;
    key.kind = storage::IncidentKind::credentials;
    key.way = row.way;
    storage::Refusal refused;
    refused.reply = row.reply;
    TRY_VOID(storage::IncidentTx(tx).note(key, refused));
    return {};
}

// What mail met may lie behind the login, where no check looks: the next message does.
Result<> let_mail_look(storage::RouteTx& routes, const std::string& way, Time now) {
    TRY(const auto known, routes.memory());
    for (Memory one : known) {
        if (one.way != way || !one.source.empty() || !one.site.empty() || one.probe <= now) continue;
        one.probe = now;
        TRY_VOID(routes.remember(one));
    }
    return {};
}

// `since` of a row that is there stays as it was, so it is written anew.
Result<> write_found(storage::Tx& tx, const Found& found) {
    const Memory& row = found.row;
    storage::RouteTx routes(tx);
    TRY(const auto ways, routes.ways());
    auto way = storage::find_way(ways, row.way);
    if (!way) return {};
    if (found.tried) {
        way->oauth.sealed_refresh = found.tried->oauth.sealed_refresh;  // the try itself may have brought another
        if (*found.tried != *way) return {};                            // it was changed meanwhile
    }
    TRY_VOID(routes.forget(row.way, row.source, row.site));
    TRY_VOID(routes.remember(row));
    if (found.lesson.kind == Lesson::Kind::login) return open_login_incident(tx, row);
    if (found.lesson.kind != Lesson::Kind::works) return {};
    if (logs_in(*way)) TRY_VOID(end_login_incident(tx, row.way, found.was_dead));
    return let_mail_look(routes, row.way, tx.now());
}

net::Task<void> keep(Core& core, Found found) {
    std::vector<storage::StagedBodyPtr> no_bodies;
    const std::string way = found.row.way;
    auto write = [found = std::move(found)](storage::Tx& tx) { return write_found(tx, found); };
    const auto written =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!written) log::error("relay", "what was found of way {} cannot be written: {}", way, written.error().context);
}

net::Task<Connected> try_login(Core& core, const Destination& to) {
    Dialogue dialogue;
    auto out = co_await connect(core, to, dialogue);
    // A token may just have been too old: the second try fetches another.
    const bool again = !out.connection && !to.target.way.oauth.token_url.empty() && !out.verdict.said.empty();
    if (again) out = co_await connect(core, to, dialogue);
    if (out.connection) co_await out.connection->client().quit();
    co_return out;
}

net::Task<void> check(Core& core, storage::Way way, Memory row, Milliseconds interval) {
    storage::Choice choice;
    choice.way = way;
    Found found;
    found.tried = std::move(way);
    found.was_dead = row.tries > 0;
    const Time began = core.now();
    auto target = make_target(choice, "");
    Verdict verdict(Fate::deferred, "4.3.5", target ? std::string() : target.error().context);
    bool is_good = false;
    if (target) {
        Destination to;
        to.target = *target;
        Connected tried = co_await try_login(core, to);
        is_good = tried.connection != nullptr;
        verdict = std::move(tried.verdict);
    }
    if (core.stopping.is_set()) co_return;
    if (is_good) {
        found.lesson.kind = Lesson::Kind::works;
        row.since = core.now();
        row.tries = 0;
        row.reply = logs_in(*found.tried) ? "the login was accepted" : "it answered";
        row.probe = next_check(core, core.now(), interval);
    } else {
        const std::optional<Time> carried = core.ways.last_good(row.way);
        if (carried && *carried > began) co_return;  // meanwhile it took mail
        if (target) found.lesson = learn(*target, verdict, false);
        const bool is_login = found.lesson.kind == Lesson::Kind::login;
        const bool is_dead = is_login || found.lesson.kind == Lesson::Kind::down;
        row.tries = is_dead ? row.tries + 1 : 0;  // who answers "not now" is not dead
        row.reply = verdict.reply.substr(0, kReasonOctetsMax);
        // Who is silent: in the next round, whenever that comes. Who says no: later.
        const Milliseconds later =
            std::max<Milliseconds>(found.lesson.wait.value_or(Milliseconds(0)), kAskedAgainAfter);
        row.probe = core.now() + (is_dead && !is_login ? Milliseconds(0) : std::min(interval, later));
        log::warn("relay", "way {} was tried without mail and does not work: {}", row.way, verdict.reply);
    }
    found.row = std::move(row);
    co_await keep(core, std::move(found));
}

bool is_smarthost(const storage::Way& way) {
    if (way.kind != storage::WayKind::smarthost) return false;
    const auto url = smtp::parse_relay_url(way.url);
    return url && !url->direct;
}

Memory row_of(const Looked& all, const std::string& way) {
    const auto known =
        std::ranges::find_if(all.memory, [&](const Memory& one) { return one.way == way && one.site == kCheckSite; });
    if (known != all.memory.end()) return *known;
    Memory out;
    out.way = way;
    out.site = kCheckSite;
    return out;
}

// Mail could not be given to it, no check has found it well since, and no incident says why.
bool rests(const Looked& all, const Memory& row) {
    const auto is_it = [&](const Memory& one) {
        return one.way == row.way && one.source.empty() && one.site.empty() && one.probe > row.since;
    };
    const auto stops = [&](const storage::Incident& one) { return storage::stops(one, row.way, "", "", ""); };
    return std::ranges::any_of(all.memory, is_it) && std::ranges::none_of(all.incidents, stops);
}

// That mail went out well by it is as good as a check; and what is new is written down.
std::optional<Memory> news_of(Core& core, const Looked& all, const std::string& way) {
    Memory row = row_of(all, way);
    const std::optional<Time> carried = core.ways.last_good(way);
    const bool is_new = row.probe == Time{};
    if (!is_new && (!carried || *carried < row.since + kNotedAfter)) return std::nullopt;
    row.since = carried.value_or(Time{});
    row.probe = next_check(core, carried.value_or(core.now()), all.interval);
    row.tries = 0;
    row.reply = carried ? "it took a message" : "";
    return row;
}

bool is_due(const Looked& all, const Memory& row, Time now) {
    return row.probe <= now || (row.tries == 0 && rests(all, row));
}

}  // namespace

net::Task<void> check_ways(Core& core) {
    const auto found = co_await look_now(core);
    if (!found) {
        log::error("relay", "the ways cannot be read: {}", found.error().context);
        co_return;
    }
    if (found->interval.count() == 0) co_return;
    std::vector<std::pair<Time, std::string>> due;  // who waits longest first
    for (const storage::Way& way : found->ways) {
        if (core.stopping.is_set()) co_return;
        if (!is_smarthost(way)) continue;
        const Memory row = row_of(*found, way.name);
        if (auto news = news_of(core, *found, way.name)) {
            Found none;
            none.row = *std::move(news);
            co_await keep(core, std::move(none));
        } else if (is_due(*found, row, core.now())) {
            due.emplace_back(row.probe, way.name);
        }
    }
    std::ranges::sort(due);
    if (due.size() > kChecksAtOnce) due.resize(kChecksAtOnce);
    for (const auto& [since, name] : due) {
        // As it is now: those before it may have taken minutes.
        const auto fresh = co_await look_now(core);
        if (!fresh || core.stopping.is_set()) co_return;
        const auto way = storage::find_way(fresh->ways, name);
        const Memory row = row_of(*fresh, name);
        const bool is_news = news_of(core, *fresh, name).has_value();
        if (!way || !is_smarthost(*way) || is_news || !is_due(*fresh, row, core.now())) continue;
        co_await check(core, *way, row, fresh->interval);
    }
}

}  // namespace posthouse::relay
