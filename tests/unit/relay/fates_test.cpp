// Every accepted recipient ends delivered, bounced, held or queued, exactly once: the whole relay in seeded runs, with
// faults of sites, recipients and our own, mail held for them and let go, several ways, and restarts in the middle.
//
//   POSTHOUSE_FATE_RUNS=100000 POSTHOUSE_FATE_SEED=1 unit_relay_fates     (quick: TMPDIR on a memory file system)
#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <set>

#include "protocols/base/log.h"
#include "storage/route_choice.h"
#include "tests/support/fate_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using storage::IncidentTx;
using storage::RecipientState;
using test::SeededRandom;
using test::StandInTraits;

constexpr std::size_t kWorldsABatch = 40;

std::uint64_t number_from(const char* name, std::uint64_t standard) {
    const char* const wanted = std::getenv(name);
    return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : standard;
}

constexpr std::string_view kStranded = "is held under an incident that is over";

/// Looks at all that was accepted, once everything that is due is done; and at the end at the reports.
class Judge {
 public:
    explicit Judge(FateHouse& house) : house_(house) {}

    /// "" where all is as it must be.
    std::string look() {
        open_.clear();
        for (const auto& incident : house_.open_incidents()) open_.insert(incident.id);
        std::map<std::string, storage::QueueRecipient> rows;
        for (auto& row : house_.rows()) rows.insert_or_assign(row.address, row);
        for (Fated& one : house_.books) {
            const auto found = rows.find(one.address);
            const std::string wrong = judge(one, found == rows.end() ? nullptr : &found->second);
            if (!wrong.empty()) return one.address + " " + wrong;
        }
        return {};
    }
    std::string look_at_reports() {
        std::map<std::string, std::size_t> told;
        for (const std::string& mail : house_.inbox()) {
            if (!mail.contains("\r\nAction: failed\r\n")) continue;
            constexpr std::string_view kField = "\r\nFinal-Recipient: rfc822;";
            for (std::size_t at = mail.find(kField); at != std::string::npos; at = mail.find(kField, at + 1)) {
                const std::size_t begin = mail.find_first_not_of(' ', at + kField.size());
                ++told[mail.substr(begin, mail.find("\r\n", begin) - begin)];
            }
        }
        for (const Fated& one : house_.books) {
            const std::size_t wanted = one.is_over && !one.is_delivered ? 1 : 0;
            if (told[one.address] != wanted) {
                return fmt::format("{}: its sender got {} reports of failure, not {}", one.address, told[one.address],
                                   wanted);
            }
        }
        return {};
    }

 private:
    std::string judge(Fated& one, const storage::QueueRecipient* row) {
        const FateWorld& world = house_.worlds[one.world];
        const std::size_t taken = world.taken(one.address);
        const std::size_t unknown = world.unsaid(one.address) + one.cuts;  // copies that need not be known here
        const bool goes_on = row != nullptr && (row->state == RecipientState::waiting ||
                                                row->state == RecipientState::sending ||
                                                row->state == RecipientState::held);
        if (goes_on) {
            if (one.is_over) return "was over, and is in the queue again";
            if (taken > unknown) return fmt::format("was taken {} times, and is in the queue", taken);
            return row->state == RecipientState::held ? judge_held(one, *row) : std::string();
        }
        if (!one.is_over) {
            const std::string wrong = judge_end(one);
            if (!wrong.empty()) return wrong;
        }
        if (one.is_delivered && taken == 0) return "is delivered, and nobody got it";
        if (taken > unknown + (one.is_delivered ? 1 : 0)) return fmt::format("was taken {} times", taken);
        return {};
    }
    // Not in the queue any more: why is written down.
    std::string judge_end(Fated& one) {
        const auto all =
            house_.store->read([&](const storage::Snapshot& s) { return s.events().by_queue(one.queue); }).value();
        std::size_t delivered = 0;
        std::size_t bounced = 0;
        for (const storage::Event& event : all) {
            if (event.recipient != one.address) continue;
            delivered += event.kind == EventKind::delivered ? 1 : 0;
            bounced += event.kind == EventKind::bounced ? 1 : 0;
        }
        if (delivered + bounced != 1) {
            return fmt::format("has left the queue, delivered {} times and bounced {} times", delivered, bounced);
        }
        one.is_over = true;
        one.is_delivered = delivered == 1;
        return {};
    }
    std::string judge_held(const Fated& one, const storage::QueueRecipient& row) const {
        if (storage::raw(row.incident) != 0) {
            return open_.contains(row.incident) ? "" : std::string(kStranded);
        }
        if (one.by_hand || row.last_reply.starts_with(storage::kHeldByRoute)) return {};
        return "is held, and nothing says why: " + row.last_reply;
    }

    FateHouse& house_;
    std::set<storage::IncidentId> open_;
};

StandInTraits mx_traits(SeededRandom& dice) {
    StandInTraits out;
    if (dice.chance(0.2)) out.connections_max = 1 + dice.below(3);
    out.refuses_at_banner = dice.chance(0.5);
    if (dice.chance(0.2)) out.rate = 0.05 + static_cast<double>(dice.below(20)) / 10;
    out.names_a_time = dice.chance(0.5);
    if (dice.chance(0.2)) out.greylist = Milliseconds(60'000 * static_cast<std::int64_t>(1 + dice.below(20)));
    out.hosts = 1 + dice.below(2);
    if (dice.chance(0.2)) out.bad_hosts = dice.below(out.hosts + 1);
    if (dice.chance(0.2)) out.drop_in_data = 0.3;
    if (dice.chance(0.2)) out.drop_after_data = 0.3;
    if (dice.chance(0.4)) out.unknown = 0.3;
    if (dice.chance(0.2)) out.full = 0.3;
    if (dice.chance(0.3)) out.block = std::string(kClientBlocked);
    return out;
}

StandInTraits smarthost_traits(SeededRandom& dice) {
    StandInTraits out;
    if (dice.chance(0.1)) out.bad_hosts = 1;
    if (dice.chance(0.2)) out.drop_after_data = 0.2;
    if (dice.chance(0.4)) out.block = std::string(dice.chance(0.8) ? kLoginRefused : kClientBlocked);
    return out;
}

constexpr std::array<std::string_view, 10> kRoutes{"d", "s", "ds", "sd", "st", "dst", "dh", "dsh", "sf", "ds"};

/// One batch: the same days for all of its worlds, each with its own troubles.
struct Batch {
    explicit Batch(std::uint64_t seed, std::size_t count) : dice(seed), judge(house) {
        for (std::size_t i = 0; i < count; ++i) {
            const StandInTraits mx = mx_traits(dice);
            FateWorld& world = house.add_world(mx, smarthost_traits(dice), dice.next());
            house.set_route(world, kRoutes[dice.below(kRoutes.size())]);
            send_some(world);
        }
    }
    void send_some(FateWorld& world) {
        house.send(world, 1 + (dice.chance(0.3) ? dice.below(3) : 0), dice.chance(0.7) ? 'a' : 'b');
    }
    std::vector<storage::Incident> incidents_of(const FateWorld& world) {
        std::vector<storage::Incident> out;
        for (const auto& one : house.open_incidents()) {
            const std::string& way = one.key.way;
            if (!way.empty() && way.substr(1) == std::to_string(world.number)) out.push_back(one);
        }
        return out;
    }
    void fixed(const FateWorld& world) {
        for (const auto& one : incidents_of(world)) {
            REQUIRE(house.store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).mended(one.id, "me"); }));
        }
    }
    Fated* some_of(const FateWorld& world) {
        std::vector<Fated*> all;
        for (Fated& one : house.books) {
            if (one.world + 1 == world.number && !one.is_over) all.push_back(&one);
        }
        return all.empty() ? nullptr : all[dice.below(all.size())];
    }
    // Errc::not_found where it has left meanwhile: that is no matter.
    void by_hand(Result<> (storage::QueueTx::*what)(storage::QueueId), storage::QueueId queue) {
        static_cast<void>(house.store->write({}, [&](storage::Tx& tx) { return (tx.queue().*what)(queue); }));
    }
    void hold(const FateWorld& world) {
        const Fated* const one = some_of(world);
        if (one == nullptr) return;
        for (Fated& other : house.books) other.by_hand = other.by_hand || other.queue == one->queue;
        by_hand(&storage::QueueTx::hold, one->queue);
    }
    /// What happens in one world between two looks.
    void act(FateWorld& world) {
        auto& mx = world.sites[dice.below(2)]->traits;
        auto& relay = world.sites[2 + dice.below(2)]->traits;
        switch (dice.below(14)) {
            case 0:
            case 1: send_some(world); break;
            case 2: mx.block = mx.block.empty() ? kClientBlocked : ""; break;
            case 3:
                mx.block = "";
                fixed(world);
                break;
            case 4: relay.block = kLoginRefused; break;
            case 5:
                relay.block = "";
                house.change_way(world, 's');
                break;
            case 6: relay.block = ""; break;  // a probe finds out
            case 7: fixed(world); break;      // it is not: held again
            case 8: mx.bad_hosts = mx.bad_hosts == 0 ? mx.hosts : 0; break;
            case 9: house.set_route(world, kRoutes[dice.below(kRoutes.size())]); break;
            case 10: hold(world); break;
            case 11:
            case 12:
                if (const Fated* const one = some_of(world)) {
                    by_hand(dice.chance(0.5) ? &storage::QueueTx::release : &storage::QueueTx::retry_now, one->queue);
                }
                break;
            default: break;
        }
    }
    /// Whether the relay was started anew in it.
    bool turn(Milliseconds span) {
        house.clock.advance(span);
        const bool starts = dice.chance(0.4);
        if (starts) {
            restarts += house.run_into_restart(1 + dice.below(40 * house.worlds.size() / kWorldsABatch + 5)) ? 1 : 0;
        }
        house.run();
        if (dice.chance(0.4)) house.settle_after(seconds(15));  // the watch over incidents comes round
        return starts;
    }
    /// From now on everything works but in a few worlds, once and for all.
    void heal() {
        for (FateWorld& world : house.worlds) {
            if (dice.chance(0.15)) continue;
            for (const auto& site : world.sites) {
                site->traits.block.clear();
                site->traits.bad_hosts = 0;
                site->traits.drop_in_data = site->traits.drop_after_data = site->traits.full = 0;
            }
            if (dice.chance(0.5)) fixed(world);  // the others are found mended by a probe
        }
    }
    void release() {
        for (const auto& row : house.rows()) {
            if (row.state == RecipientState::held && storage::raw(row.incident) == 0) {
                by_hand(&storage::QueueTx::release, row.queue);
            }
        }
    }

    std::size_t kept_by_routes() {
        return static_cast<std::size_t>(std::ranges::count_if(house.rows(), [](const storage::QueueRecipient& row) {
            return row.state == RecipientState::held && storage::raw(row.incident) == 0;
        }));
    }
    // A route that ends in "hold" keeps what its other ways refuse. Let go again it is tried again, the first of each
    // lane at least: those behind it would be refused alike, and are kept untried. "" when nothing is left.
    std::string work_off_holds() {
        for (std::size_t left = kept_by_routes(); left > 0;) {
            release();
            house.clock.advance(hours(1));  // somebody else's try of a way is over by then
            house.run();
            std::string wrong = look();
            if (!wrong.empty()) return wrong;
            const std::size_t now = kept_by_routes();
            if (now >= left) return fmt::format("{} are kept by their routes, however often they are let go", now);
            left = now;
        }
        return {};
    }

    // Who was held while his incident was closed is let go with the next round of the watch.
    std::string look() {
        std::string wrong = judge.look();
        if (!wrong.ends_with(kStranded)) return wrong;
        house.settle_after(seconds(15));
        return judge.look();
    }

    std::string why_it_waits(const Fated& one) {
        for (const auto& row : house.rows()) {
            if (row.address != one.address) continue;
            return fmt::format("{} until {}, now it is {}: {}", storage::to_string(row.state),
                               format_rfc3339(row.next_attempt), format_rfc3339(house.clock.now()), row.last_reply);
        }
        return "it is not there";
    }

    FateHouse house;
    SeededRandom dice;
    Judge judge;
    std::size_t restarts = 0;
};

constexpr std::array<Milliseconds, 6> kSpans{seconds(12), minutes(1), minutes(6), minutes(31), hours(3), hours(26)};

struct Sums {
    std::size_t delivered = 0;
    std::size_t bounced = 0;
    std::size_t twice = 0;
    std::size_t restarts = 0;
    std::size_t incidents = 0;
};

std::string run_batch(std::uint64_t seed, std::size_t count, Sums& sums) {
    Batch batch(seed, count);
    for (int step = 0; step < 5; ++step) {
        batch.turn(step == 0 ? Milliseconds(0) : kSpans[batch.dice.below(kSpans.size())]);
        std::string wrong = batch.look();
        if (!wrong.empty()) return wrong;
        for (FateWorld& world : batch.house.worlds) batch.act(world);
    }
    batch.heal();
    // A start gives all mail another hour, to the second and not more: turns of it follow until none has a start.
    std::deque<Milliseconds> spans{minutes(1), hours(26), hours(96)};
    const Milliseconds another_hour(batch.house.kept.options.patience_after_start);
    while (!spans.empty()) {
        batch.release();
        const bool started = batch.turn(spans.front());
        std::string wrong = batch.look();
        if (!wrong.empty()) return wrong;
        spans.pop_front();
        if (spans.empty() && started) spans.push_back(another_hour);
    }
    const std::string kept = batch.work_off_holds();
    if (!kept.empty()) return kept;
    for (const Fated& one : batch.house.books) {
        if (!one.is_over) return one.address + " waits though its time is over: " + batch.why_it_waits(one);
        sums.delivered += one.is_delivered ? 1 : 0;
        sums.bounced += one.is_delivered ? 0 : 1;
        sums.twice += batch.house.worlds[one.world].taken(one.address) > 1 ? 1 : 0;
    }
    sums.restarts += batch.restarts;
    sums.incidents += batch.house.store
                          ->read([](const storage::Snapshot& s) { return storage::IncidentView(s).list(true, 1'000); })
                          .value()
                          .size();
    return batch.judge.look_at_reports();
}

}  // namespace

TEST_CASE("each accepted recipient ends in exactly one way: faults of all sides, holds, several ways, restarts") {
    const std::uint64_t runs = number_from("POSTHOUSE_FATE_RUNS", 200);
    const std::uint64_t first = number_from("POSTHOUSE_FATE_SEED", 1);
    Sums sums;
    log::set_level(log::Level::error);
    for (std::uint64_t done = 0; done < runs; done += kWorldsABatch) {
        const std::uint64_t seed = first + done / kWorldsABatch;
        CAPTURE(seed);
        const std::size_t count = std::min<std::uint64_t>(kWorldsABatch, runs - done);
        REQUIRE(run_batch(seed * 7919, count, sums) == "");
    }
    log::set_level(log::Level::info);
    MESSAGE(runs << " runs: " << sums.delivered << " delivered (" << sums.twice << " with an unknown fate between), "
                 << sums.bounced << " bounced, " << sums.incidents << " incidents, " << sums.restarts
                 << " restarts with mail under way");
    CHECK(sums.delivered > sums.bounced);
    CHECK(sums.incidents > runs / 4);
    CHECK(sums.restarts > 0);
}

TEST_CASE("the judge of these runs sees a hold that is dropped, a second copy, and a copy nobody got") {
    const auto begin = [](FateHouse& house, std::string_view block) {
        StandInTraits mx;
        mx.block = block;
        FateWorld& world = house.add_world(mx, StandInTraits(), 1);
        house.set_route(world, "d");
        house.send(world, 1, 'a');
        house.run();
    };
    SUBCASE("dropped") {
        FateHouse house;
        Judge judge(house);
        begin(house, kClientBlocked);
        REQUIRE(judge.look() == "");
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().cancel(house.books[0].queue); }));
        CHECK(judge.look() == "n1@a.w1.example has left the queue, delivered 0 times and bounced 0 times");
    }
    SUBCASE("twice") {
        FateHouse house;
        Judge judge(house);
        begin(house, "");
        REQUIRE(judge.look() == "");
        house.worlds[0].sites[0]->dot("n1@a.w1.example");
        CHECK(judge.look() == "n1@a.w1.example was taken 2 times");
    }
    SUBCASE("held, and taken") {
        FateHouse house;
        Judge judge(house);
        begin(house, kClientBlocked);
        house.worlds[0].sites[2]->dot("n1@a.w1.example");
        CHECK(judge.look() == "n1@a.w1.example was taken 1 times, and is in the queue");
    }
    SUBCASE("no report") {
        FateHouse house;
        Judge judge(house);
        begin(house, "");
        house.books[0].is_delivered = false;
        house.books[0].is_over = true;
        CHECK(judge.look_at_reports() == "n1@a.w1.example: its sender got 0 reports of failure, not 1");
    }
}

}  // namespace posthouse::relay
