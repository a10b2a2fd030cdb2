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

using storage::Memory;

constexpr std::chrono::hours kNotedAfter{1};  // that mail goes out well is written down so often at most
constexpr std::size_t kReasonOctetsMax = 400;

struct Looked {
    std::vector<storage::Way> ways;
    std::vector<Memory> memory;
    Milliseconds interval{0};
};

Result<Looked> look(const storage::Snapshot& snapshot) {
    Looked out;
    TRY(const std::int64_t hours, storage::setting_number(snapshot.catalog(), "way.check_hours"));
    out.interval = std::chrono::hours(hours);
    const storage::RouteView view(snapshot);
    TRY(out.ways, view.ways());
    TRY(out.memory, view.memory());
    return out;
}

// Not all at one hour, and never together with the cron jobs of the world: up to a tenth later.
Time next_check(Core& core, Time from, Milliseconds interval) {
    const std::uint64_t spread = core.deps.random->below(1 + static_cast<std::uint64_t>(interval.count()) / 10);
    return from + interval + Milliseconds(static_cast<std::int64_t>(spread));
}

struct Found {
    Memory row;
    Target target;
    Lesson lesson;  ///< works, what is wrong, or nothing
};

Result<> end_login_incident(storage::Tx& tx, const std::string& way) {
    storage::IncidentTx incidents(tx);
    TRY(const auto open, incidents.open());
    for (const storage::Incident& one : open) {
        if (one.key.kind != storage::IncidentKind::credentials || one.key.way != way) continue;
        TRY_VOID(incidents.clear(one.id, "the login was accepted"));
    }
    return {};
}

// `since` of a row that is there stays as it was, so it is written anew.
Result<> write_found(storage::Tx& tx, const Found& found) {
    const Memory& row = found.row;
    storage::RouteTx routes(tx);
    TRY(const auto ways, routes.ways());
    if (!storage::find_way(ways, row.way)) return {};
    TRY_VOID(routes.forget(row.way, row.source, row.site));
    TRY_VOID(routes.remember(row));
    if (found.lesson.kind == Lesson::Kind::works) {
        TRY_VOID(routes.forget(row.way, "", ""));
        return end_login_incident(tx, row.way);
    }
    // The round after the next look: mail does not find out what that look will.
    if (found.lesson.is_trouble()) TRY_VOID(rest_way(tx, found.target, found.lesson, row.probe + kCheckRound));
    if (found.lesson.kind != Lesson::Kind::login) return {};
    storage::IncidentKey key;
    key.kind = storage::IncidentKind::credentials;
    key.way = row.way;
    storage::Refusal refused;
    refused.reply = row.reply;
    TRY_VOID(storage::IncidentTx(tx).note(key, refused));
    return {};
}

net::Task<void> keep(Core& core, Found found) {
    std::vector<storage::StagedBodyPtr> no_bodies;
    const std::string way = found.row.way;
    if (found.lesson.is_trouble()) core.ways.suspect(found.target);
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
    choice.way = std::move(way);
    Found found;
    auto target = make_target(choice, "");
    Verdict verdict(Fate::deferred, "4.3.5", target ? std::string() : target.error().context);
    bool is_good = false;
    if (target) {
        Destination to;
        found.target = to.target = *std::move(target);
        Connected tried = co_await try_login(core, to);
        is_good = tried.connection != nullptr;
        verdict = std::move(tried.verdict);
    }
    if (core.stopping.is_set()) co_return;
    if (is_good) {
        found.lesson.kind = Lesson::Kind::works;
        row.since = core.now();
        row.tries = 0;
        row.reply = found.target.way.sealed_secret.empty() ? "it answered" : "the login was accepted";
        row.probe = next_check(core, core.now(), interval);
    } else {
        if (target) found.lesson = learn(found.target, verdict, false);
        row.tries += 1;
        row.reply = verdict.reply.substr(0, kReasonOctetsMax);
        const bool is_login = found.lesson.kind == Lesson::Kind::login;
        row.probe = core.now() + (is_login ? std::min<Milliseconds>(interval, std::chrono::hours(1)) : kCheckRound);
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

// Mail could not be given to it, and no check has looked since.
bool rests(const std::vector<Memory>& memory, const std::string& way) {
    return std::ranges::any_of(
        memory, [&](const Memory& one) { return one.way == way && one.source.empty() && one.site.empty(); });
}

}  // namespace

net::Task<void> check_ways(Core& core) {
    auto read = [](const storage::Snapshot& snapshot) { return look(snapshot); };
    const auto found = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!found) {
        log::error("relay", "the ways cannot be read: {}", found.error().context);
        co_return;
    }
    if (found->interval.count() == 0) co_return;
    std::size_t checked = 0;
    for (const storage::Way& way : found->ways) {
        if (core.stopping.is_set() || checked >= kChecksAtOnce) co_return;
        if (!is_smarthost(way)) continue;
        const auto known = std::ranges::find_if(
            found->memory, [&](const Memory& one) { return one.way == way.name && one.site == storage::kCheckSite; });
        const std::optional<Time> carried = core.ways.last_good(way.name);
        const bool is_news = carried && (known == found->memory.end() || *carried >= known->since + kNotedAfter);
        Memory row = known == found->memory.end() ? Memory() : *known;
        row.way = way.name;
        row.site = storage::kCheckSite;
        if (is_news || known == found->memory.end()) {
            row.since = carried.value_or(Time{});
            row.probe = next_check(core, carried.value_or(core.now()), found->interval);
            row.tries = 0;
            row.reply = carried ? "it took a message" : "";
            Found news;
            news.row = std::move(row);
            co_await keep(core, std::move(news));
        } else if (row.probe <= core.now() || (row.tries == 0 && rests(found->memory, way.name))) {
            ++checked;
            co_await check(core, way, std::move(row), found->interval);
        }
    }
}

}  // namespace posthouse::relay
