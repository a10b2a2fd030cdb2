// Ways: direct first, the relay where our address is refused, remembered for each site; health; hold and fail; what a
// way changes in the header.
#include "relay/way_book.h"

#include "relay/header_edit.h"
#include "storage/incidents.h"
#include "storage/routes.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

constexpr std::string_view kBlocked =
    "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org";

// They answer for as long as the house may ask.
struct Others {
    test::ScriptedRemote smarthost;
    test::ScriptedRemote other;
};

// Mail goes directly, or by a relay on a private network. Nobody pipelines: what is refused brings no empty message.
struct RoutedHouse : Others, House {
    explicit RoutedHouse(std::string_view steps = "direct,relay", std::string preset = "",
                         const std::vector<storage::Way>& more = {}) {
        for (test::ScriptedRemote* const one : {&remote, &smarthost, &other}) one->keywords = {"8BITMIME", "DSN"};
        serve("10.0.0.9", smarthost);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            for (const storage::Way& one : more) TRY_VOID(storage::RouteTx(tx).add_way(one));
            storage::Way way = smarthost_way();
            way.preset = preset;
            TRY_VOID(tx.catalog().set_setting("way.check_hours", "0"));  // what mail teaches, and no more
            return add_relay_to(tx, steps, way);
        }));
    }
    std::vector<std::string> open_incidents() {
        const auto open = store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); });
        std::vector<std::string> out;
        for (const storage::Incident& one : open.value()) out.push_back(storage::describe(one));
        return out;
    }
    std::vector<storage::Memory> memory() {
        return store->read([](const storage::Snapshot& s) { return storage::RouteView(s).memory(); }).value();
    }
};

Verdict said(std::string_view reply) {
    Verdict out;
    out.fate = reply.starts_with('5') ? Fate::failed : Fate::deferred;
    out.reply = reply;
    out.from_remote = true;
    return out;
}

}  // namespace

namespace {

// Delivery reports; the account is the postmaster too, who is told of incidents when their turn comes.
std::vector<std::string> reports(House& house) {
    std::vector<std::string> mail = house.inbox();
    std::erase_if(mail, [](const std::string& one) { return !one.contains("multipart/report"); });
    return mail;
}

}  // namespace

TEST_CASE("refused for our address's fault: the next way at once, remembered for the site, a probe a day later") {
    RoutedHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.remote.count("RCPT") == 1);
    CHECK(house.smarthost.messages.size() == 1);
    CHECK(house.waiting() == 0);
    CHECK(house.events(id, EventKind::bounced) == 0);
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(reports(house).empty());
    REQUIRE(house.memory().size() == 1);
    CHECK(house.memory()[0].way == "direct");
    CHECK(house.memory()[0].site == "mx.b.example ");
    CHECK(house.memory()[0].reply.contains("spamhaus"));

    house.submit({"carol@b.example"});
    house.settle();
    CHECK(house.remote.count("RCPT") == 1);  // not asked again
    CHECK(house.smarthost.messages.size() == 2);

    house.clock.advance(std::chrono::hours(25));
    house.submit({"dave@b.example"});
    house.submit({"erin@b.example"});
    house.settle();
    CHECK(house.remote.count("RCPT") == 2);  // one probe
    CHECK(house.smarthost.messages.size() == 4);
    CHECK(house.memory()[0].tries == 2);

    house.remote.always("RCPT", "250 2.1.5 welcome back");
    house.clock.advance(std::chrono::hours(25));
    house.submit({"frank@b.example"});
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.memory().empty());
    house.submit({"grace@b.example"});
    house.settle();
    CHECK(house.remote.messages.size() == 2);
    CHECK(house.smarthost.messages.size() == 4);
}

TEST_CASE("a refusal elsewhere, or of the recipient, changes no way") {
    RoutedHouse house;
    house.resolver.add_mx("c.example", 10, "mx.c.example");
    house.resolver.add_a("mx.c.example", "192.0.2.2");
    house.serve("192.0.2.2", house.other);
    house.remote.always("RCPT", std::string(kBlocked));
    house.submit({"bob@b.example"});
    house.settle();
    house.other.once("RCPT", "550 5.1.1 no such user");
    const auto id = house.submit({"bob@c.example"});
    house.settle();
    CHECK(house.events(id, EventKind::bounced) == 1);
    house.submit({"carol@c.example"});
    house.settle();
    CHECK(house.other.messages.size() == 1);
    CHECK(house.smarthost.messages.size() == 1);
    CHECK(house.memory().size() == 1);
}

TEST_CASE("fail closed: a route of one way never leaves by another") {
    RoutedHouse house("direct");
    house.remote.always("RCPT", std::string(kBlocked));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.smarthost.connections == 0);
    CHECK(house.events(id, EventKind::bounced) == 0);  // for our address's fault: held, not lost
    CHECK(house.events(id, EventKind::held) == 1);
    CHECK(house.memory().empty());

    RoutedHouse relayed("relay");
    relayed.smarthost.always("(greeting)", "421 4.3.0 down<hang up>");
    relayed.submit({"bob@b.example"});
    relayed.settle();
    CHECK(relayed.remote.connections == 0);
    CHECK(relayed.waiting() == 1);
}

TEST_CASE("a relay that does not answer is passed over until its probe") {
    RoutedHouse house("relay,direct");
    house.smarthost.always("(greeting)", std::string(kHangUp));
    house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    house.submit({"carol@b.example"});
    house.settle();
    CHECK(house.smarthost.connections == 1);
    CHECK(house.remote.messages.size() == 2);
    house.smarthost.always("(greeting)", "220 back");
    house.clock.advance(std::chrono::minutes(2));
    house.submit({"dave@b.example"});
    house.settle();
    CHECK(house.smarthost.messages.size() == 1);
    CHECK(house.memory().empty());
}

TEST_CASE("a relay that stays down is tried again and again, at growing distances") {
    RoutedHouse house("relay,direct");
    house.smarthost.always("(greeting)", std::string(kHangUp));
    house.submit({"bob@b.example"});
    house.settle();
    for (std::size_t tries = 2; tries <= 4; ++tries) {
        house.clock.advance(std::chrono::minutes(31));
        house.submit({"bob@b.example"});
        house.settle();
        CHECK(house.smarthost.connections == tries);
        CHECK(house.remote.messages.size() == tries);
    }
    CHECK(house.memory().at(0).tries == 4);
    CHECK(house.memory().at(0).probe - house.clock.now() == std::chrono::minutes(8));
}

TEST_CASE("hold keeps a message until it is released; fail tells the sender") {
    RoutedHouse house("hold,relay");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.smarthost.connections == 0);
    CHECK(house.events(id, EventKind::held) == 1);
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().release(id); }));
    house.settle();
    CHECK(house.smarthost.messages.size() == 1);

    RoutedHouse closed("fail");
    const auto refused = closed.submit({"bob@b.example"});
    closed.settle();
    CHECK(closed.events(refused, EventKind::bounced) == 1);
    REQUIRE(closed.inbox().size() == 1);
    CHECK(closed.inbox()[0].contains("route \"all\""));
}

TEST_CASE("a hosted relay's reply about the account makes the whole way rest") {
    RoutedHouse house("relay,direct", "ses");
    house.smarthost.once("RCPT", "454 Throttling failure: Daily message quota exceeded.");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.events(id, EventKind::delivered) == 1);
    REQUIRE(house.memory().size() == 1);
    CHECK(house.memory()[0].site == storage::kAccountSite);
    CHECK(house.memory()[0].reply.contains("daily quota of the account"));
}

TEST_CASE("a used-up allowance of the only way bounces nothing: the way rests, the mail waits, an incident tells it") {
    struct Case {
        std::string preset;
        std::string reply;
    };
    for (const Case& c : {Case{"gmail", "550 5.4.5 Daily user sending limit exceeded"},
                          Case{"microsoft", "550 5.1.90 Your message can't be sent because you've reached your limit"},
                          Case{"google-relay", "550 5.7.1 Daily SMTP relay limit exceeded for customer"},
                          Case{"smtp2go", "550 monthly allowance exceeded"}}) {
        CAPTURE(c.reply);
        RoutedHouse house("relay", c.preset);
        house.smarthost.once("RCPT", c.reply);
        const auto id = house.submit({"bob@b.example"});
        house.settle();
        const auto second = house.submit({"carol@b.example"});
        house.settle();
        CHECK(house.smarthost.count("RCPT") == 1);  // it is not asked in circles
        CHECK(house.waiting() == 2);
        for (const auto one : {id, second}) CHECK(house.events(one, EventKind::bounced) == 0);
        CHECK(reports(house).empty());
        CHECK(house.open_incidents() == std::vector<std::string>{"the allowance of way relay is used up"});
        REQUIRE(house.memory().size() == 1);
        CHECK(house.memory()[0].probe - house.clock.now() >= std::chrono::minutes(60));

        house.settle_after(std::chrono::minutes(61));
        for (int i = 0; i < 6; ++i) house.settle_after(std::chrono::minutes(11));
        CHECK(house.smarthost.messages.size() == 2);
        CHECK(house.waiting() == 0);
        CHECK(house.memory().empty());
        CHECK(house.open_incidents().empty());
    }
}

TEST_CASE("a probe to a site that refused us is one a day, whatever comes of it") {
    RoutedHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    house.submit({"bob@b.example"});
    house.settle();
    REQUIRE(house.memory().size() == 1);
    house.clock.advance(std::chrono::hours(25));

    SUBCASE("greylisted: it comes back the same way, the others go on by the relay") {
        house.remote.always("RCPT", "451 4.7.1 Greylisted, please try again in 5 minutes");
        const auto probe = house.submit({"carol@b.example"});
        house.settle();
        CHECK(house.remote.count("RCPT") == 2);
        for (int i = 0; i < 3; ++i) {
            house.submit({"dave@b.example"});
            house.settle();
        }
        CHECK(house.remote.count("RCPT") == 2);
        CHECK(house.smarthost.messages.size() == 4);
        CHECK(house.events(probe, EventKind::delivered) == 0);
        SUBCASE("as long as we run") {}
        SUBCASE("after a restart, too") { house.restart(); }
        house.remote.always("RCPT", "250 2.1.5 welcome");
        house.settle_after(std::chrono::minutes(12));
        CHECK(house.events(probe, EventKind::delivered) == 1);
        CHECK(house.remote.messages.size() == 1);
        CHECK(house.memory().empty());
    }
    SUBCASE("an answer about the recipient: the block is over") {
        house.remote.once("RCPT", "550 5.1.1 no such user");
        house.remote.always("RCPT", "250 2.1.5 welcome");
        const auto probe = house.submit({"carol@b.example"});
        house.settle();
        CHECK(house.events(probe, EventKind::bounced) == 1);
        CHECK(house.memory().empty());
        CHECK(house.open_incidents().empty());
        house.submit({"dave@b.example"});
        house.settle();
        CHECK(house.remote.messages.size() == 1);
    }
    SUBCASE("nothing that says anything: the message goes by the relay at once, the next probe is tomorrow's") {
        house.remote.always("RCPT", "450 4.3.2 system not accepting messages");
        house.submit({"carol@b.example"});
        house.settle();
        const std::size_t asked = house.remote.count("RCPT");
        for (int i = 0; i < 6; ++i) {
            house.clock.advance(std::chrono::minutes(11));
            house.submit({"dave@b.example"});
            house.settle();
        }
        CHECK(house.remote.count("RCPT") == asked);
        CHECK(house.smarthost.messages.size() >= 7);
        house.clock.advance(std::chrono::hours(25));
        house.submit({"erin@b.example"});
        house.settle();
        CHECK(house.remote.count("RCPT") == asked + 1);
    }
}

TEST_CASE("what a reply teaches") {
    Target relay;
    relay.way.preset = "gmail";
    Target plain;
    Target direct;
    direct.domain = "b.example";
    const auto kind = [](const Target& target, std::string_view reply) {
        return learn(target, said(reply), false).kind;
    };
    CHECK(kind(relay, "550 5.4.5 Daily user sending limit exceeded") == Lesson::Kind::allowance);
    CHECK(kind(relay, "550 5.1.1 The email account does not exist") == Lesson::Kind::nothing);
    CHECK(kind(plain, "530 5.7.0 Authentication required") == Lesson::Kind::login);
    CHECK(kind(plain, "550 5.1.1 No such user") == Lesson::Kind::nothing);
    CHECK(kind(direct, kBlocked) == Lesson::Kind::refused_here);
    CHECK(kind(direct, "550 5.7.1 We do not like the content of this message") == Lesson::Kind::nothing);
    CHECK(learn(plain, Verdict(Fate::failed, "5.3.4", "too big"), false).kind == Lesson::Kind::nothing);
    CHECK(learn(plain, Verdict(Fate::deferred, "4.7.5", "TLS failed"), false).kind == Lesson::Kind::down);
    CHECK(learn(direct, Verdict(Fate::deferred, "4.4.1", "No connection"), false).kind == Lesson::Kind::down);
    CHECK(learn(direct, Verdict(Fate::deferred, "4.4.3", "no DNS"), false).kind == Lesson::Kind::nothing);
}

TEST_CASE("by MX, silence: three sites at once, or every site for ten minutes without an answer since the start") {
    using Kind = Lesson::Kind;
    WayBook book;
    Target direct;
    direct.domain = "b.example";
    direct.way.name = "direct";
    const Time now = from_unix_ms(1'764'000'000'000);
    const auto later = [&](int minutes) { return now + std::chrono::minutes(minutes); };
    CHECK(book.silent(direct, "a ", now) == Kind::nothing);
    CHECK(book.silent(direct, "a ", later(1)) == Kind::nothing);
    CHECK(book.silent(direct, "b ", later(9)) == Kind::nothing);
    CHECK(book.silent(direct, "b ", later(10)) == Kind::silent_here);
    CHECK(book.answered(direct));
    CHECK_FALSE(book.answered(direct));
    CHECK(book.silent(direct, "c ", later(20)) == Kind::nothing);
    CHECK(book.silent(direct, "c ", later(60)) == Kind::nothing);  // the way works: this site does not
    CHECK(book.silent(direct, "d ", later(61)) == Kind::nothing);
    CHECK(book.silent(direct, "e ", later(62)) == Kind::down);
}

TEST_CASE("port 25 is blocked and mail goes to one place only: after ten minutes the relay takes it") {
    RoutedHouse house;
    bool says_nothing = false;
    SUBCASE("no connection") { house.dialer.forget(net::Endpoint(net::IpAddress::parse("192.0.2.1").value(), 25)); }
    SUBCASE("a connection, and no word") {
        says_nothing = true;
        house.remote.always("(greeting)", std::string(kHangUp));
    }
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    house.settle_after(std::chrono::minutes(4));
    CHECK(house.smarthost.messages.empty());
    CHECK(house.waiting() == 1);
    house.restart();  // and it does not begin to count anew
    house.settle_after(std::chrono::minutes(4));
    CHECK(house.smarthost.messages.empty());
    house.settle_after(std::chrono::minutes(8));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.smarthost.messages.size() == 1);
    house.restart();
    house.submit({"carol@b.example"});  // remembered for this destination
    house.settle();
    CHECK(house.smarthost.messages.size() == 2);

    if (!says_nothing) house.serve("192.0.2.1", house.remote);
    house.remote.always("(greeting)", "220 back");
    house.settle_after(std::chrono::hours(2));
    house.submit({"dave@b.example"});
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.memory().empty());
}

TEST_CASE("one silent site beside others that answer is down by itself: its mail waits for it") {
    RoutedHouse house;
    house.resolver.add_mx("c.example", 10, "mx.c.example");
    house.resolver.add_a("mx.c.example", "192.0.2.2");
    house.submit({"bob@b.example"});
    house.settle();
    house.submit({"bob@c.example"});
    house.settle();
    for (int i = 0; i < 5; ++i) house.settle_after(std::chrono::minutes(8));
    CHECK(house.smarthost.messages.empty());
    CHECK(house.waiting() == 1);
    CHECK(house.memory().empty());
}

TEST_CASE("a way's rate: a burst of a second, then one after the other") {
    WayBook book;
    storage::Way way;
    way.name = "slow";
    const Time now = from_unix_ms(1'764'000'000'000);
    book.take_turn(way, 100, now);
    CHECK(book.turn(way, now) == now);
    way.limits.minute_max = 60;
    CHECK(book.turn(way, now) == now);
    book.take_turn(way, 1, now);
    CHECK(book.turn(way, now) == now + std::chrono::seconds(1));
    book.take_turn(way, 3, now + std::chrono::minutes(5));
    CHECK(book.turn(way, now + std::chrono::minutes(5)) == now + std::chrono::seconds(303));
    CHECK(book.turn(way, now - std::chrono::hours(24)) == now - std::chrono::hours(24));  // the clock was set back
    way.name = "quick";
    way.limits.minute_max = 600;
    book.take_turn(way, 10, now);
    CHECK(book.turn(way, now) == now + std::chrono::milliseconds(100));
}

TEST_CASE("what a way lets go in a minute is not taken before its turn: a single letter overtakes the job behind it") {
    storage::Way slow = smarthost_way("slow");
    slow.limits.minute_max = 60;
    RoutedHouse house("slow", "", {slow});
    std::vector<std::string> many;
    for (int i = 0; i < 200; ++i) many.push_back("x" + std::to_string(i) + "@b.example");
    house.submit(many);
    house.settle();
    CHECK(house.smarthost.messages.size() == 1);
    const auto letter = house.submit({"bob@b.example"}, "carol@home.example");
    for (int second = 0; second < 17; ++second) house.settle_after(std::chrono::seconds(1));
    CHECK(house.events(letter, EventKind::delivered) == 1);
    CHECK(house.smarthost.messages.size() == 18);
}

TEST_CASE("a release is for good: put off on its way, the message is not held again") {
    RoutedHouse house("hold,relay");
    house.smarthost.once("RCPT", "451 4.3.0 not now");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.events(id, EventKind::held) == 1);
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().release(id); }));
    house.settle();
    CHECK(house.smarthost.count("RCPT") == 1);
    house.settle_after(std::chrono::minutes(20));
    CHECK(house.events(id, EventKind::held) == 1);
    CHECK(house.smarthost.messages.size() == 1);
}

TEST_CASE("fail and hold behind a way are for refusals; an outage is waited for") {
    RoutedHouse down("relay,fail");
    down.smarthost.always("(greeting)", std::string(kHangUp));
    const auto waits = down.submit({"bob@b.example"});
    down.settle();
    CHECK(down.waiting() == 1);
    CHECK(down.events(waits, EventKind::bounced) == 0);
    down.smarthost.always("(greeting)", "220 back");
    down.settle_after(std::chrono::minutes(2));
    CHECK(down.smarthost.messages.size() == 1);

    // Two ways that are down, and "fail" behind them: the same.
    RoutedHouse both("relay,second,fail", "", {smarthost_way("second", "smtp+plain://10.0.0.8:25")});
    both.serve("10.0.0.8", both.other);
    for (test::ScriptedRemote* const one : {&both.smarthost, &both.other}) {
        one->always("(greeting)", std::string(kHangUp));
    }
    const auto later = both.submit({"bob@b.example"});
    both.settle();
    CHECK(both.waiting() == 1);
    CHECK(both.events(later, EventKind::bounced) == 0);
    both.other.always("(greeting)", "220 back");
    both.settle_after(std::chrono::minutes(2));
    CHECK(both.other.messages.size() == 1);

    RoutedHouse refused("direct,fail");
    refused.remote.always("RCPT", std::string(kBlocked));
    const auto failed = refused.submit({"bob@b.example"});
    refused.settle();
    CHECK(refused.events(failed, EventKind::bounced) == 1);
    const auto told = reports(refused);
    REQUIRE(told.size() == 1);
    CHECK(told[0].contains("does not send such mail"));
    CHECK(told[0].contains("spamhaus"));

    RoutedHouse kept("direct,hold");
    kept.remote.always("RCPT", std::string(kBlocked));
    const auto held = kept.submit({"bob@b.example"});
    kept.settle();
    CHECK(kept.events(held, EventKind::held) == 1);
    CHECK(kept.events(held, EventKind::bounced) == 0);
}

TEST_CASE("fail closed: while the DNS does not say who keeps the mail, no other route takes it") {
    for (const std::string_view behind : {"fail", "hold", "relay"}) {
        CAPTURE(behind);
        RoutedHouse house(behind);  // the route "all"
        REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
            storage::Route route;
            route.name = "google";
            route.priority = 10;
            route.provider = "google";
            TRY(route.steps, storage::parse_steps("direct"));
            return storage::RouteTx(tx).add_route(route);
        }));
        house.resolver.add_mx("g.example", 10, "aspmx.l.google.com");
        house.resolver.add_a("aspmx.l.google.com", "192.0.2.1");
        house.resolver.set_failure("g.example", Errc::unavailable);
        const auto id = house.submit({"bob@g.example"});
        house.settle();
        CHECK(house.waiting() == 1);
        CHECK(house.events(id, EventKind::bounced) == 0);
        CHECK(house.events(id, EventKind::held) == 0);
        CHECK(house.smarthost.connections == 0);
        const auto rows =
            house.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value();
        REQUIRE(rows.size() == 1);
        CHECK(rows[0].last_reply.contains("Its route hangs on who keeps the recipient's mail"));
        house.resolver.set_failure("g.example", std::nullopt);
        house.clock.advance(std::chrono::hours(1));
        house.settle();
        CHECK(house.remote.messages.size() == 1);
        CHECK(house.waiting() == 0);
    }
}

TEST_CASE("a limit of a site that is set by hand holds at once, also while the relay runs") {
    House house;
    const auto limit = [&](std::uint32_t messages) {
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) {
            storage::LaneLimit one;
            one.site = "b.example";
            one.messages_max = messages;
            return storage::set_lane_limit(tx, one);
        }));
    };
    const auto connections_for_six = [&] {
        const std::size_t before = house.remote.connections;
        for (int i = 0; i < 6; ++i) house.submit({"bob@b.example"});
        house.settle_after(std::chrono::minutes(1));
        return house.remote.connections - before;
    };
    CHECK(connections_for_six() < 6);
    limit(1);
    CHECK(connections_for_six() == 6);
    limit(0);
    CHECK(connections_for_six() < 6);
    CHECK(house.remote.messages.size() == 18);
}

TEST_CASE("who asks to try now has the DNS asked anew, though it did not answer a moment ago") {
    House house;
    house.resolver.set_failure("b.example", Errc::unavailable);
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.remote.connections == 0);
    house.resolver.set_failure("b.example", std::nullopt);
    house.settle();
    CHECK(house.remote.connections == 0);  // it waits for its time
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().retry_now(id); }));
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.waiting() == 0);
}

TEST_CASE("a service knows a message by its key: one for each recipient of its own, the same when it is tried again") {
    storage::Way service = smarthost_way();
    service.name = "service";
    service.preset = "resend";
    service.headers = "Resend-Idempotency-Key: {queue}\n";
    RoutedHouse house("service", "", {service});
    house.smarthost.once(".", std::string(test::kHangUp));  // it may have been taken
    house.submit({"bob@b.example", "carol@b.example"});
    house.settle();
    house.clock.advance(std::chrono::hours(1));
    house.settle();
    CHECK(house.waiting() == 0);
    std::map<std::string, std::size_t> keys;
    for (const std::string& mail : house.smarthost.messages) {
        constexpr std::string_view kField = "Resend-Idempotency-Key: ";
        const std::size_t at = mail.find(kField);
        REQUIRE(at != std::string::npos);
        ++keys[mail.substr(at, mail.find("\r\n", at) - at)];
    }
    CHECK(keys.size() == 2);
    CHECK(house.smarthost.messages.size() == 3);
}

TEST_CASE("fields meant for another service do not leave; the way's own are set once") {
    constexpr std::string_view kHeader =
        "From: a@a.example\r\nX-SMTPAPI: {\"secret\":\r\n 1}\r\nX-PM-Tag: welcome\r\nSubject: hi\r\n\r\n";
    HeaderEdit none;
    CHECK(edit_header(kHeader, none) == "From: a@a.example\r\nSubject: hi\r\n\r\n");
    HeaderEdit postmark;
    postmark.preset = "postmark";
    postmark.headers = "X-PM-Message-Stream: outbound\nX-Key: {queue}\n";
    postmark.message_key = "q7";
    CHECK(
        edit_header(kHeader, postmark) ==
        "X-PM-Message-Stream: outbound\r\nX-Key: q7\r\nFrom: a@a.example\r\nX-PM-Tag: welcome\r\nSubject: hi\r\n\r\n");
    CHECK(edit_header("\r\n", none) == "\r\n");
}

}  // namespace posthouse::relay
