// Smarthosts are tried without mail: one that is dead, or whose password has run out, is known before it is needed.
#include "relay/way_check.h"

#include <algorithm>

#include "protocols/crypto/crypto.h"
#include "storage/incidents.h"
#include "storage/route_choice.h"
#include "tests/support/relay_house.h"
#include "tests/unit/relay/tls_house.h"

namespace posthouse::relay {
namespace {

constexpr std::uint16_t kPort = 587;

struct BackupHouse {
    test::ScriptedRemote backup;  // outlives the connections of the house
    TlsHouse house;

    BackupHouse() {
        house.with_tls(backup);
        backup.keywords_tls = {"8BITMIME", "AUTH PLAIN"};
        house.resolver.add_a("relay.example", "192.0.2.9");
        house.dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.9").value(), kPort),
                           [this](std::unique_ptr<net::Stream> stream) { return backup.serve(std::move(stream)); });
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::Way way = smarthost_way("backup", "smtp://house@relay.example:587");
            way.sealed_secret = crypto::seal(house.store->sealing_key(), "route", "bridge");
            return add_relay_to(tx, "direct,backup", way);
        }));
    }
    std::optional<storage::Memory> found() {
        const auto all = house.store->read([](const storage::Snapshot& s) { return storage::RouteView(s).memory(); });
        std::optional<storage::Memory> out;
        for (const storage::Memory& one : all.value()) {
            CHECK(one.way == "backup");
            if (one.site == storage::kCheckSite) out = one;
        }
        return out;
    }
    std::vector<storage::Incident> incidents() {
        return house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
    }
    void days(int count) {
        for (int i = 0; i < count * 27; ++i) house.settle_after(std::chrono::hours(1));
    }
};

}  // namespace

TEST_CASE("a backup that carries nothing is logged in to once a day; its dead password is an incident at once") {
    BackupHouse b;
    b.house.open();
    b.house.settle();
    CHECK(b.backup.connections == 0);  // it has had no day yet
    b.days(1);
    CHECK(b.backup.connections == 1);
    CHECK(b.backup.count("AUTH") == 1);
    CHECK(b.backup.count("MAIL") == 0);
    CHECK(b.incidents().empty());
    REQUIRE(b.found());
    CHECK(b.house.clock.now() - b.found()->since < std::chrono::hours(4));
    const Time good = b.found()->since;

    b.backup.always("AUTH", "535 5.7.8 Authentication failed");
    b.days(1);
    const auto open = b.incidents();
    REQUIRE(open.size() == 1);
    CHECK(open[0].key.kind == storage::IncidentKind::credentials);
    CHECK(open[0].key.way == "backup");
    CHECK(open[0].reply.contains("535 5.7.8"));
    CHECK(b.found()->since == good);  // when it last was good
    CHECK(b.found()->tries >= 1);

    b.backup.always("AUTH", "235 2.7.0 in");
    b.days(1);
    CHECK(b.incidents().empty());
    CHECK(b.found()->tries == 0);
    CHECK(b.found()->since > good);
}

TEST_CASE("what cannot be reached is told by way list, and is no incident; 0 hours is never") {
    BackupHouse b;
    b.backup.always("(greeting)", std::string(test::kHangUp));
    b.house.open();
    SUBCASE("tried") {
        b.days(1);  // a day and a tenth of it, an hour until it is looked at, and that may be the second one
        for (int i = 0; i < 4; ++i) b.house.settle_after(std::chrono::hours(1));
        CHECK(b.backup.connections >= 1);
        CHECK(b.incidents().empty());
        CHECK(b.found()->tries >= 1);
        CHECK(b.found()->reply.contains("before the greeting"));
    }
    SUBCASE("never") {
        REQUIRE(
            b.house.store->write({}, [](storage::Tx& tx) { return tx.catalog().set_setting("way.check_hours", "0"); }));
        b.days(2);
        CHECK(b.backup.connections == 0);
    }
}

TEST_CASE("a way that carries mail needs no trying") {
    BackupHouse b;
    REQUIRE(b.house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        storage::Route route;
        route.name = "first";
        route.priority = 1;
        TRY(route.steps, storage::parse_steps("backup"));
        return routes.add_route(route);
    }));
    b.house.open();
    for (int i = 0; i < 60; ++i) {
        if (i % 10 == 0) b.house.submit("bob@b.example");
        b.house.settle_after(std::chrono::hours(1));
    }
    CHECK(b.backup.messages.size() == 6);
    CHECK(b.backup.connections == 6);
}

// "plain" has no login, and stands first.
struct Plain {
    test::ScriptedRemote plain;  // outlives the connections of the house
};
struct FirstHouse : Plain, BackupHouse {
    FirstHouse() {
        house.dialer.serve(net::Endpoint(net::IpAddress::parse("10.0.0.9").value(), 25),
                           [this](std::unique_ptr<net::Stream> stream) { return plain.serve(std::move(stream)); });
        REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            TRY_VOID(routes.add_way(smarthost_way("plain")));
            storage::Route route;
            route.name = "first";
            route.priority = 1;
            TRY(route.steps, storage::parse_steps("plain,backup"));
            return routes.add_route(route);
        }));
    }
    void rounds(int count) {
        for (int i = 0; i < count; ++i) house.settle_after(kCheckRound);
    }
    std::string choice() {
        storage::ChoiceInput input;
        input.now = house.clock.now();
        input.mail = storage::MailFacts("alice@home.example", "bob@b.example");
        const auto picture = house.store->read(
            [&](const storage::Snapshot& s) { return storage::RouteView(s).picture(storage::day_number(input.now)); });
        return storage::choose_way(picture.value(), input).way.name;
    }
};

TEST_CASE("a way that a check finds dead is passed over before mail has to find out, and taken once it is well") {
    FirstHouse f;
    f.plain.always("(greeting)", std::string(test::kHangUp));
    f.house.open();
    CHECK(f.choice() == "plain");
    for (int i = 0; i < 28; ++i) f.house.settle_after(std::chrono::hours(1));
    REQUIRE(f.plain.connections >= 1);
    CHECK(f.choice() == "backup");
    const std::size_t before = f.plain.connections;
    f.house.submit("bob@b.example");
    f.house.settle();
    CHECK(f.plain.connections == before);
    CHECK(f.backup.messages.size() == 1);

    // Every round, and in between no message tries it.
    f.rounds(3);
    CHECK(f.plain.connections == before + 3);
    CHECK(f.choice() == "backup");
    f.house.submit("bob@b.example");
    f.house.settle();
    CHECK(f.plain.connections == before + 3);
    CHECK(f.incidents().empty());

    f.plain.always("(greeting)", "220 remote.test ESMTP");
    f.rounds(1);
    CHECK(f.plain.messages.empty());
    CHECK(f.choice() == "plain");
    f.house.submit("bob@b.example");
    f.house.settle();
    CHECK(f.plain.messages.size() == 1);
    CHECK(f.backup.messages.size() == 2);
}

TEST_CASE("what mail finds dead is looked at in the next rounds, so that no other message has to") {
    FirstHouse f;
    f.house.open();
    f.house.submit("bob@b.example");
    f.house.settle();
    f.rounds(1);
    REQUIRE(f.plain.messages.size() == 1);
    f.plain.always("(greeting)", std::string(test::kHangUp));
    f.house.submit("bob@b.example");
    f.house.settle();
    CHECK(f.backup.messages.size() == 1);
    const std::size_t before = f.plain.connections;
    f.rounds(2);
    CHECK(f.plain.connections >= before + 1);
    CHECK(f.choice() == "backup");
    f.plain.always("(greeting)", "220 remote.test ESMTP");
    f.rounds(1);
    CHECK(f.choice() == "plain");
    // Found well once, it is left alone.
    const std::size_t found = f.plain.connections;
    f.rounds(12);
    CHECK(f.plain.connections == found);
}

TEST_CASE("a check that is told \"not now\" stops no mail, and nothing waits for the sake of a check") {
    FirstHouse f;
    f.house.open();
    SUBCASE("too many connections, said to a check") {
        f.plain.always("(greeting)", "421 4.7.0 Too many concurrent connections; try again in 3600 seconds");
        for (int i = 0; i < 28; ++i) f.house.settle_after(std::chrono::hours(1));
        REQUIRE(f.plain.connections >= 1);
        CHECK(f.choice() == "plain");
        f.plain.always("(greeting)", "220 remote.test ESMTP");
        f.house.submit("bob@b.example");
        f.house.settle();
        CHECK(f.plain.messages.size() == 1);
    }
    SUBCASE("both are dead by the checks: the first takes mail as soon as it can") {
        f.plain.always("(greeting)", std::string(test::kHangUp));
        f.backup.always("(greeting)", std::string(test::kHangUp));
        for (int i = 0; i < 28; ++i) f.house.settle_after(std::chrono::hours(1));
        f.plain.always("(greeting)", "220 remote.test ESMTP");
        f.house.submit("bob@b.example");
        f.house.settle();
        CHECK(f.plain.messages.size() == 1);
        // And that it took one is news: it is not passed over for the check's sake any more.
        CHECK(f.choice() == "plain");
    }
}

TEST_CASE("what mail meets behind the greeting is not forgotten for a good check, and its incident does not flap") {
    FirstHouse f;
    f.house.open();
    f.plain.always("MAIL", "530 5.7.0 Authentication required");
    f.house.submit("bob@b.example");
    f.house.settle();
    CHECK(f.backup.messages.size() == 1);
    REQUIRE(f.incidents().size() == 1);
    const auto id = f.incidents()[0].id;
    const std::size_t before = f.plain.connections;
    f.rounds(6);
    CHECK(f.plain.connections == before);  // an incident says why: nothing is to be found out
    REQUIRE(f.incidents().size() == 1);
    CHECK(f.incidents()[0].id == id);
    CHECK(f.incidents()[0].cleared_why.empty());  // one that comes back keeps its number
}

TEST_CASE("what a service says behind a login that it takes is not over for a good login") {
    BackupHouse b;
    REQUIRE(b.house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::Route route;
        route.name = "first";
        route.priority = 1;
        TRY(route.steps, storage::parse_steps("backup"));
        return storage::RouteTx(tx).add_route(route);
    }));
    b.house.open();
    b.backup.always("MAIL", "530 5.7.57 Client not authenticated to send mail");
    b.house.submit("bob@b.example");
    b.house.settle();
    REQUIRE(b.incidents().size() == 1);
    const auto id = b.incidents()[0].id;
    const std::size_t before = b.backup.count("AUTH");
    b.days(2);
    CHECK(b.backup.count("AUTH") > before);
    REQUIRE(b.incidents().size() == 1);
    CHECK(b.incidents()[0].id == id);
    CHECK(b.incidents()[0].cleared_why.empty());
}

TEST_CASE("a way that is changed while it is tried is not judged by what it was") {
    FirstHouse f;
    f.house.open();
    f.plain.always("(greeting)", std::string(test::kHangUp));
    bool changed = false;
    f.house.dialer.serve(
        net::Endpoint(net::IpAddress::parse("10.0.0.9").value(), 25), [&](std::unique_ptr<net::Stream> stream) {
            if (!changed) {
                storage::Way other = smarthost_way("plain", "smtp+plain://10.0.0.8:25");
                REQUIRE(f.house.store->write({}, [&](storage::Tx& tx) { return storage::RouteTx(tx).set_way(other); }));
                changed = true;
            }
            return f.plain.serve(std::move(stream));
        });
    for (int i = 0; i < 28 && !changed; ++i) f.house.settle_after(std::chrono::hours(1));
    REQUIRE(changed);
    CHECK(f.choice() == "plain");
}

TEST_CASE("when a way was last good stays known while it carries mail that is counted") {
    FirstHouse f;
    REQUIRE(f.house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::Way way = smarthost_way("plain");
        way.limits.day_max = 1000;
        return storage::RouteTx(tx).set_way(way);
    }));
    const auto knows = [&] {
        const auto all = f.house.store->read([](const storage::Snapshot& s) { return storage::RouteView(s).memory(); });
        return std::ranges::any_of(all.value(), [](const storage::Memory& one) {
            return one.way == "plain" && one.site == storage::kCheckSite && one.since != Time{};
        });
    };
    f.house.open();
    f.house.submit("bob@b.example");
    f.house.settle();
    f.rounds(1);
    CHECK(knows());
    f.house.submit("bob@b.example");
    f.house.settle();
    CHECK(f.plain.messages.size() == 2);
    CHECK(knows());
}

TEST_CASE("a login that is refused is asked for every hour, not every round") {
    BackupHouse b;
    b.backup.always("AUTH", "535 5.7.8 Authentication failed");
    b.house.open();
    b.days(1);
    REQUIRE(b.incidents().size() == 1);
    for (int i = 0; i < 7; ++i) b.house.settle_after(kCheckRound);  // until the next one is over
    const std::size_t before = b.backup.count("AUTH");
    for (int i = 0; i < 24; ++i) b.house.settle_after(kCheckRound);
    CHECK(b.backup.count("AUTH") <= before + 4);
    CHECK(b.backup.count("AUTH") >= before + 3);
}

}  // namespace posthouse::relay
