// IPv4 or IPv6: an address of a pool dials its own family alone; where a site refuses us over IPv6, IPv4 takes the mail
// from then on, over a restart too.
#include "relay/family.h"

#include "storage/routes.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {

namespace {
struct Others {
    test::ScriptedRemote over_v6;
    test::ScriptedRemote over_v4;
};
struct TwoFamilies : Others, House {
    TwoFamilies() {
        over_v6.keywords = over_v4.keywords = {"8BITMIME"};
        resolver.add_mx("c.example", 10, "mx.c.example");
        resolver.add_a("mx.c.example", "192.0.2.3");
        resolver.add_a("mx.c.example", "2001:db8::3");
        serve("2001:db8::3", over_v6);
    }
};
}  // namespace

TEST_CASE("refused over IPv6 for want of a reverse name: IPv4 from then on, at once and after a restart") {
    TwoFamilies house;
    house.over_v6.always("RCPT", "550 5.7.25 The IP address sending this message does not have a PTR record setup");
    const auto id = house.submit({"bob@c.example"});  // nobody answers over IPv4 yet
    house.settle();
    CHECK(house.over_v6.count("RCPT") == 1);
    CHECK(house.events(id, EventKind::bounced) == 0);
    CHECK(house.events(id, EventKind::held) == 0);
    house.serve("192.0.2.3", house.over_v4);
    house.restart();
    house.settle_after(std::chrono::minutes(40));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.over_v4.messages.size() == 1);
    CHECK(house.over_v6.count("RCPT") == 1);
    const auto memory = house.store->read([](const storage::Snapshot& s) { return storage::RouteView(s).memory(); });
    REQUIRE(memory);
    REQUIRE(memory->size() == 1);
    CHECK(memory->front().source == kIpv6);
    CHECK(memory->front().site == "mx.c.example ");
}

TEST_CASE("an address of a pool dials its own family; where a site has none, the other address takes the mail") {
    TwoFamilies house;
    house.remote.keywords = {"8BITMIME"};
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        TRY_VOID(tx.catalog().set_setting("dnsbl.lists", "none"));
        for (const std::string_view address : {"192.0.2.70", "2001:db8::70"}) {
            storage::SourceAddress one;
            one.address = address;
            one.pool = "p";
            TRY_VOID(routes.add_address(one));
        }
        storage::Way way;
        way.name = "pool";
        way.pool = "p";
        TRY_VOID(routes.add_way(way));
        storage::Route route;
        route.name = "all";
        TRY(route.steps, storage::parse_steps("pool"));
        return routes.add_route(route);
    }));
    for (int i = 0; i < 4; ++i) house.submit({"x" + std::to_string(i) + "@b.example"});  // IPv4 alone
    house.settle();
    CHECK(house.remote.messages.size() == 4);
    for (int i = 0; i < 4; ++i) house.submit({"x" + std::to_string(i) + "@c.example"});
    house.serve("192.0.2.3", house.over_v4);
    house.settle();
    CHECK(house.over_v4.messages.size() == 2);
    CHECK(house.over_v6.messages.size() == 2);
}

TEST_CASE("the family of a remote is read from its name") {
    CHECK(is_over_ipv6("mx.b.example [2001:db8::1]"));
    CHECK_FALSE(is_over_ipv6("mx.b.example [192.0.2.1]"));
    CHECK_FALSE(is_over_ipv6(""));
}

}  // namespace posthouse::relay
