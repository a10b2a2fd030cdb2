// Warm-up: so many an hour, more after each clean day, held by a bad one.
#include <algorithm>

#include "tests/unit/relay/pool_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

const Time kNow = from_unix_ms(1'764'000'000'000);
constexpr std::string_view kOwn = "192.0.2.7";

struct WarmHouse : PoolHouse {
    WarmHouse() : PoolHouse({"192.0.2.7"}, "pool,relay", /*warm_up=*/true, "none") { turn(minutes(1)); }
    std::uint32_t level() {
        const storage::AddressBook all = book();
        const storage::WarmUp* const one = all.warm_up(kOwn, "google");
        return one == nullptr ? 0U : storage::turn_day(*one, clock.now()).level;
    }
    /// Several recipients a message: a day's mail costs little.
    void send_all(std::size_t count) {
        const std::size_t at_once = std::clamp<std::size_t>(count / 20, 1, 50);
        while (count > 0) {
            std::vector<std::string> some;
            for (; count > 0 && some.size() < at_once; --count) {
                some.push_back("w" + std::to_string(next_++) + "@gmail.test");
            }
            submit(some);
        }
        settle();
    }
    std::size_t recipients(std::string_view address) { return google[std::string(address)].count("RCPT"); }
    /// To `minute` of the day, forward.
    void turn_to(minutes of_day) {
        const auto day = std::chrono::floor<std::chrono::days>(clock.now());
        Time at = day + of_day;
        if (at <= clock.now()) at += std::chrono::days(1);
        turn(std::chrono::duration_cast<Milliseconds>(at - clock.now()));
    }
    void complain(std::size_t count) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) {
            storage::EvidenceDay day;
            day.source = kOwn;
            day.provider = "google";
            day.day = storage::day_of(clock.now());
            for (std::size_t i = 0; i < count; ++i) day.complained.add("w" + std::to_string(i) + "@gmail.test");
            return storage::ReputationTx(tx).add(day);
        }));
    }

 private:
    std::size_t next_ = 0;
};

}  // namespace

TEST_CASE("warm-up: x 1.4 after a clean day that was used, held after a bad one and after an idle one") {
    CHECK(storage::warm_up_allowance(0) == 20);
    CHECK(storage::warm_up_allowance(7) == 211);
    CHECK(storage::warm_up_allowance(14) == 2222);
    storage::WarmUp one;
    Time now = kNow;
    one = storage::turn_day(one, now);
    CHECK(storage::warm_up_left(one, now) == 20);
    one.hour = storage::hour_number(now);
    one.hour_used = 20;
    one.day_used = 20;
    CHECK(storage::warm_up_left(one, now) == 0);
    CHECK(storage::warm_up_left(one, now + hours(1)) == 20);
    CHECK(storage::turn_day(one, now + hours(24)).level == 1);
    CHECK(storage::warm_up_left(one, now + hours(24)) == 28);
    one.is_bad = true;
    CHECK(storage::turn_day(one, now + hours(24)).level == 0);
    one.is_bad = false;
    one.day_used = 3;
    CHECK(storage::turn_day(one, now + hours(24)).level == 0);
}

TEST_CASE("warm-up: a month of good, bad and idle days; the level of each day is what the days before have earned") {
    WarmHouse house;
    const std::string refusal = "451 4.7.1 client host [192.0.2.7] blocked using zen.spamhaus.org";
    const std::string unproved = "421 4.7.26 This mail has been rate limited because it is unauthenticated";
    // g: good, i: idle, r: refused for our address, a: not believed, c: complaints, o: one complaint only
    const std::string_view month = "ggrgiaggcgiaggocirgaigciagrgig";
    REQUIRE(month.size() == 30);
    std::uint32_t wanted = 0;
    for (std::size_t day = 0; day < month.size(); ++day) {
        CAPTURE(day);
        const char what = month[day];
        CAPTURE(what);
        house.turn_to(hours(8) + minutes(day));  // a minute later each day: what rests for a day is due
        CHECK(house.level() == wanted);
        const std::uint64_t allowed = storage::warm_up_allowance(wanted);
        const std::size_t before = house.recipients(kOwn);
        auto& remote = house.google[std::string(kOwn)];
        if (what == 'r') remote.once("RCPT", refusal);
        if (what == 'a') remote.once("RCPT", unproved);
        if (what != 'i') house.send(1);
        if (what != 'i') house.send_all(allowed * 6 / 5);
        const std::size_t tried = house.recipients(kOwn) - before;
        CHECK(tried <= allowed);
        if (what == 'g' || what == 'c' || what == 'o') CHECK(tried * 2 >= allowed);
        if (what == 'c') house.complain(2);
        if (what == 'o') house.complain(1);
        if (what == 'g' || what == 'o') ++wanted;
        house.turn(hours(6));
    }
    house.turn_to(hours(9));
    CHECK(house.level() == wanted);
    CHECK(wanted == 14);
    CHECK(house.waiting() == 0);
    CHECK(house.smarthost.messages.size() > 0);  // what was too much left by the other way
}

TEST_CASE("warm-up: what is said four minutes before midnight spoils that day, not the next") {
    for (const std::string_view reply : {"451 4.7.1 client host [192.0.2.7] blocked using zen.spamhaus.org",
                                         "450 4.7.0 rate limited, try again later",
                                         "421 4.7.26 This mail has been rate limited because it is unauthenticated"}) {
        CAPTURE(reply);
        WarmHouse house;
        house.turn_to(hours(8));
        house.send_all(40);
        house.turn_to(minutes(23 * 60 + 55));
        house.google[std::string(kOwn)].once("RCPT", std::string(reply));
        house.send(3);
        house.turn(minutes(6));
        house.send(3);  // used on the next day, before the day before is judged
        house.turn(minutes(30));
        CHECK(house.level() == 0);
        if (reply.contains("blocked")) continue;  // it rests there for the next day
        house.turn_to(hours(8));
        house.send_all(40);
        house.turn_to(hours(8));
        CHECK(house.level() == 1);  // the next day was clean
    }
}

TEST_CASE("warm-up: a mailbox that gets too much from everybody does not spoil the day") {
    WarmHouse house;
    house.turn_to(hours(8));
    house.google[std::string(kOwn)].once("RCPT", "450 4.2.1 The user you are trying to contact is receiving mail too "
                                                 "quickly");
    house.send_all(40);
    house.turn_to(hours(8));
    CHECK(house.level() == 1);
}

TEST_CASE("warm-up: what is over the hour's allowance leaves by the route's next way at once") {
    PoolHouse house({"192.0.2.7"}, "pool,relay", /*warm_up=*/true);
    house.turn(minutes(1));
    house.send(50);
    CHECK(house.at_google() == 20);
    CHECK(house.smarthost.messages.size() == 30);
    CHECK(house.waiting() == 0);
    house.restart();  // what was used of the hour is known after a restart, too
    house.turn(std::chrono::seconds(15));
    house.send(5);
    CHECK(house.at_google() == 20);
}

TEST_CASE("warm-up without another address or way: the rest waits for the next hour, and is not lost") {
    PoolHouse house({"192.0.2.7"}, "pool", /*warm_up=*/true);
    house.turn(minutes(1));
    house.send(30);
    CHECK(house.at_google() == 20);
    CHECK(house.waiting() == 10);
    house.turn(hours(1));
    house.turn(minutes(10));  // they do not come all at once
    CHECK(house.at_google() == 30);
}

}  // namespace posthouse::relay
