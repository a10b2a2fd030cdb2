#include "relay/controller.h"

#include <doctest/doctest.h>

#include "relay/host_health.h"
#include "relay/retry.h"
#include "relay/schedule.h"
#include "tests/support/stand_in.h"

namespace posthouse::relay {
namespace {

const Time kStart = from_unix_ms(1'764'000'000'000);

Verdict said(Fate fate, unsigned code, std::string enhanced, std::string text) {
    Verdict out;
    out.fate = fate;
    out.code = code;
    out.enhanced = std::move(enhanced);
    out.reply = std::to_string(code) + " " + out.enhanced + " " + text;
    out.from_remote = true;
    return out;
}

}  // namespace

TEST_CASE("few messages are worth few connections") {
    const LaneController controller(Shaping{}, kStart);
    CHECK(controller.connections_wanted(0, kStart) == 0);
    CHECK(controller.connections_wanted(1, kStart) == 1);
    CHECK(controller.connections_wanted(10, kStart) == 5);
    CHECK(controller.connections_wanted(100'000, kStart) == 5);  // the window it starts with
}

TEST_CASE("the memory of a ceiling fades: half of the way to no limit in a week, none after five") {
    Learned learned;
    learned.window = 4;
    learned.rate = 2;
    learned.at = kStart;
    const auto recalled = [&](Milliseconds age) {
        LaneController out(Shaping{}, kStart + age);
        out.recall(learned, kStart + age);
        return out;
    };
    CHECK(recalled(Milliseconds(0)).window() == 4);
    CHECK(recalled(Milliseconds(0)).rate_ceiling() == doctest::Approx(2));
    CHECK(recalled(kMemoryHalfLife).window() == 12);
    CHECK(recalled(kMemoryHalfLife).rate_ceiling() == doctest::Approx(4));
    CHECK_FALSE(recalled(kMemoryHalfLife * 6).has_learned());
}

TEST_CASE("a closed lane: what was under way when it closed does not make the wait longer") {
    LaneController controller(Shaping{}, kStart);
    for (int i = 0; i < 5; ++i) controller.unreachable(kStart, 0);
    CHECK(controller.state(kStart) == LaneState::closed);
    CHECK(controller.earliest(kStart) == kStart + std::chrono::minutes(1));
    Time now = kStart;
    for (const int minutes : {1, 2, 4, 8, 16, 30, 30}) {
        CHECK(controller.earliest(now) == now + std::chrono::minutes(minutes));
        now += std::chrono::minutes(minutes);
        REQUIRE(controller.may_take(now));
        controller.take(now);
        CHECK_FALSE(controller.may_take(now));  // one probe at a time
        controller.unreachable(now, 0);
    }
    now = controller.earliest(now);
    controller.take(now);
    controller.connected(now);
    CHECK(controller.state(now) == LaneState::open);
    CHECK(controller.window() == 1);  // slow start
}

TEST_CASE(
    "a probe of a closed lane that is told to wait, or turned away while another connection hangs, is not the last") {
    const auto probed = [](auto answer) {
        LaneController controller(Shaping{}, kStart);
        for (int i = 0; i < 6; ++i) controller.unreachable(kStart, 1);
        REQUIRE(controller.state(kStart) == LaneState::closed);
        const Time probe = controller.earliest(kStart);
        controller.take(probe);
        answer(controller, probe);
        return controller.earliest(probe) - probe;
    };
    const auto too_fast = [](LaneController& c, Time now) {
        c.pause(now, Milliseconds(5'000));
        c.refused_rate(now);
    };
    const auto too_many = [](LaneController& c, Time now) { c.refused_window(now, 1); };
    for (const Milliseconds wait : {probed(too_fast), probed(too_many)}) {
        CHECK(wait > Milliseconds(0));
        CHECK(wait <= std::chrono::minutes(2));
    }
    LaneController controller(Shaping{}, kStart);
    for (int i = 0; i < 6; ++i) controller.unreachable(kStart, 1);
    const Time probe = controller.earliest(kStart);
    controller.take(probe);
    controller.refused_rate(probe);
    CHECK(controller.may_take(probe + std::chrono::minutes(1)));  // it opens, not only seems about to
}

TEST_CASE("one word about speed on a quiet lane does not slow it to a crawl") {
    LaneController controller(Shaping{}, kStart);
    controller.refused_rate(kStart);
    Time now = kStart;
    int delivered = 0;
    while (now < kStart + std::chrono::minutes(10)) {
        now = std::max(now, controller.earliest(now));
        controller.take(now);
        controller.delivered(now, 1);
        ++delivered;
    }
    CHECK(delivered > 60);
}

TEST_CASE("a refused connection while others are open costs the window one, a whole cohort half") {
    LaneController controller(Shaping{}, kStart);
    controller.refused_window(kStart, 5);
    CHECK(controller.window() == 4);
    for (int i = 0; i < 3; ++i) controller.refused_window(kStart, 4);
    CHECK(controller.window() == 4);  // of the same run
    controller.refused_window(kStart, 4);
    CHECK(controller.window() == 2);
}

TEST_CASE(
    "421 without a reason: nothing is learned from the first; the last connection's closes the lane for a while") {
    LaneController controller(Shaping{}, kStart);
    controller.delivered(kStart, 5);
    for (int i = 0; i < 4; ++i) controller.turned_away(kStart, 4);
    CHECK(controller.window() == 5);
    CHECK(controller.rate() == 0);
    CHECK_FALSE(controller.has_learned());
    controller.turned_away(kStart, 4);  // a whole window in a row is no coincidence
    CHECK(controller.window() == 4);

    LaneController alone(Shaping{}, kStart);
    Time now = kStart;
    std::vector<Milliseconds> waits;
    for (int i = 0; i < 3; ++i) {
        alone.connected(now);  // they let us in, and turn us away at the first word
        alone.turned_away(now, 0);
        CHECK(alone.state(now) == LaneState::closed);
        waits.push_back(alone.earliest(now) - now);
        now = alone.earliest(now);
        alone.take(now);
    }
    CHECK(waits == std::vector<Milliseconds>{kProbeFirstRefused, kProbeFirstRefused * 2, kProbeFirstRefused * 4});
    alone.delivered(now, 1);
    alone.turned_away(now, 0);
    CHECK(alone.earliest(now) - now == kProbeFirstRefused);
    CHECK(alone.rate() == 0);
}

TEST_CASE("too many connections, said to the only one that is open, closes the lane: nothing could be given back") {
    test::SeededRandom random(1);
    LaneSchedule schedule(Shaping{}, kStart);
    schedule.add(storage::QueueClass::interactive, "a", LaneEntry());
    REQUIRE(schedule.take(kStart, 1));
    schedule.opened(kStart);
    LaneSchedule::Said one;
    one.verdict = said(Fate::deferred, 421, "4.7.0", "Too many connections, come back in 5 minutes");
    const auto after = schedule.settle(std::vector{one}, "mx.b.example", Stage::transaction, kStart, random);
    CHECK(after.front().stays_in_lane);
    CHECK(schedule.controller().state(kStart) == LaneState::closed);
    CHECK(schedule.controller().rate_ceiling() == 0);  // a time for connections is no rate
    CHECK(schedule.earliest(kStart) - kStart == std::chrono::minutes(5));
}

TEST_CASE("somebody asks to try now: a lane is probed though its probe hangs") {
    LaneController controller(Shaping{}, kStart);
    controller.unreachable(kStart, 0);
    const Time probe = controller.earliest(kStart);
    controller.take(probe);
    CHECK_FALSE(controller.may_take(probe + std::chrono::minutes(3)));
    controller.kick(probe);
    CHECK(controller.may_take(probe));
}

TEST_CASE("retry by cause: what follows from what was said") {
    test::SeededRandom random(1);
    const auto minutes = [](Milliseconds span) { return static_cast<double>(span.count()) / 60'000.0; };
    auto after = judge(said(Fate::deferred, 450, "4.2.0", "Greylisted, try again later"), "mx.b.example",
                       Stage::transaction, 0, random);
    CHECK(after.cause == storage::WaitCause::greylist);
    CHECK(minutes(after.wait) == doctest::Approx(5).epsilon(0.11));
    after = judge(said(Fate::deferred, 452, "4.2.2", "Mailbox full"), "mx.b.example", Stage::transaction, 1, random);
    CHECK(after.cause == storage::WaitCause::mailbox_full);
    CHECK(minutes(after.wait) == doctest::Approx(240).epsilon(0.11));
    after = judge(said(Fate::deferred, 421, "4.7.0", "Too many concurrent connections"), "mx.b.example", Stage::opening,
                  0, random);
    CHECK(after.signal == LaneSignal::window);
    CHECK(after.stays_in_lane);
    after = judge(said(Fate::deferred, 451, "4.7.1", "Rate limit exceeded, please try again in 300 seconds"),
                  "mx.b.example", Stage::transaction, 0, random);
    CHECK(after.signal == LaneSignal::rate);
    CHECK(after.named == std::chrono::seconds(300));
    after = judge(said(Fate::deferred, 421, "4.7.0", "Messages temporarily deferred due to rate limits"),
                  "mx.b.example", Stage::transaction, 0, random);
    CHECK(after.signal == LaneSignal::rate);
    for (const char* const bare : {"", "4.3.2", "4.7.0"}) {
        CAPTURE(bare);
        after = judge(said(Fate::deferred, 421, bare, "Closing"), "mx.b.example", Stage::transaction, 0, random);
        CHECK(after.signal == LaneSignal::turned_away);
        CHECK(after.stays_in_lane);
        after = judge(said(Fate::deferred, 421, bare, "Closing"), "mx.b.example", Stage::opening, 0, random);
        CHECK(after.signal == LaneSignal::window);
    }
    after = judge(Verdict(Fate::deferred, "4.4.1", "No connection to mx.b.example port 25: refused"), "mx.b.example",
                  Stage::opening, 0, random);
    CHECK(after.signal == LaneSignal::unreachable);
    after = judge(said(Fate::failed, 550, "5.1.1", "No such user"), "mx.b.example", Stage::transaction, 0, random);
    CHECK_FALSE(after.stays_in_lane);
    CHECK(after.signal == LaneSignal::none);
    for (const auto& [attempts, want] :
         {std::pair(1U, 5), {2U, 10}, {3U, 20}, {4U, 40}, {5U, 60}, {7U, 240}, {99U, 240}}) {
        CAPTURE(attempts);
        CHECK(minutes(retry_wait(bounce::ReplyClass::other, attempts, random)) == doctest::Approx(want).epsilon(0.11));
    }
}

TEST_CASE("a host that failed is asked last, for longer each time, until it answers") {
    HostHealth health;
    std::vector<MxHost> hosts{{"a", {}, 10}, {"b", {}, 10}};
    health.failed("a", HostTrouble::unreached, kStart);
    health.order(hosts, "c.example", kStart);
    CHECK(hosts.front().name == "b");
    // For one domain alone.
    hosts = {{"a2", {}, 10}, {"b2", {}, 10}};
    health.failed(HostHealth::for_domain("a2", "c.example"), HostTrouble::unreached, kStart);
    health.order(hosts, "d.example", kStart);
    CHECK(hosts.front().name == "a2");
    health.order(hosts, "c.example", kStart);
    CHECK(hosts.front().name == "b2");
    CHECK(health.is_quarantined("a", kStart + std::chrono::minutes(4)));
    CHECK_FALSE(health.is_quarantined("a", kStart + std::chrono::minutes(5)));
    health.failed("a", HostTrouble::unreached, kStart);
    CHECK(health.is_quarantined("a", kStart + std::chrono::minutes(9)));
    health.served("a");
    CHECK_FALSE(health.is_quarantined("a", kStart));
}

TEST_CASE("what is known of big sites: connections and messages a connection, within our own bounds") {
    CHECK(shaping_for("google", 20, 100).window_max == 5);
    CHECK(shaping_for("google", 20, 100).messages_per_connection == 50);
    CHECK(shaping_for("google", 2, 100).window_max == 2);
    CHECK(shaping_for("smtp.office365.com", 20, 100).window_max == 3);
    CHECK(shaping_for("email-smtp.eu-west-1.amazonaws.com", 20, 100).window_max == 10);
    CHECK(shaping_for("mx.b.example", 20, 100).window_max == 20);

    // What is set by hand goes before both, up and down.
    storage::LaneLimit by_hand;
    by_hand.connections_max = 30;
    CHECK(shaping_for("google", 20, 100, &by_hand).window_max == 30);
    CHECK(shaping_for("google", 20, 100, &by_hand).messages_per_connection == 50);
    by_hand.connections_max = 1;
    by_hand.messages_max = 3;
    by_hand.minute_max = 30;
    const Shaping slow = shaping_for("mx.b.example", 20, 100, &by_hand);
    CHECK(slow.window_max == 1);
    CHECK(slow.window_start == 1);
    CHECK(slow.messages_per_connection == 3);
    CHECK(slow.rate_max == 0.5);
}

TEST_CASE("bounds that change while a lane runs hold at once, and what was learned stays within them") {
    LaneSchedule lane(shaping_for("mx.b.example", 20, 100), kStart);
    const Shaping usual = lane.shaping();
    lane.controller().refused_window(kStart, 4);
    CHECK(lane.controller().window() == 4);
    Shaping two = usual;
    two.window_start = two.window_max = 2;
    two.rate_max = 0.5;
    lane.reshape(two);
    CHECK(lane.controller().window() == 2);
    CHECK(lane.controller().rate() == 0.5);
    for (int i = 0; i < 1000; ++i) lane.controller().delivered(kStart, 2);
    CHECK(lane.controller().window() == 2);
    CHECK(lane.controller().learned(kStart).window == 4);
    CHECK(lane.controller().learned(kStart).rate == 0);

    // Over a restart as well: the bound is not what the site taught.
    LaneController again(two, kStart);
    again.recall(lane.controller().learned(kStart), kStart);
    CHECK(again.window() == 2);
    again.reshape(usual);
    CHECK(again.window() == 4);
    lane.reshape(usual);
    CHECK(lane.controller().window() == 4);
    CHECK(lane.controller().rate() == 0);

    // What the site says while it is bounded counts.
    lane.reshape(two);
    lane.controller().refused_window(kStart, 1);
    CHECK(lane.controller().window() == 1);
    lane.reshape(usual);
    CHECK(lane.controller().window() == 1);
}

TEST_CASE("bounds that change undo nothing that the far side has said") {
    const Shaping usual = shaping_for("mx.b.example", 20, 100);
    Shaping two = usual;
    two.window_start = two.window_max = 2;
    SUBCASE("a bad name: one connection for a day") {
        LaneController controller(usual, kStart);
        controller.reshape(two);
        controller.hold_back(kStart);
        controller.reshape(usual);
        CHECK(controller.window() == 1);
        CHECK(controller.learned(kStart).window == 1);
    }
    SUBCASE("too fast, a moment ago") {
        LaneController controller(usual, kStart);
        for (int i = 0; i < 100; ++i) controller.delivered(kStart + Milliseconds(i * 10), 2);
        controller.refused_rate(kStart + std::chrono::seconds(1));
        const double rate = controller.rate();
        REQUIRE(rate > 0);
        controller.reshape(two);
        CHECK(controller.rate() == rate);
        two.rate_max = rate / 2;
        controller.reshape(two);
        CHECK(controller.rate() == rate / 2);
    }
    SUBCASE("closed, then opened again slowly") {
        LaneController controller(usual, kStart);
        controller.reshape(two);
        CHECK(controller.unreachable(kStart, 0));
        controller.connected(kStart + std::chrono::minutes(2));
        const std::size_t window = controller.window();
        controller.reshape(usual);
        CHECK(controller.window() == window);
    }
}

TEST_CASE("bounds that change lift no pause and open no closed lane") {
    LaneController controller(shaping_for("mx.b.example", 20, 100), kStart);
    controller.pause(kStart, std::chrono::hours(1));
    Shaping one = shaping_for("mx.b.example", 20, 100);
    one.window_max = 1;
    controller.reshape(one);
    CHECK(controller.earliest(kStart) == kStart + std::chrono::hours(1));
    LaneController closed(shaping_for("mx.b.example", 20, 100), kStart);
    CHECK(closed.unreachable(kStart, 0));
    closed.reshape(one);
    CHECK(closed.state(kStart) == LaneState::closed);
    CHECK(closed.closings() == 1);
}

}  // namespace posthouse::relay
