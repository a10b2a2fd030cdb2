// posthouse route test: tries ways out, one message each, and follows that.
#include <fmt/format.h>

#include <algorithm>

#include "admin/cli/command.h"
#include "admin/cli/ways.h"
#include "protocols/smtp/path.h"
#include "storage/route_choice.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;
using storage::Way;
using storage::WayKind;

// A way, and an address of its pool.
struct Subject {
    Way way;
    std::string source;  ///< "" where the way has no pool

    std::string name() const { return source.empty() ? way.name : fmt::format("{} from {}", way.name, source); }
};

void add_way(std::vector<Subject>& out, const storage::RoutePicture& picture, const Way& way) {
    const bool is_there = std::ranges::any_of(out, [&](const Subject& one) { return one.way.name == way.name; });
    if (is_there || way.kind == WayKind::hold || way.kind == WayKind::fail) return;
    const std::size_t before = out.size();
    for (const storage::SourceAddress& address : picture.addresses) {
        const bool is_its = way.kind == WayKind::direct && !way.pool.empty() && address.pool == way.pool;
        if (is_its) out.push_back({way, address.address});
    }
    if (out.size() == before) out.push_back({way, ""});
}

// The way of that name, or all that a route of that name takes; of a pool, from each of its addresses.
Result<std::vector<Subject>> subjects_called(const storage::RoutePicture& picture, const std::string& name) {
    std::vector<Subject> out;
    if (const auto way = storage::find_way(picture.ways, name)) {
        add_way(out, picture, *way);
    } else {
        const auto route = std::ranges::find(picture.routes, name, &storage::Route::name);
        if (route == picture.routes.end()) {
            return Error(Errc::not_found,
                         fmt::format("there is no way or route {}; posthouse way list shows them", name));
        }
        for (const storage::Step& step : route->steps) {
            for (const storage::Step::Share& share : step.shares) {
                if (const auto named = storage::find_way(picture.ways, share.way)) add_way(out, picture, *named);
            }
        }
    }
    if (out.empty()) {
        return Error(Errc::invalid, fmt::format("the way {} sends nothing, so there is nothing to try", name));
    }
    return out;
}

Record record_of(const Subject& subject, const WayTrial& trial, bool tried) {
    Record record;
    record.add("way", subject.way.name).add("address", subject.source).add("tried", tried);
    record.add("good", trial.good).add("findings", trial.sentences);
    return record.add("message_id", trial.message_id).add("dialogue", trial.dialogue);
}

void print(Invocation& call, const WayTrial& trial) {
    for (const std::string& sentence : trial.sentences) call.out().say(sentence);
    if (call.has("--dialogue")) call.out().say("\n" + trial.dialogue);
}

Result<WayTrialWish> read_wish(Invocation& call, storage::Store& store, const Settings& settings) {
    WayTrialWish wish;
    wish.to = call.get("--to");
    if (!wish.to.empty() && !smtp::parse_mailbox(wish.to))
        return Error(Errc::invalid, fmt::format("\"{}\" is not an address", wish.to));
    wish.from = call.get("--from");
    if (wish.from.empty()) {
        TRY(const auto domains,
            store.read([](const Snapshot& snapshot) { return snapshot.catalog().hosted_domains(); }));
        wish.from = "postmaster@" + (domains.empty() ? settings.hostname : domains.front().name);
    }
    wish.wait = std::chrono::seconds(60);
    if (call.has("--wait")) {
        TRY(const std::uint32_t seconds, read_count(call, "--wait", 3600));
        wish.wait = std::chrono::seconds(seconds);
    }
    return wish;
}

// route test NAME
Result<> route_test(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Settings settings, call.settings());
    TRY(WayTrialWish wish, read_wish(call, *store, settings));
    TRY(const auto picture, store->read([](const Snapshot& snapshot) {
        return storage::RouteView(snapshot).picture(storage::day_number(system_clock().now()));
    }));
    TRY(const std::vector<Subject> subjects, subjects_called(picture, call.get("NAME")));
    const bool can_try = !wish.to.empty() || std::ranges::any_of(subjects, [](const Subject& one) {
        return one.way.kind != WayKind::direct;
    });
    if (!can_try) {
        return Error(Errc::invalid, "a direct way leads to the recipient's mail servers: name one with --to ADDRESS");
    }
    std::vector<Record> records;
    std::vector<std::string> bad;
    for (const Subject& subject : subjects) {
        wish.way = subject.way;
        wish.source = subject.source;
        WayTrial trial;
        const bool tried = subject.way.kind != WayKind::direct || !wish.to.empty();
        if (tried) {
            if (auto found = call.hooks().try_way(*store, settings.file, wish)) {
                trial = *std::move(found);
            } else {
                trial.sentences = {found.error().context};
            }
            if (!trial.good) bad.push_back(subject.name());
        } else {
            trial.sentences = {"Not tried: it leads to the recipient's mail servers. Name one with --to ADDRESS"};
        }
        records.push_back(record_of(subject, trial, tried));
        if (call.out().json()) continue;
        if (subjects.size() > 1)
            call.out().say(fmt::format("{}Way {}:", records.size() > 1 ? "\n" : "", subject.name()));
        print(call, trial);
    }
    if (call.out().json()) call.out().table(records, "");
    if (bad.empty()) return {};
    return Error(Errc::refused, fmt::format("the way {} did not pass the test", fmt::join(bad, " and the way ")));
}

using Kind = Argument::Kind;
constexpr Argument kTest[] = {
    {Kind::positional, "NAME",
     "the name of a way, or of a route, all of whose ways are meant; of a pool, all addresses"},
    {Kind::option, "--to", "send a short message to this address, past the queue"},
    {Kind::option, "--from", "its sender, where a report would come back to [postmaster of the first domain]"},
    {Kind::option, "--wait", "seconds to wait for its arrival, where that address is at home here [60]"},
    {Kind::flag, "--dialogue", "show what was said with the other server"}};
constexpr Command kRows[] = {{"route", "test",
                              "try a way out: connection, TLS, login, limits, one message, and follow that",
                              "posthouse route test backup --to me@example.net", kTest, route_test}};

}  // namespace

std::span<const Command> route_test_commands() { return kRows; }

}  // namespace posthouse::admin
