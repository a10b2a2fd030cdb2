// What "there is no such user" is worth of somebody who took mail before: two days apart it is believed; of many at
// once it is the directory that is out of order.
#include "storage/takers.h"

#include <doctest/doctest.h>
#include <fmt/format.h>


#include "storage/incidents.h"
#include "storage/suppression.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

constexpr std::chrono::hours kDay{24};
using std::chrono::hours;
using std::chrono::minutes;

struct House {
    test::TurnedClock clock;
    test::TempStore store{[this](StoreOptions& o) { o.clock = &clock; }};
    std::string site = "b.example";
    UnknownWorth worth = UnknownWorth::doubted;  ///< of the last that was refused

    void took(std::string_view address) {
        REQUIRE(store->write({}, [&](Tx& tx) { return TakerTx(tx).took(site, address); }));
    }
    /// As the relay does: suppressed where it is believed.
    bool refused(const std::string& address) {
        return store
            ->write_value({},
                          [&](Tx& tx) -> Result<bool> {
                              const UnknownSaid said(site, "home.example", address, "550 5.1.1 unknown", "mx");
                              TRY(const UnknownFound found, TakerTx(tx).note(said));
                              worth = found.worth;
                              if (found.worth != UnknownWorth::believed) return false;
                              const SuppressionProof proof(SuppressionReason::recipient_unknown, said.reply, "mx");
                              TRY_VOID(SuppressionTx(tx).add(said.scope, address, proof));
                              return true;
                          })
            .value();
    }
    bool is_suppressed(const std::string& address) {
        const std::vector<std::string> scopes{"home.example"};
        const std::vector<std::string> addresses{address};
        return !store->read([&](const Snapshot& s) { return SuppressionView(s).find(scopes, addresses, clock.now()); })
                    .value()
                    .empty();
    }
    void watch() {
        REQUIRE(store->write({}, [](Tx& tx) { return TakerTx(tx).watch(); }));
    }
    std::vector<Incident> incidents() {
        return store->read([](const Snapshot& s) { return IncidentView(s).list(true, 100); }).value();
    }
    static std::string user(int i) { return fmt::format("user{}@b.example", i); }
};

}  // namespace

TEST_CASE("a stranger is believed to be unknown at once; who took mail before when it is said a day later again") {
    House house;
    CHECK(house.refused("nobody@b.example"));
    house.took("Bob@b.example");
    house.clock.advance(hours(1));
    CHECK_FALSE(house.refused("bob@B.example"));
    house.clock.advance(hours(23));
    CHECK_FALSE(house.refused("bob@b.example"));
    house.clock.advance(hours(1));
    CHECK(house.refused("bob@b.example"));  // 24 h after the first
    // After the term one word is enough: nothing arrived between.
    house.clock.advance(8 * kDay);
    CHECK(house.refused("bob@b.example"));
}

TEST_CASE("a delivery between makes the first refusal void; what was taken half a year ago says nothing any more") {
    House house;
    house.took("bob@b.example");
    CHECK_FALSE(house.refused("bob@b.example"));
    house.clock.advance(kDay);
    house.took("bob@b.example");
    house.clock.advance(kDay);
    CHECK_FALSE(house.refused("bob@b.example"));
    house.took("carol@b.example");
    house.clock.advance((kTakerDays + 1) * kDay);
    CHECK(house.refused("carol@b.example"));
}

TEST_CASE("many at once who took mail before: nobody is suppressed, also of what came before it was seen; told once") {
    House house;
    for (int i = 0; i < 40; ++i) house.took(House::user(i));
    house.clock.advance(3 * kDay);
    CHECK_FALSE(house.refused(House::user(0)));  // rightly or not: its second is in the burst
    house.clock.advance(2 * kDay);
    CHECK(house.refused("new@b.example"));  // nobody knows yet
    CHECK(house.refused(House::user(0)));
    CHECK(house.is_suppressed("new@b.example"));
    for (int i = 1; i < 30; ++i) {
        house.clock.advance(minutes(1));
        CHECK_FALSE(house.refused(House::user(i)));
    }
    CHECK_FALSE(house.is_suppressed("new@b.example"));
    CHECK_FALSE(house.is_suppressed(House::user(0)));
    CHECK_FALSE(house.refused("newer@b.example"));
    REQUIRE(house.incidents().size() == 1);
    const Incident told = house.incidents().front();
    CHECK(told.key.kind == IncidentKind::directory);
    CHECK(describe(told) == "b.example does not know many who took mail before");
    CHECK(told.reply.contains("8 recipients that took mail before are unknown within an hour"));
    // A restart changes nothing.
    house.store.reopen();
    CHECK_FALSE(house.refused("newest@b.example"));

    house.clock.advance(kOutageCalm + hours(1));
    house.watch();
    REQUIRE(house.incidents().size() == 1);
    CHECK_FALSE(house.incidents().front().open);
    // What was said then is no first word either.
    house.clock.advance(2 * kDay);
    CHECK_FALSE(house.refused(House::user(7)));
    CHECK(house.refused("quite.new@b.example"));
}

TEST_CASE("some that left among many that are there, at a big provider, are no burst") {
    House house;
    house.site = "google";
    for (int i = 0; i < 100; ++i) house.took(fmt::format("u{}@gmail.example", i));
    house.clock.advance(3 * kDay);
    for (int i = 0; i < 100; ++i) {
        const std::string address = fmt::format("u{}@gmail.example", i);
        if (i % 8 == 0) {
            CHECK_FALSE(house.refused(address));
        } else {
            house.took(address);
        }
    }
    CHECK(house.incidents().empty());
    house.clock.advance(kDay);
    CHECK(house.refused("u0@gmail.example"));
}

TEST_CASE("an outage of more than a day does not make two days of it") {
    House house;
    for (int i = 0; i < 20; ++i) house.took(House::user(i));
    house.clock.advance(3 * kDay);
    for (int hour = 0; hour < 30; ++hour) {
        for (int i = 0; i < 20; ++i) static_cast<void>(house.refused(House::user(i)));
        house.clock.advance(hours(1));
        house.watch();
    }
    for (int i = 0; i < 20; ++i) CHECK_FALSE(house.is_suppressed(House::user(i)));
    REQUIRE(house.incidents().size() == 1);
    CHECK(house.incidents().front().open);
}
