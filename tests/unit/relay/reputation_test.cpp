// The closed loop of reputation: the score and the standings as pure rules, then whole houses under a turned clock.
#include "relay/reputation.h"

#include <algorithm>
#include <set>

#include "storage/routes.h"
#include "storage/transport.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::Reputation;
using storage::Standing;

constexpr std::string_view kBlocked =
    "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org";
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

int score(const StandingFacts& facts) {
    std::string why;
    return score_of(facts, why);
}

}  // namespace

TEST_CASE("score: shares of different recipients, the worst window, nothing below the least volume") {
    StandingFacts facts;
    CHECK(score(facts) == 100);
    facts.day = counts(10, 2);
    CHECK(score(facts) == 100);  // two of ten: too few to say
    facts.day = counts(10, 3);
    CHECK(score(facts) == 40);  // three refusals speak whatever the volume
    facts.day = counts(1000, 20);
    CHECK(score(facts) == 88);
    facts.day = counts(1000, 100);
    CHECK(score(facts) == 40);
    facts.day = Counts();
    facts.week = counts(99, 0, 99);
    CHECK(score(facts) == 100);
    facts.week = counts(100, 0, 50);
    CHECK(score(facts) == 80);
    facts.month = counts(1000, 0, 0, 100);
    CHECK(score(facts) == 80);
    facts.month = counts(1000, 0, 0, 0, 3);
    CHECK(score(facts) == 70);
    facts.month = counts(150, 0, 0, 0, 3);
    CHECK(score(facts) == 80);  // complaints of so few say nothing
    facts.lists = {"bl.spamcop.net"};
    CHECK(score(facts) == 55);
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

namespace {

// Several sites of one provider's mail servers, which note from where they were written to.
struct Remotes {
    std::map<std::string, test::ScriptedRemote> google;  ///< by our address
    test::ScriptedRemote smarthost;
};

struct PoolHouse : Remotes, House {
    explicit PoolHouse(std::vector<std::string> addresses, std::string_view steps = "pool", bool warm_up = false) {
        smarthost.keywords = {"8BITMIME"};
        resolver.add_mx("gmail.test", 5, "gmail-smtp-in.l.google.com");
        resolver.add_a("gmail-smtp-in.l.google.com", "192.0.2.50");
        dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.50").value(), 25),
                     [this](std::unique_ptr<net::Stream> stream) {
                         const std::string whom = stream->peer().address.to_string();
                         return google[whom].serve(std::move(stream));
                     });
        for (const std::string& address : addresses) google[address].keywords = {"8BITMIME"};
        serve("10.0.0.9", smarthost);
        for (const std::string& address : addresses) known_names(address);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            TRY_VOID(tx.catalog().set_setting("dnsbl.lists", "one.list.example two.list.example"));
            for (const std::string& address : addresses) {
                storage::SourceAddress one;
                one.address = address;
                one.pool = "p";
                if (warm_up && &address == &addresses.front()) one.warm_since = tx.now();
                TRY_VOID(routes.add_address(one));
            }
            storage::Way way;
            way.name = "pool";
            way.pool = "p";
            TRY_VOID(routes.add_way(way));
            way = storage::Way();
            way.name = "relay";
            way.kind = storage::WayKind::smarthost;
            way.url = "smtp+plain://10.0.0.9:25";
            TRY_VOID(routes.add_way(way));
            storage::Route route;
            route.name = "all";
            TRY(route.steps, storage::parse_steps(steps));
            return routes.add_route(route);
        }));
        for (const std::string_view list : {"one.list.example", "two.list.example"}) {
            resolver.add_a("2.0.0.127." + std::string(list), "127.0.0.2");
        }
    }
    // As the house is: their reverse names are right.
    void known_names(const std::string& address) {
        const std::string name = "mail" + address.substr(address.rfind('.')) + ".home.example";
        resolver.add_ptr(address, name);
        resolver.add_a(name, address);
    }
    std::size_t from(const std::string& address) { return google[address].messages.size(); }
    std::size_t at_google() const {
        std::size_t sum = 0;
        for (const auto& [address, remote] : google) sum += remote.messages.size();
        return sum;
    }
    storage::AddressBook book() {
        return store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).book(); }).value();
    }
    Standing standing(const std::string& source, std::string_view provider) {
        const storage::AddressBook all = book();
        const Reputation* const one = all.find(source, provider);
        return one == nullptr ? Standing::healthy : one->standing;
    }
    std::vector<storage::Incident> incidents() {
        return store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).list(true, 100); }).value();
    }
    std::size_t inbox_with(std::string_view text) {
        std::size_t count = 0;
        for (const std::string& mail : inbox()) count += mail.contains(text) ? 1 : 0;
        return count;
    }
    void send(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) submit({"r" + std::to_string(number_++) + "@gmail.test"});
        settle();
    }
    std::size_t sent() const { return number_; }
    std::size_t taken() const { return at_google() + smarthost.messages.size(); }
    void turn(Milliseconds span) {
        settle_after(span);
        settle_after(std::chrono::seconds(12));
        settle_after(std::chrono::seconds(12));
    }

 private:
    std::size_t number_ = 0;
};

}  // namespace

TEST_CASE("listed, drained everywhere, its mail shifts; the listing ends, probation brings it back in steps") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"});
    house.turn(minutes(1));
    house.send(20);
    CHECK(house.from("192.0.2.7") == 10);
    CHECK(house.from("192.0.2.8") == 10);

    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.0.0.3");
    house.turn(minutes(70));
    CHECK(house.standing("192.0.2.7", "") == Standing::drained);
    const std::size_t before = house.from("192.0.2.7");
    for (int hour = 0; hour < 10; ++hour) {
        house.send(10);
        house.turn(hours(1));
    }
    CHECK(house.from("192.0.2.7") == before);  // none from a drained address
    CHECK(house.taken() == house.sent());      // and none lost
    CHECK(house.inbox_with("Subject: Incident 1: 192.0.2.7 is listed by") == 1);
    CHECK(house.inbox_with("192.0.2.7 is drained everywhere") == 1);

    house.resolver.clear_a("7.2.0.192.one.list.example");
    house.resolver.clear_a("7.2.0.192.two.list.example");
    house.turn(minutes(70));
    CHECK(house.standing("192.0.2.7", "") == Standing::probation);
    struct Share {
        std::size_t its = 0;
        std::size_t all = 0;
    };
    std::map<std::uint32_t, Share> steps;
    for (int hour = 0; hour < 200 && house.standing("192.0.2.7", "") == Standing::probation; ++hour) {
        const storage::AddressBook book = house.book();
        Share& share = steps[book.find("192.0.2.7", "")->step];
        const std::size_t its = house.from("192.0.2.7");
        const std::size_t all = house.at_google();
        house.send(60);
        share.its += house.from("192.0.2.7") - its;
        share.all += house.at_google() - all;
        house.turn(hours(1));
    }
    // 1, 5, 25 and 100 % of what it would take as one of two: half of the mail.
    REQUIRE(steps.size() == 4);
    const auto percent = [&](std::uint32_t step) {
        return steps[step].its * 200 / std::max<std::size_t>(steps[step].all, 1);
    };
    CAPTURE(percent(0));
    CAPTURE(percent(1));
    CAPTURE(percent(2));
    CAPTURE(percent(3));
    CHECK(percent(0) <= 4);
    CHECK(percent(1) >= 2);
    CHECK(percent(1) <= 10);
    CHECK(percent(2) >= 15);
    CHECK(percent(2) <= 35);
    CHECK(percent(3) >= 80);
    CHECK(house.standing("192.0.2.7", "") == Standing::healthy);
    CHECK(house.taken() == house.sent());
    CHECK(house.waiting() == 0);
    for (const storage::Incident& one : house.incidents()) CHECK_FALSE(one.open);
    CHECK(house.incidents().size() == 3);  // two lists, one address
    house.turn(minutes(1));
    CHECK(house.inbox_with("is drained everywhere") == 2);  // its beginning and its end
    CHECK(house.inbox_with("Subject: Incident") == 6);
}

TEST_CASE("refused at one provider: drained there alone, the other address takes its mail") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"});
    house.turn(minutes(1));
    auto& refusing = house.google["192.0.2.7"];
    refusing.always("RCPT", std::string(kBlocked));
    // The first refusal makes it rest for a day; a try a day, and on the third it is drained.
    for (int day = 0; day < 3; ++day) {
        CHECK(house.standing("192.0.2.7", "google") == Standing::healthy);
        house.send(8);
        house.turn(hours(25));
    }
    CHECK(house.standing("192.0.2.7", "google") == Standing::drained);
    CHECK(house.standing("192.0.2.7", "other") == Standing::healthy);
    CHECK(house.from("192.0.2.8") == house.sent());
    const std::size_t tries = refusing.count("RCPT");
    CHECK(tries == kBlockedAlone);
    for (int hour = 0; hour < 22; ++hour) {
        house.send(5);
        house.turn(hours(1));
    }
    CHECK(refusing.count("RCPT") == tries);  // not one more
    refusing.always("RCPT", "250 2.1.5 ok");
    for (int hour = 0; hour < 100 && house.standing("192.0.2.7", "google") != Standing::healthy; ++hour) {
        house.send(12);
        house.turn(hours(1));
    }
    CHECK(house.standing("192.0.2.7", "google") == Standing::healthy);
    CHECK(house.taken() == house.sent());
    CHECK(house.waiting() == 0);
    for (const storage::Incident& one : house.incidents()) CHECK_FALSE(one.open);
}

TEST_CASE("the last address of a pool falls: its mail shifts to the smarthost, loudly") {
    PoolHouse house({"192.0.2.7"}, "pool,relay");
    house.turn(minutes(1));
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.0.0.2");
    house.turn(minutes(70));
    CHECK(house.standing("192.0.2.7", "") == Standing::drained);
    house.send(30);
    CHECK(house.smarthost.messages.size() == 30);
    CHECK(house.at_google() == 0);
    CHECK(house.inbox_with("There is no other address in pool p: mail takes the next way of its route") == 1);
}

TEST_CASE("the last address falls and there is no other way: a little at a time, loudly, and nothing is lost") {
    PoolHouse house({"192.0.2.7"});
    house.turn(minutes(1));
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.0.0.2");
    house.turn(minutes(70));
    house.send(10);
    CHECK(house.at_google() < 5);
    CHECK(house.waiting() > 5);
    for (int i = 0; i < 30; ++i) house.settle_after(std::chrono::seconds(30));
    CHECK(house.at_google() == 10);
    CHECK(house.inbox_with("goes slowly where the route names none") == 1);
}

TEST_CASE("drained by hand: what waits in a lane leaves by another address, and restore brings it back") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"});
    house.turn(minutes(1));
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        Reputation one;
        one.source = "192.0.2.7";
        one.provider = "google";
        return storage::drain_address(tx, one, "drained by hand");
    }));
    house.settle_after(std::chrono::seconds(12));
    house.send(10);
    CHECK(house.from("192.0.2.7") == 0);
    house.turn(hours(400));
    CHECK(house.standing("192.0.2.7", "google") == Standing::drained);
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY(const auto book, storage::ReputationView(tx).book());
        return storage::restore_address(tx, *book.find("192.0.2.7", "google"), "restored by hand");
    }));
    house.turn(minutes(1));
    house.send(10);
    CHECK(house.from("192.0.2.7") == 5);
}

TEST_CASE(
    "warm-up: a month of it follows good and bad days; what is too much leaves by the warm address, none is lost") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"}, "pool", /*warm_up=*/true);
    house.turn(minutes(1));
    const auto level = [&] {
        const storage::AddressBook book = house.book();
        const storage::WarmUp* const one = book.warm_up("192.0.2.7", "google");
        return one == nullptr ? 0U : storage::turn_day(*one, house.clock.now()).level;
    };
    std::uint32_t last = 0;
    for (int day = 0; day < 30; ++day) {
        CAPTURE(day);
        const std::size_t before = house.from("192.0.2.7");
        const std::uint64_t allowed = storage::warm_up_allowance(level());
        const bool is_bad = day == 2 || day == 3;
        const bool is_idle = day >= 4;
        if (is_bad) {
            house.google["192.0.2.7"].once("RCPT", "451 4.7.1 client host [192.0.2.7] blocked using zen.spamhaus.org");
        }
        if (!is_idle) house.send(2 * allowed + 10);
        const std::size_t by_it = house.from("192.0.2.7") - before;
        CHECK(by_it <= allowed);
        if (!is_bad && !is_idle) CHECK(by_it * 2 >= allowed);
        house.turn(hours(12));
        house.turn(hours(12));
        const std::uint32_t now = level();
        CHECK(now == last + (is_bad || is_idle ? 0 : 1));
        last = now;
    }
    CHECK(house.taken() == house.sent());
    CHECK(house.waiting() == 0);
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

TEST_CASE(
    "a month of warm-up follows good and bad days: clean ones that are used let it grow, bad and idle ones do not") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"}, "pool", /*warm_up=*/true);
    house.turn(minutes(1));
    // To the start of a day.
    house.turn(Milliseconds(86'400'000 - to_unix_ms(house.clock.now()) % 86'400'000));
    std::uint32_t level = 0;
    std::size_t number = 0;
    const auto warm = [&] {
        const storage::AddressBook book = house.book();
        const storage::WarmUp* const one = book.warm_up("192.0.2.7", "google");
        return one == nullptr ? storage::WarmUp() : storage::turn_day(*one, house.clock.now());
    };
    const std::string days = "ccbcibccbicbcciibcbcicbibicbii";  // clean, bad, idle
    REQUIRE(days.size() == 30);
    for (std::size_t day = 0; day < days.size(); ++day) {
        CAPTURE(day);
        const std::size_t allowance = storage::warm_up_allowance(level);
        CHECK(warm().level == level);
        const std::size_t before = house.google["192.0.2.7"].count("RCPT");
        auto& ours = house.google["192.0.2.7"];
        if (days[day] == 'b') ours.once("MAIL", "421 4.7.28 Too many messages from your address, slow down");
        // Its half of that is most of the hour's allowance; what is over goes by the other address.
        std::size_t left = days[day] == 'i' ? 0 : 2 * allowance + 10;
        while (left > 0) {
            std::vector<std::string> to;
            for (; left > 0 && to.size() < 50; --left) to.push_back("w" + std::to_string(number++) + "@gmail.test");
            house.submit(to);
            house.settle();
        }
        const std::size_t used = house.google["192.0.2.7"].count("RCPT") - before;
        CHECK(used <= allowance + 50);  // those of one transaction that was put off may be asked again
        for (int part = 0; part < 4; ++part) house.turn(hours(6) - std::chrono::seconds(24));
        if (days[day] == 'c' && used >= allowance / 2) ++level;
    }
    CHECK(level >= 9);
    CHECK(level < 15);
    CHECK(house.waiting() == 0);
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

TEST_CASE("a list that fails its test, or refuses our resolver, lists nobody; wrong reverse names are told") {
    PoolHouse house({"192.0.2.7"});
    house.resolver.add_a("1.0.0.127.one.list.example", "127.0.0.2");  // it lists everything
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.255.255.254");
    house.turn(minutes(1));
    auto checks =
        house.store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).checks(); }).value();
    REQUIRE(checks.size() == 3);
    CHECK(checks[0].list == "one.list.example");
    CHECK(checks[0].found == storage::AddressCheck::Found::unknown);
    CHECK(checks[0].detail.contains("lists everything"));
    CHECK(checks[1].list == "ptr");
    CHECK(checks[1].found == storage::AddressCheck::Found::clear);
    CHECK(checks[2].found == storage::AddressCheck::Found::unknown);
    CHECK(checks[2].detail.contains("127.255.255.254"));
    CHECK(house.incidents().empty());
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::SourceAddress one;
        one.address = "192.0.2.9";
        one.pool = "q";
        return storage::RouteTx(tx).add_address(one);
    }));
    house.turn(minutes(70));
    REQUIRE(house.incidents().size() == 1);
    CHECK(house.incidents()[0].reply.contains("no reverse name"));
    CHECK(storage::describe(house.incidents()[0]) == "the reverse DNS of 192.0.2.9 is wrong");
}

TEST_CASE("what receivers said in the minutes before a crash is in the score after it, once") {
    House house;
    house.settle_after(minutes(1));  // the first judgement, of nothing
    house.remote.always("RCPT TO:<gone", "550 5.1.1 No such user");
    std::vector<std::string> to;
    for (int i = 0; i < 12; ++i) to.push_back("gone" + std::to_string(i) + "@b.example");
    for (int i = 0; i < 8; ++i) to.push_back("there" + std::to_string(i) + "@b.example");
    house.submit(to);
    house.settle();
    const auto evidence = [&] {
        return house.store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).evidence(0); })
            .value();
    };
    CHECK(evidence().empty());  // it is in memory yet
    house.restart();
    house.settle_after(minutes(1));
    REQUIRE(evidence().size() == 1);
    CHECK(evidence().front().provider == "other");
    CHECK(evidence().front().tried.count() == 20);
    CHECK(evidence().front().bounced.count() == 12);
    CHECK(evidence().front().blocked.count() == 0);
    house.restart();
    house.settle_after(minutes(1));
    CHECK(evidence().front().tried.count() == 20);
}

}  // namespace posthouse::relay
