// posthouse queue lanes, queue limit: how fast mail goes to each site, and how fast it may at most.
#include <fmt/format.h>

#include <algorithm>

#include "admin/cli/command.h"
#include "admin/cli/ways.h"
#include "protocols/base/ascii.h"
#include "storage/lane_limits.h"
#include "storage/queue.h"
#include "storage/routes.h"

namespace posthouse::admin {
namespace {

using storage::LaneLimit;
using storage::Snapshot;

constexpr std::uint32_t kConnectionsMax = 1000;
constexpr std::uint32_t kMessagesMax = 1'000'000;
constexpr std::uint32_t kMinuteMax = 1'000'000;

// "2.5/s", "20/min", "no limit"
std::string rate_text(std::uint64_t milli) {
    if (milli == 0) return "no limit";
    const double rate = static_cast<double>(milli) / 1000.0;
    return rate >= 1 ? fmt::format("{:.1f}/s", rate) : fmt::format("{:.1f}/min", rate * 60);
}

// "2 connections, 10 messages on each, 30/min"; "" none.
std::string limit_text(const LaneLimit& limit) {
    std::string out;
    const auto add = [&](std::string_view text) { out += fmt::format("{}{}", out.empty() ? "" : ", ", text); };
    if (limit.connections_max != 0)
        add(fmt::format("{} connection{}", limit.connections_max, limit.connections_max == 1 ? "" : "s"));
    if (limit.messages_max != 0)
        add(fmt::format("{} message{} on each", limit.messages_max, limit.messages_max == 1 ? "" : "s"));
    if (limit.minute_max != 0) add(fmt::format("{}/min", limit.minute_max));
    return out;
}

Result<std::vector<LaneLimit>> read_limits(storage::Store& store) {
    return store.read([](const Snapshot& snapshot) { return storage::RouteView(snapshot).lane_limits(); });
}

// queue lanes: the sites that were met with refusals or have mail waiting, and how fast each may go
Result<> queue_lanes(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto lanes, store->read([](const Snapshot& snapshot) { return snapshot.queue().lanes(); }));
    TRY(const auto limits, read_limits(*store));
    std::vector<Record> rows;
    for (const storage::LaneRecord& lane : lanes) {
        Record row;
        row.add("lane", lane.name).add("state", lane.state).add("waiting", lane.waiting);
        row.add("window", lane.window);
        if (call.out().json()) {
            row.add("rate_milli", lane.rate_milli);
        } else {
            row.add("rate", rate_text(lane.rate_milli));
        }
        row.add("next", lane.next > lane.updated ? format_rfc3339(lane.next) : std::string("now"));
        const LaneLimit* const limit = storage::find_lane_limit(limits, lane.name);
        row.add("limit", limit == nullptr ? std::string() : limit_text(*limit));
        row.add("why", lane.why).add("updated", format_rfc3339(lane.updated));
        rows.push_back(std::move(row));
    }
    call.out().table(rows, "Every lane is open, and nothing waits in one.");
    return {};
}

Record record_of(const LaneLimit& limit) {
    Record row;
    row.add("site", limit.site).add("connections", std::uint64_t{limit.connections_max});
    return row.add("messages", std::uint64_t{limit.messages_max}).add("rate_minute", std::uint64_t{limit.minute_max});
}

Result<> show_limits(Invocation& call, storage::Store& store) {
    TRY(const auto limits, read_limits(store));
    std::vector<Record> rows;
    for (const LaneLimit& limit : limits) {
        rows.push_back(record_of(limit));
    }
    call.out().table(rows, "No site has a limit of its own; what is known and learned of each holds.");
    return {};
}

constexpr const char* kBounds[] = {"--connections", "--messages", "--rate"};

// What is not named stays as it was.
Result<> read_bounds(Invocation& call, LaneLimit& limit) {
    if (call.has("--connections")) {
        TRY(limit.connections_max, read_count(call, "--connections", kConnectionsMax));
    }
    if (call.has("--messages")) {
        TRY(limit.messages_max, read_count(call, "--messages", kMessagesMax));
    }
    if (call.has("--rate")) {
        TRY(limit.minute_max, read_count(call, "--rate", kMinuteMax));
    }
    return {};
}

Result<LaneLimit> change_limit(Invocation& call, storage::Tx& tx) {
    LaneLimit limit;
    limit.site = ascii::to_lower(call.get("SITE"));
    if (!call.has("--remove")) {
        TRY(const auto known, storage::RouteTx(tx).lane_limits());
        const auto before = std::ranges::find(known, limit.site, &LaneLimit::site);
        if (before != known.end()) limit = *before;
        TRY_VOID(read_bounds(call, limit));
    }
    TRY_VOID(storage::set_lane_limit(tx, limit));
    return limit;
}

// queue limit [SITE] [--connections N] [--messages N] [--rate N] [--remove]
Result<> queue_limit(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    if (!call.has("SITE")) {
        const bool wants = std::ranges::any_of(kBounds, [&](const char* name) { return call.has(name); });
        if (wants || call.has("--remove")) return Error(Errc::invalid, "say for which site (posthouse queue lanes)");
        return show_limits(call, *store);
    }
    const bool has_bound = std::ranges::any_of(kBounds, [&](const char* name) { return call.has(name); });
    if (has_bound == call.has("--remove")) {
        return Error(Errc::invalid, "say how much: --connections, --messages or --rate; or --remove");
    }
    TRY(const LaneLimit limit, store->write_value({}, [&](storage::Tx& tx) { return change_limit(call, tx); }));
    if (call.out().json()) return call.out().record(record_of(limit)), Result<>();
    call.out().say(limit.is_empty()
                       ? fmt::format("{} has no limit of its own any more.", limit.site)
                       : fmt::format("{}: at most {}, for each way and local address.", limit.site, limit_text(limit)));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kLimit[] = {
    {Kind::positional_optional, "SITE",
     "the name of a lane (posthouse queue lanes), such as google or mx.example.net, or the end of its hosts' names"},
    {Kind::option, "--connections", "at a time"},
    {Kind::option, "--messages", "on each connection"},
    {Kind::option, "--rate", "messages a minute"},
    {Kind::flag, "--remove", "back to what is known and learned of the site"}};
constexpr Command kRows[] = {
    {"queue",
     "lanes",
     "show the sites that are slowed down or waited for, and why",
     "posthouse queue lanes",
     {},
     queue_lanes},
    {"queue", "limit", "show or set how fast mail may go to a site at most, by each way and local address",
     "posthouse queue limit mx.example.net --connections 2 --rate 30/min", kLimit, queue_limit},
};

}  // namespace

std::span<const Command> lane_commands() { return kRows; }

}  // namespace posthouse::admin
