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

// `since` of a row that is there stays as it was, so it is written anew.
net::Task<void> keep(Core& core, Memory row, std::optional<storage::Refusal> refused, bool is_good) {
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [row, refused, is_good](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        TRY(const auto ways, routes.ways());
        if (!storage::find_way(ways, row.way)) return {};
        TRY_VOID(routes.forget(row.way, row.source, row.site));
        TRY_VOID(routes.remember(row));
        storage::IncidentTx incidents(tx);
        storage::IncidentKey key;
        key.kind = storage::IncidentKind::credentials;
        key.way = row.way;
        if (refused) TRY_VOID(incidents.note(key, *refused));
        if (!is_good) return {};
        TRY(const auto open, incidents.open());
        for (const storage::Incident& one : open) {
            if (one.key == key) TRY_VOID(incidents.clear(one.id, "the login was accepted"));
        }
        return {};
    };
    const auto written =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!written)
        log::error("relay", "what was found of way {} cannot be written: {}", row.way, written.error().context);
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
    Destination to;
    auto target = make_target(choice, "");
    Verdict verdict(Fate::deferred, "4.3.5", target ? std::string() : target.error().context);
    bool is_good = false;
    if (target) {
        to.target = *std::move(target);
        Connected tried = co_await try_login(core, to);
        is_good = tried.connection != nullptr;
        verdict = std::move(tried.verdict);
    }
    if (core.stopping.is_set()) co_return;
    std::optional<storage::Refusal> refused;
    if (is_good) {
        row.since = core.now();
        row.tries = 0;
        row.reply = "the login was accepted";
        row.probe = next_check(core, core.now(), interval);
    } else {
        row.tries += 1;
        row.reply = verdict.reply.substr(0, kReasonOctetsMax);
        row.probe = core.now() + std::min<Milliseconds>(interval, std::chrono::hours(1));
        log::warn("relay", "way {} was tried without mail and does not work: {}", row.way, verdict.reply);
        if (to.target.way.name == row.way && learn(to.target, verdict, false).kind == Lesson::Kind::login) {
            refused.emplace();
            refused->reply = row.reply;
        }
    }
    co_await keep(core, std::move(row), std::move(refused), is_good);
}

bool logs_in(const storage::Way& way) {
    if (way.kind != storage::WayKind::smarthost) return false;
    const auto url = smtp::parse_relay_url(way.url);
    return url && !url->direct && !url->user.empty();
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
        if (!logs_in(way)) continue;
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
            co_await keep(core, std::move(row), std::nullopt, false);
        } else if (row.probe <= core.now()) {
            ++checked;
            co_await check(core, way, std::move(row), found->interval);
        }
    }
}

}  // namespace posthouse::relay
