// The rules of reputation alone: from what was said to the standing of an address.
#include <doctest/doctest.h>

#include "relay/reputation.h"
#include "storage/transport.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using storage::Reputation;
using storage::Standing;

const Time kNow = from_unix_ms(1'764'000'000'000);

Counts counts(std::uint64_t tried, std::uint64_t blocked = 0, std::uint64_t deferred = 0, std::uint64_t bounced = 0,
              std::uint64_t complained = 0) {
    Counts out;
    out.tried = tried;
    out.blocked = blocked;
    out.deferred = deferred;
    out.bounced = bounced;
    out.complained = complained;
    return out;
}

// What a healthy address becomes.
Standing becomes(const StandingFacts& facts, Reputation one = Reputation()) {
    one.source = "192.0.2.7";
    one.provider = "google";
    one.since = kNow;
    return judge_standing(one, facts, kNow).standing;
}

struct Row {
    std::string_view what;
    StandingFacts facts;
    Standing then;
};

StandingFacts day(Counts of) {
    StandingFacts out;
    out.day = of;
    return out;
}
StandingFacts week(Counts of, std::uint32_t deferred_days = 0) {
    StandingFacts out;
    out.week = of;
    out.deferred_days = deferred_days;
    return out;
}
StandingFacts month(Counts of) {
    StandingFacts out;
    out.month = of;
    return out;
}
StandingFacts listed(StandingFacts facts) {
    facts.lists = {"bl.spamcop.net"};
    return facts;
}

}  // namespace

TEST_CASE("standing: each kind of evidence alone makes an address watched, and drains it") {
    using enum Standing;
    const Row rows[] = {
        {"nothing is known", StandingFacts(), healthy},
        // refused for our address
        {"two of ten refused: too few to say", day(counts(10, 2)), healthy},
        {"three refusals speak whatever the volume", day(counts(10, 3)), drained},
        {"2 % refused", day(counts(1000, 20)), healthy},
        {"6 % refused", day(counts(1000, 60)), watched},
        {"10 % refused", day(counts(1000, 100)), drained},
        {"three in a week of few", week(counts(12, 3)), drained},
        // complaints: 0.1 % watched, 0.3 % the stop mark, with a minimum number
        {"one complaint is one person's", month(counts(1000, 0, 0, 0, 1)), healthy},
        {"one complaint of 250, 0.4 %", month(counts(250, 0, 0, 0, 1)), healthy},
        {"0.05 %", month(counts(4000, 0, 0, 0, 2)), healthy},
        {"0.1 %", month(counts(2000, 0, 0, 0, 2)), watched},
        {"0.29 %", month(counts(10'000, 0, 0, 0, 29)), watched},
        {"two of 250 are too few to stop", month(counts(250, 0, 0, 0, 2)), watched},
        {"0.3 %", month(counts(1000, 0, 0, 0, 3)), drained},
        {"0.3 % in a week", week(counts(1000, 0, 0, 0, 3)), drained},
        {"0.3 % in a day", day(counts(1000, 0, 0, 0, 3)), drained},
        {"complaints of so few written to say nothing", month(counts(150, 0, 0, 0, 3)), healthy},
        // put off as too fast
        {"less than half put off", week(counts(100, 0, 49)), healthy},
        {"half put off", week(counts(100, 0, 50)), watched},
        {"a whole day put off", day(counts(400, 0, 400)), watched},
        {"half of a week, on two days", week(counts(100, 0, 50), 2), watched},
        {"half of a week, on three days", week(counts(100, 0, 50), 3), drained},
        {"three bad days in a good week", week(counts(1000, 0, 100), 3), healthy},
        {"of so few nothing follows", week(counts(99, 0, 99), 3), healthy},
        // unknown users
        {"5 % do not exist", week(counts(200, 0, 0, 10)), healthy},
        {"10 % do not exist", week(counts(200, 0, 0, 20)), watched},
        {"29 % do not exist", week(counts(200, 0, 0, 58)), watched},
        {"30 % do not exist", week(counts(200, 0, 0, 60)), drained},
        {"all of a small day", day(counts(20, 0, 0, 20)), watched},
        // together
        {"a listing alone", listed(StandingFacts()), healthy},
        {"a listing and 2 % refused", listed(day(counts(1000, 20))), watched},
        {"a listing and 6 % refused", listed(day(counts(1000, 60))), drained},
        {"a listing and complaints at the mark", listed(month(counts(2000, 0, 0, 0, 2))), watched},
        {"a listing and complaints near the stop mark", listed(month(counts(10'000, 0, 0, 0, 29))), drained},
        {"a little of each", day(counts(1000, 30, 300, 50, 0)), watched},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        CHECK(storage::to_string(becomes(row.facts)) == storage::to_string(row.then));
    }
}

TEST_CASE("standing: what is worse drains a watched address too; better, it is healthy again") {
    Reputation watched;
    watched.standing = Standing::watched;
    CHECK(becomes(month(counts(1000, 0, 0, 0, 3)), watched) == Standing::drained);
    CHECK(becomes(week(counts(1000, 0, 0, 100)), watched) == Standing::watched);
    CHECK(becomes(StandingFacts(), watched) == Standing::healthy);
}

TEST_CASE("standing: on probation complaints and unknown users end it as a refusal does") {
    Reputation one;
    one.standing = Standing::probation;
    one.step = 2;
    one.falls = 1;
    CHECK(becomes(StandingFacts(), one) == Standing::probation);
    CHECK(becomes(day(counts(1000, 0, 0, 0, 3)), one) == Standing::drained);
    CHECK(becomes(week(counts(200, 0, 0, 100)), one) == Standing::drained);
    StandingFacts refused;
    refused.fresh = counts(1, 1);
    CHECK(becomes(refused, one) == Standing::drained);
}

TEST_CASE("standing: everywhere, the first refusal ends the probation; then it rests, though no list has it") {
    Reputation one;
    one.since = kNow;
    StandingFacts facts;
    facts.lists = {"bl.spamcop.net", "bl.blocklist.de"};
    one = judge_standing(one, facts, kNow);
    REQUIRE(one.standing == Standing::drained);
    one = judge_standing(one, StandingFacts(), kNow + hours(1));
    REQUIRE(one.standing == Standing::probation);
    StandingFacts refused;
    refused.fresh = counts(1, 1);
    one = judge_standing(one, refused, kNow + hours(2));
    CHECK(one.standing == Standing::drained);
    CHECK(one.falls == 2);
    CHECK(judge_standing(one, StandingFacts(), kNow + hours(49)).standing == Standing::drained);
    CHECK(judge_standing(one, StandingFacts(), kNow + hours(50)).standing == Standing::probation);
}

TEST_CASE("standing: of the row for a provider and that for everywhere the worse counts") {
    storage::AddressBook book;
    Reputation here;
    here.source = "192.0.2.7";
    here.provider = "google";
    Reputation everywhere = here;
    everywhere.provider = "";
    everywhere.score = 75;  // on one list
    book.standings = {here, everywhere};
    CHECK(book.standing("192.0.2.7", "google")->score == 75);
    CHECK(book.standing("192.0.2.7", "yahoo")->score == 75);
    book.standings[0].score = 60;
    CHECK(book.standing("192.0.2.7", "google")->score == 60);
    book.standings[1].standing = Standing::probation;
    CHECK(book.standing("192.0.2.7", "google")->standing == Standing::probation);
    book.standings[0].standing = Standing::drained;
    CHECK(book.standing("192.0.2.7", "google")->standing == Standing::drained);
}

TEST_CASE("standing: watched, drained, a rest, four steps of probation, healthy; a refusal on the way ends it") {
    Reputation one;
    one.source = "192.0.2.7";
    one.provider = "google";
    one.since = kNow;
    StandingFacts facts;
    facts.week = counts(200, 0, 100, 20);
    one = judge_standing(one, facts, kNow);
    CHECK(one.standing == Standing::watched);
    CHECK(one.why == "100 of 200 recipients in 7 days were put off as too fast");
    facts.day = counts(50, 20);
    one = judge_standing(one, facts, kNow);
    CHECK(one.standing == Standing::drained);
    CHECK(one.falls == 1);
    facts = StandingFacts();
    CHECK(judge_standing(one, facts, kNow + hours(23)).standing == Standing::drained);
    Time now = kNow + hours(24);
    one = judge_standing(one, facts, now);
    CHECK(one.standing == Standing::probation);
    CHECK(one.from_day == storage::day_of(kNow) + 1);

    Reputation again = one;
    StandingFacts refused;
    refused.fresh = counts(1, 1);
    again = judge_standing(again, refused, now + hours(1));
    CHECK(again.standing == Standing::drained);
    CHECK(again.falls == 2);
    CHECK(judge_standing(again, facts, now + hours(48)).standing == Standing::drained);
    CHECK(judge_standing(again, facts, now + hours(49)).standing == Standing::probation);

    facts.fresh_clean = kStepClean;
    for (std::uint32_t step = 0; step + 1 < storage::kProbationPercent.size(); ++step) {
        CHECK(one.step == step);
        CHECK(judge_standing(one, StandingFacts(), now + hours(100)).step == step);  // nothing was sent: no proof
        now += hours(6);
        one = judge_standing(one, facts, now);
    }
    CHECK(one.step == 3);
    one = judge_standing(one, facts, now + hours(6));
    CHECK(one.standing == Standing::probation);
    one = judge_standing(one, facts, now + hours(24));
    CHECK(one.standing == Standing::healthy);
    CHECK(one.falls == 0);
}

TEST_CASE("standing: two lists or Spamhaus drain everywhere, one list does not; by hand stays by hand") {
    Reputation one;
    one.since = kNow;
    StandingFacts facts;
    facts.lists = {"bl.spamcop.net"};
    CHECK(judge_standing(one, facts, kNow).standing == Standing::healthy);
    CHECK(judge_standing(one, facts, kNow).score == 75);
    facts.lists = {"bl.spamcop.net", "bl.blocklist.de"};
    CHECK(judge_standing(one, facts, kNow).standing == Standing::drained);
    facts.lists = {"zen.spamhaus.org"};
    facts.is_spamhaus = true;
    one = judge_standing(one, facts, kNow);
    CHECK(one.standing == Standing::drained);
    CHECK(one.why == "listed by zen.spamhaus.org");
    one = judge_standing(one, StandingFacts(), kNow + hours(1));
    CHECK(one.standing == Standing::probation);
    Reputation hand;
    hand.standing = Standing::drained;
    hand.by_hand = true;
    hand.since = kNow;
    CHECK(judge_standing(hand, StandingFacts(), kNow + hours(1000)).standing == Standing::drained);
}

TEST_CASE("different recipients are counted once, however often they are written to") {
    storage::Distinct few;
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 5; ++i) few.add("x" + std::to_string(i) + "@b.example");
    }
    CHECK(few.count() == 5);
    storage::Distinct many;
    for (int i = 0; i < 20'000; ++i) many.add("r" + std::to_string(i) + "@b.example");
    CHECK(many.count() > 17'500);
    CHECK(many.count() < 22'500);
    storage::Distinct both = storage::Distinct::of(few.octets());
    both.merge(few);
    CHECK(both.count() == 5);
    CHECK(storage::Distinct::of("short").is_empty());
}

}  // namespace posthouse::relay
