// Ways, routes, addresses and what is remembered of them; the choice of a way; relay clients and their limits.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "protocols/base/clock.h"
#include "storage/relay_clients.h"
#include "storage/route_choice.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

Way smarthost(std::string name) {
    Way way;
    way.name = name;
    way.kind = WayKind::smarthost;
    way.url = "smtp://u@" + name + ".example:587";
    return way;
}

Route route(std::string name, std::string_view steps, std::int64_t priority = 100) {
    Route out;
    out.name = std::move(name);
    out.priority = priority;
    out.steps = parse_steps(steps).value();
    return out;
}

const Time kNow = from_unix_ms(1'764'000'000'000);

ChoiceInput input(std::string_view to = "bob@b.example", std::string_view site = "mx.b.example ") {
    ChoiceInput out;
    out.mail = MailFacts("alice@a.example", to);
    out.site = site;
    out.now = kNow;
    return out;
}

Memory refused(std::string way, std::string site, Time probe, std::string source = "") {
    Memory out;
    out.way = std::move(way);
    out.source = std::move(source);
    out.site = std::move(site);
    out.since = kNow - std::chrono::hours(1);
    out.probe = probe;
    out.tries = 1;
    out.reply = "550 5.7.1 blocked";
    return out;
}

}  // namespace

TEST_CASE("steps: ways in order, shared by weight") {
    struct Case {
        std::string_view text;
        std::string_view shown;  // "" where it must be refused
    };
    constexpr Case cases[] = {{"direct", "direct"},
                              {"direct,relay", "direct,relay"},
                              {"a*3+b, hold", "a*3+b*1,hold"},
                              {"", ""},
                              {"a,,b", ""},
                              {"a*0", ""},
                              {"a*1001", ""},
                              {"a b", ""},
                              {"smtp://x", ""}};
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto steps = parse_steps(c.text);
        CHECK(steps.has_value() == !c.shown.empty());
        if (steps) CHECK(format_steps(*steps) == c.shown);
    }
}

TEST_CASE("routes are kept with their conditions, in the order they are tried; their ways cannot go before them") {
    test::TempStore store;
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        RouteTx routes(tx);
        Way relay = smarthost("relay");
        relay.sealed_secret = std::string("\0\xff", 2);
        relay.limits.day_max = 200;
        relay.oauth.client_id = "app";
        TRY_VOID(routes.add_way(relay));
        TRY_VOID(routes.add_way(smarthost("late")));
        Route big = route("big", "relay", 50);
        big.sender = "Alice@A.example";
        big.provider = "google";
        big.octets_min = 1000;
        big.octets_max = 2000;
        big.mail_class = 2;
        big.client = "nas";
        TRY_VOID(routes.add_route(route("late", "late")));
        TRY_VOID(routes.add_route(big));
        return {};
    }));
    const auto picture = store->read([](const Snapshot& s) { return RouteView(s).picture(0); }).value();
    REQUIRE(picture.routes.size() == 2);
    CHECK(picture.routes[0].name == "big");
    CHECK(picture.routes[0].sender == "alice@a.example");
    CHECK(picture.routes[0].octets_max == 2000);
    CHECK(picture.routes[0].mail_class == 2);
    CHECK(picture.routes[1].name == "late");
    CHECK_FALSE(picture.routes[1].mail_class.has_value());
    const auto relay = find_way(picture.ways, "relay");
    REQUIRE(relay.has_value());
    CHECK(relay->sealed_secret == std::string("\0\xff", 2));
    CHECK(relay->limits.day_max == 200);
    CHECK(relay->oauth.client_id == "app");
    const auto change = [&](auto what) {
        return store->write({}, [&](Tx& tx) -> Result<> {
            RouteTx routes(tx);
            return what(routes);
        });
    };
    CHECK(change([](RouteTx& r) { return r.remove_way("relay"); }).error().code == Errc::conflict);
    CHECK(change([](RouteTx& r) { return r.add_route(route("x", "nowhere")); }).error().code == Errc::not_found);
    CHECK(change([](RouteTx& r) { return r.add_way(smarthost("direct")); }).error().code == Errc::invalid);
    CHECK(change([](RouteTx& r) { return r.add_way(smarthost("relay")); }).error().code == Errc::already_exists);
    CHECK(change([](RouteTx& r) { return r.remove_route("late"); }));
    // The way that was made with its route goes with it; one of another name stays.
    const auto ways = store->read([](const Snapshot& s) { return RouteView(s).ways(); }).value();
    REQUIRE(ways.size() == 1);
    CHECK(ways[0].name == "relay");
}

TEST_CASE("the first route whose every condition holds counts") {
    std::vector<Route> routes{route("own", "direct", 1),  route("big", "direct", 2), route("news", "direct", 3),
                              route("m365", "direct", 4), route("sub", "direct", 5), route("all", "direct", 6)};
    routes[0].sender = "boss@a.example";
    routes[1].octets_min = 1000;
    routes[2].mail_class = 2;
    routes[2].client = "shop";
    routes[3].provider = "microsoft";
    routes[4].recipient = "*.big.example";
    const auto name = [&](MailFacts mail) { return match_route(routes, mail)->name; };
    CHECK(name(MailFacts("Boss@A.example", "x@y.example")) == "own");
    CHECK(name(MailFacts("", "x@y.example")) == "all");
    CHECK(name(MailFacts("", "x@mx.BIG.example")) == "sub");
    CHECK(name(MailFacts("", "x@big.example")) == "all");
    MailFacts mail("a@a.example", "x@y.example");
    mail.mail_class = 2;
    CHECK(name(mail) == "all");
    mail.client = "shop";
    CHECK(name(mail) == "news");
    CHECK_FALSE(asks_for_provider(routes, mail));
    mail.client = "";
    CHECK(asks_for_provider(routes, mail));
    mail.provider = "microsoft-365";
    CHECK(name(mail) == "m365");
    mail.size_octets = 1000;
    CHECK(name(mail) == "big");
    CHECK(match_route({}, mail) == nullptr);
}

TEST_CASE("direct first, the relay where our address is refused, and a probe when its day has come") {
    RoutePicture picture;
    picture.ways = {smarthost("relay")};
    picture.routes = {route("all", "direct,relay")};
    CHECK(choose_way(picture, input()).way.kind == WayKind::direct);
    picture.memory = {refused("direct", "mx.b.example ", kNow + std::chrono::hours(5))};
    const Choice away = choose_way(picture, input());
    CHECK(away.way.name == "relay");
    REQUIRE(away.passed_over.size() == 1);
    CHECK(away.passed_over[0].contains("mx.b.example"));
    CHECK(away.passed_over[0].contains("550 5.7.1 blocked"));
    CHECK(choose_way(picture, input("c@c.example", "mx.c.example ")).way.name == "direct");
    picture.memory[0].probe = kNow;
    const Choice probe = choose_way(picture, input());
    CHECK(probe.way.name == "direct");
    CHECK(probe.probe);
}

TEST_CASE("fail closed: where no way that the route names is left, the message waits") {
    RoutePicture picture;
    picture.ways = {smarthost("relay"), smarthost("other")};
    picture.routes = {route("all", "direct,relay")};
    const Time soon = kNow + std::chrono::minutes(5);
    picture.memory = {refused("direct", "", kNow + std::chrono::hours(5)), refused("relay", "", soon)};
    const Choice waits = choose_way(picture, input());
    CHECK(waits.kind == Choice::Kind::wait);
    CHECK(waits.until == soon);
    CHECK(waits.passed_over.size() == 2);
    // A route of one way has no second choice: what is remembered does not stand in its way.
    picture.routes = {route("all", "relay")};
    CHECK(choose_way(picture, input()).way.name == "relay");
    picture.routes = {route("all", "direct")};
    CHECK(choose_way(picture, input()).way.name == "direct");
    picture.routes = {route("all", "gone,fail")};
    CHECK(choose_way(picture, input()).kind == Choice::Kind::fail);
}

TEST_CASE("fail and hold behind ways: for what is refused, not for ways that only rest") {
    const Time soon = kNow + std::chrono::minutes(1);
    RoutePicture picture;
    picture.ways = {smarthost("a"), smarthost("b")};
    picture.routes = {route("all", "a,fail")};
    ChoiceInput in = input();
    picture.memory = {refused("a", "", soon)};
    CHECK(choose_way(picture, in).way.name == "a");  // its lane is the place to wait
    CHECK_FALSE(choose_way(picture, in).has_other);
    picture.routes = {route("all", "a,b,fail")};
    picture.memory.push_back(refused("b", "", soon));
    CHECK(choose_way(picture, in).kind == Choice::Kind::wait);
    CHECK(choose_way(picture, in).until == soon);
    in.asked = true;  // somebody wants it tried now
    CHECK(choose_way(picture, in).kind == Choice::Kind::take);
    CHECK(choose_way(picture, in).probe);
    in.asked = false;
    picture.memory = {refused("a", "from:a.example", soon), refused("b", "from:a.example", soon)};
    CHECK(choose_way(picture, in).kind == Choice::Kind::fail);
    picture.memory.clear();
    picture.ways[0].limits.day_max = picture.ways[1].limits.day_max = 1;
    picture.used_today["a"] = picture.used_today["b"] = 1;
    CHECK(choose_way(picture, in).kind == Choice::Kind::wait);
    picture.routes = {route("all", "direct,hold")};
    picture.memory = {refused("direct", "mx.b.example ", soon)};
    CHECK(choose_way(picture, in).kind == Choice::Kind::hold);
}

TEST_CASE("hold keeps a message until it is released; then what stands behind takes it") {
    RoutePicture picture;
    picture.ways = {smarthost("relay")};
    picture.routes = {route("all", "hold,relay")};
    ChoiceInput in = input();
    CHECK(choose_way(picture, in).kind == Choice::Kind::hold);
    in.released = true;
    CHECK(choose_way(picture, in).way.name == "relay");
    picture.routes = {route("all", "hold")};
    CHECK(choose_way(picture, in).kind == Choice::Kind::hold);
}

TEST_CASE("a way's own limits: size, the allowance of the day, a sender that it does not take") {
    RoutePicture picture;
    picture.ways = {smarthost("a"), smarthost("b")};
    picture.ways[0].limits.message_octets_max = 1000;
    picture.ways[0].limits.day_max = 10;
    picture.routes = {route("all", "a,b")};
    ChoiceInput in = input();
    in.mail.size_octets = 1000;
    CHECK(choose_way(picture, in).way.name == "a");
    in.mail.size_octets = 1001;
    CHECK(choose_way(picture, in).way.name == "b");
    in.mail.size_octets = 1;
    picture.used_today["a"] = 10;
    CHECK(choose_way(picture, in).way.name == "b");
    picture.used_today["a"] = 9;
    picture.memory = {refused("a", "from:a.example", kNow + std::chrono::hours(1))};
    CHECK(choose_way(picture, in).way.name == "b");
    in.mail.sender = "x@other.example";
    CHECK(choose_way(picture, in).way.name == "a");
}

TEST_CASE("pools: an address that is refused at a site is left out there; weights share") {
    RoutePicture picture;
    Way pool;
    pool.name = "news";
    pool.pool = "p";
    picture.ways = {pool, smarthost("relay")};
    picture.addresses = {SourceAddress{"192.0.2.1", "p", ""}, SourceAddress{"192.0.2.2", "p", "b.example"},
                         SourceAddress{"192.0.2.9", "q", ""}};
    picture.routes = {route("all", "news,relay")};
    ChoiceInput in = input();
    std::set<std::string> used;
    for (in.ticket = 0; in.ticket < 20; ++in.ticket) used.insert(choose_way(picture, in).source->address);
    CHECK(used.size() == 2);
    picture.memory = {refused("news", "mx.b.example ", kNow + std::chrono::hours(1), "192.0.2.2")};
    for (in.ticket = 0; in.ticket < 4; ++in.ticket) CHECK(choose_way(picture, in).source->address == "192.0.2.1");
    picture.memory.push_back(refused("news", "mx.b.example ", kNow + std::chrono::hours(1), "192.0.2.1"));
    CHECK(choose_way(picture, in).way.name == "relay");
    // Alone, the pool is used all the same: waiting would not make an address better.
    picture.routes = {route("all", "news")};
    CHECK(choose_way(picture, in).way.name == "news");
    picture.routes = {route("all", "news*1+relay*3")};
    picture.memory.clear();
    int relayed = 0;
    for (in.ticket = 0; in.ticket < 400; ++in.ticket) relayed += choose_way(picture, in).way.name == "relay" ? 1 : 0;
    CHECK(relayed == 300);
    // The draw of the way and that of the address must not hang on the same remainder of the ticket.
    picture.routes = {route("all", "news*1+relay*1")};
    std::map<std::string, int> count;
    for (in.ticket = 0; in.ticket < 1000; ++in.ticket) {
        const Choice choice = choose_way(picture, in);
        if (choice.source) ++count[choice.source->address];
    }
    CHECK(count["192.0.2.1"] > 200);
    CHECK(count["192.0.2.2"] > 200);
}

TEST_CASE("an allowance that is used up is waited for, also where the route names one way") {
    RoutePicture picture;
    picture.ways = {smarthost("relay")};
    picture.routes = {route("all", "relay")};
    picture.memory = {refused("relay", std::string(kAccountSite), kNow + std::chrono::hours(1))};
    const Choice waits = choose_way(picture, input());
    CHECK(waits.kind == Choice::Kind::wait);
    CHECK(waits.is_temporary);
    CHECK(waits.until == kNow + std::chrono::hours(1));
    picture.routes = {route("all", "relay,fail")};
    CHECK(choose_way(picture, input()).kind == Choice::Kind::wait);
    picture.memory[0].probe = kNow;
    CHECK(choose_way(picture, input()).probe);
}

TEST_CASE("an open incident stops its way and holds; what is let go by hand, or for a try, meets it") {
    RoutePicture picture;
    picture.ways = {smarthost("relay")};
    picture.routes = {route("all", "direct")};
    Incident incident;
    incident.id = static_cast<IncidentId>(7);
    incident.key.way = "direct";
    incident.key.site = "mx.b.example ";
    incident.reply = "550 5.7.1 blocked";
    picture.incidents = {incident};
    ChoiceInput in = input();
    const Choice held = choose_way(picture, in);
    CHECK(held.kind == Choice::Kind::incident);
    CHECK(raw(held.incident->id) == 7);
    CHECK(choose_way(picture, input("c@c.example", "mx.c.example ")).kind == Choice::Kind::take);
    in.tried = true;
    CHECK(choose_way(picture, in).kind == Choice::Kind::take);
    in.tried = false;
    picture.routes = {route("all", "direct,relay")};
    CHECK(choose_way(picture, in).way.name == "relay");
    // What only waits for its day is not held for it.
    picture.ways[0].limits.day_max = 1;
    picture.used_today["relay"] = 1;
    CHECK(choose_way(picture, in).kind == Choice::Kind::wait);
    picture.routes = {route("all", "relay")};
    picture.used_today.clear();
    // Nor for a way that is merely down for a while.
    picture.routes = {route("all", "direct,relay")};
    picture.memory = {refused("relay", "", kNow + std::chrono::minutes(1))};
    CHECK(choose_way(picture, in).kind == Choice::Kind::wait);
    picture.memory.clear();
    picture.routes = {route("all", "relay")};
    picture.incidents[0].key = {IncidentKind::credentials, "relay", "", "", ""};
    CHECK(choose_way(picture, in).kind == Choice::Kind::incident);
    picture.incidents[0].key = {IncidentKind::sender_auth, "relay", "", "mx.b.example ", "a.example"};
    CHECK(choose_way(picture, in).kind == Choice::Kind::incident);
    in.mail.sender = "x@other.example";
    CHECK(choose_way(picture, in).kind == Choice::Kind::take);
}

namespace {
Reputation standing(std::string source, Standing what, std::uint32_t step = 0, int score = 100) {
    Reputation out;
    out.source = std::move(source);
    out.provider = "google";
    out.standing = what;
    out.step = step;
    out.score = score;
    out.last_use = kNow;
    return out;
}
}  // namespace

TEST_CASE("pools: by weight and score; drained never while another may, probation by its share, warm-up by its hour") {
    RoutePicture picture;
    Way pool;
    pool.name = "news";
    pool.pool = "p";
    picture.ways = {pool, smarthost("relay")};
    picture.addresses = {SourceAddress{"192.0.2.1", "p", ""}, SourceAddress{"192.0.2.2", "p", ""}};
    picture.routes = {route("all", "news")};
    ChoiceInput in = input("bob@gmail.example", "google");
    in.mail.provider = "google";
    const auto share = [&] {
        int first = 0;
        for (in.ticket = 0; in.ticket < 1000; ++in.ticket) {
            const Choice choice = choose_way(picture, in);
            first += choice.source && choice.source->address == "192.0.2.1" ? 1 : 0;
        }
        return first;
    };
    CHECK(share() > 440);
    CHECK(share() < 560);
    picture.addresses[0].weight = 3;
    CHECK(share() > 700);
    CHECK(share() < 800);
    picture.addresses[0].weight = 1;
    picture.book.standings = {standing("192.0.2.1", Standing::watched, 0, 50)};
    CHECK(share() > 280);
    CHECK(share() < 390);
    picture.book.standings = {standing("192.0.2.1", Standing::probation, 1)};
    CHECK(share() > 5);
    CHECK(share() < 60);
    picture.book.standings = {standing("192.0.2.1", Standing::drained)};
    CHECK(share() == 0);
    in.mail.provider = "yahoo";
    CHECK(share() > 440);
    CHECK(share() < 560);
    in.mail.provider = "google";
    // The last one: slowly, where the route names no other; else the other way.
    picture.book.standings.push_back(standing("192.0.2.2", Standing::drained));
    in.ticket = 1;
    CHECK(choose_way(picture, in).slow);
    picture.routes = {route("all", "news,relay")};
    CHECK(choose_way(picture, in).way.name == "relay");
    // Warm-up: what is over the hour's allowance goes to the warm one, or waits for the next hour.
    picture.book.standings.clear();
    picture.routes = {route("all", "news")};
    picture.addresses[0].warm_since = kNow;
    WarmUp warm;
    warm.source = "192.0.2.1";
    warm.provider = "google";
    warm.hour = hour_number(kNow);
    warm.hour_used = 20;
    picture.book.warm_ups = {warm};
    CHECK(share() == 0);
    picture.addresses.pop_back();
    const Choice waits = choose_way(picture, in);
    CHECK(waits.kind == Choice::Kind::wait);
    CHECK(waits.is_temporary);
    CHECK(waits.until > kNow);
    CHECK(waits.until <= kNow + std::chrono::hours(1));
    in.now += std::chrono::hours(1);
    CHECK(choose_way(picture, in).kind == Choice::Kind::take);
}

TEST_CASE("what is remembered and used survives, and goes with its way") {
    test::TempStore store;
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        RouteTx routes(tx);
        TRY_VOID(routes.add_way(smarthost("relay")));
        TRY_VOID(routes.remember(refused("relay", "", kNow)));
        Memory again = refused("relay", "", kNow + std::chrono::hours(1));
        again.tries = 2;
        TRY_VOID(routes.remember(again));
        TRY_VOID(routes.add_use("relay", 7, 3));
        TRY_VOID(routes.add_use("relay", 7, 4));
        return {};
    }));
    store.reopen();
    const auto picture = store->read([](const Snapshot& s) { return RouteView(s).picture(7); }).value();
    REQUIRE(picture.memory.size() == 1);
    CHECK(picture.memory[0].tries == 2);
    CHECK(picture.used_today.at("relay") == 7);
    REQUIRE(store->write({}, [](Tx& tx) -> Result<> { return RouteTx(tx).remove_way("relay"); }));
    CHECK(store->read([](const Snapshot& s) { return RouteView(s).memory(); })->empty());
}

TEST_CASE("relay clients: a limit holds in the minute and in the day, and over a restart") {
    test::TurnedClock clock;
    test::TempStore store([&](StoreOptions& o) { o.clock = &clock; });
    RelayClient client;
    client.name = "NAS";
    client.addresses = {"192.0.2.7", "192.0.2.16/28"};
    client.sender_domains = {"a.example"};
    client.minute_max = 3;
    client.day_max = 5;
    RelayClientId id{};
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY(id, RelayClientTx(tx).add(client));
        return {};
    }));
    const auto charge = [&](std::uint64_t count) {
        return store->write({}, [&](Tx& tx) -> Result<> { return RelayClientTx(tx).charge(id, count); });
    };
    CHECK(charge(3));
    const auto over = charge(1);
    REQUIRE(!over);
    CHECK(over.error().code == Errc::limit);
    CHECK(over.error().context.contains("3 recipients a minute"));
    store.reopen();
    CHECK_FALSE(charge(1));
    clock.advance(std::chrono::minutes(1));
    CHECK(charge(2));
    CHECK(charge(1).error().context.contains("5 recipients a day"));
    clock.advance(std::chrono::hours(24));
    CHECK(charge(1));
    // For more than a minute takes it goes whole, and the minutes behind it are used up; for more than a day, never.
    clock.advance(std::chrono::hours(24));
    CHECK(charge(1));
    CHECK(charge(4));
    clock.advance(std::chrono::hours(24));
    CHECK(charge(5));
    RelayClient busy = client;
    busy.minute = std::chrono::floor<std::chrono::minutes>(clock.now());
    busy.minute_used = 8;
    for (const auto& [minutes, used] : {std::pair(-1, 0), {0, 8}, {1, 5}, {2, 2}, {3, 0}, {1'000'000, 0}}) {
        CHECK(used_this_minute(busy, busy.minute + std::chrono::minutes(minutes)) == static_cast<std::uint64_t>(used));
    }
    CHECK(over_limit(busy, 1, busy.minute)->contains("in 120 seconds"));
    CHECK_FALSE(over_limit(busy, 1, busy.minute + std::chrono::minutes(2)));
    CHECK_FALSE(over_limit(busy, 4, busy.minute + std::chrono::minutes(2)));
    CHECK(over_limit(busy, 2, busy.minute + std::chrono::minutes(2)));
    clock.advance(std::chrono::hours(24));
    CHECK(charge(6).error().code == Errc::denied);
    CHECK(charge(6).error().context.contains("send it to fewer"));
    CHECK(store->write({}, [](Tx& tx) -> Result<> { return RelayClientTx(tx).set_disabled("nas", true); }));
    CHECK(charge(1).error().code == Errc::denied);
    const auto found = store->read([](const Snapshot& s) { return RelayClientView(s).by_name("Nas"); });
    REQUIRE(found);
    CHECK(found->addresses == client.addresses);
    const auto add = [&](const RelayClient& what) {
        return store->write({}, [&](Tx& tx) -> Result<> {
            TRY([[maybe_unused]] const auto made, RelayClientTx(tx).add(what));
            return {};
        });
    };
    CHECK(add(client).error().code == Errc::already_exists);
    client.name = "x@y";
    CHECK(add(client).error().code == Errc::invalid);
    client.name = "x";
    client.addresses.clear();
    CHECK(add(client).error().code == Errc::invalid);
    client.password_digest = client_password_digest("secret");
    client.sender_domains.clear();
    CHECK(add(client).error().code == Errc::invalid);
}
