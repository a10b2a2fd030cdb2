// The closed loop of reputation: whole houses under a turned clock (the rules alone: standing_test.cpp).
#include "relay/reputation.h"

#include <algorithm>
#include <map>

#include "tests/unit/relay/pool_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::Reputation;
using storage::Standing;

constexpr std::string_view kBlocked =
    "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org";

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
    std::map<std::uint32_t, std::size_t> shares;  // of 400 messages by it, by step of the probation
    for (int hour = 0; hour < 200 && house.standing("192.0.2.7", "") == Standing::probation; ++hour) {
        const storage::AddressBook book = house.book();
        const std::uint32_t step = book.find("192.0.2.7", "")->step;
        if (!shares.contains(step)) {
            const std::size_t by_it = house.from("192.0.2.7");
            house.send(400);
            shares[step] = house.from("192.0.2.7") - by_it;
        }
        house.send(12);
        house.turn(hours(1));
    }
    REQUIRE(shares.size() == 4);
    CHECK(shares[0] >= 1);  // 1 %, and one that is due
    CHECK(shares[0] <= 12);
    CHECK(shares[1] >= 8);  // 5 %
    CHECK(shares[1] <= 36);
    CHECK(shares[2] >= 70);  // 25 %
    CHECK(shares[2] <= 135);
    CHECK(shares[3] >= 165);  // all of its share: half
    CHECK(shares[3] <= 235);
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

TEST_CASE("among the many that are judged together one stranger does not speak for all, however many he is") {
    test::ScriptedRemote mallory;
    PoolHouse house({"192.0.2.7"});
    mallory.always("RCPT", "450 4.7.1 client host [192.0.2.7] blocked using zen.spamhaus.org");
    const auto refuse_at = [&](int number, const std::string& address) {
        const std::string domain = "d" + std::to_string(number) + ".example";
        house.resolver.add_mx(domain, 10, "mx." + domain);
        house.resolver.add_a("mx." + domain, address);
        house.serve(address, mallory);
        house.submit({"a@" + domain, "b@" + domain, "c@" + domain, "d@" + domain, "e@" + domain});
    };
    house.turn(minutes(1));
    for (int i = 0; i < 6; ++i) refuse_at(i, "198.51.100." + std::to_string(10 + i));
    house.settle();
    house.turn(minutes(30));
    REQUIRE(mallory.count("RCPT") >= 30);
    CHECK(house.standing("192.0.2.7", "other") != Standing::drained);

    for (int i = 6; i < 12; ++i) refuse_at(i, "203.0." + std::to_string(100 + i) + ".1");
    house.settle();
    house.turn(minutes(30));
    CHECK(house.standing("192.0.2.7", "other") == Standing::drained);
}

TEST_CASE("on probation everywhere the first refusal, by whomever, ends it") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"});
    house.turn(minutes(1));
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.0.0.3");
    house.turn(minutes(70));
    house.resolver.clear_a("7.2.0.192.one.list.example");
    house.resolver.clear_a("7.2.0.192.two.list.example");
    house.turn(minutes(70));
    REQUIRE(house.standing("192.0.2.7", "") == Standing::probation);
    house.google["192.0.2.7"].once("RCPT", std::string(kBlocked));
    house.send(12);  // one is due by it
    house.turn(minutes(1));
    CHECK(house.standing("192.0.2.7", "") == Standing::drained);
    house.turn(hours(46));
    CHECK(house.standing("192.0.2.7", "") == Standing::drained);
    house.turn(hours(3));
    CHECK(house.standing("192.0.2.7", "") == Standing::probation);
    CHECK(house.taken() == house.sent());
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
    CHECK(evidence().front().bounced.count() >= 11);  // a sketch: of a dozen two may be taken for one
    CHECK(evidence().front().bounced.count() <= 13);
    CHECK(evidence().front().blocked.count() == 0);
    house.restart();
    house.settle_after(minutes(1));
    CHECK(evidence().front().tried.count() == 20);
}

}  // namespace posthouse::relay
