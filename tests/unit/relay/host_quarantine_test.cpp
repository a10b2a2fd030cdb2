// One bad mail server of a site is quarantined, not the site: what it breaks off another carries through at once, and
// the lane learns nothing of it.
#include "relay/host_health.h"
#include "storage/routes.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

struct Peers {
    test::ScriptedRemote bad;
    test::ScriptedRemote good;
};

constexpr std::chrono::milliseconds kSilence{500};

// "two.example" has two mail servers, "one.example" one with two addresses: the bad one is asked first.
struct SiteHouse : Peers, House {
    SiteHouse()
        : House([](RelayOptions& options) {
              options.timeouts.command = options.timeouts.data_end = options.timeouts.reuse = kSilence;
              options.messages_per_connection_max = 1;
          }) {
        add("two.example", 10, "mx1.two.example", "192.0.2.71", bad);
        add("two.example", 20, "mx2.two.example", "192.0.2.72", good);
        add("one.example", 10, "mx.one.example", "192.0.2.73", bad);
        resolver.add_a("mx.one.example", "192.0.2.74");
        serve("192.0.2.74", good);
    }
    void add(const std::string& domain, std::uint16_t preference, const std::string& host, const std::string& address,
             test::ScriptedRemote& at) {
        resolver.add_mx(domain, preference, host);
        resolver.add_a(host, address);
        serve(address, at);
    }
    void route_all_by(const std::string& url) {
        REQUIRE(store->write(
            {}, [&](storage::Tx& tx) { return add_relay_to(tx, "relay", smarthost_way("relay", url)); }));
    }
    std::int64_t refusals() {
        std::int64_t out = 0;
        for (const char* kind : {"window", "rate", "unreachable"}) {
            const std::string label = std::string("kind=\"") + kind + "\"";
            out += metrics.counter("relay_lane_refusals_total", "What slowed lanes", label).get();
        }
        return out;
    }
    storage::QueueRecipient row(storage::QueueId id) {
        return store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value().front();
    }
    /// It is delivered in its first attempt; at the bad one there were so many connections.
    void check_goes(const std::string& to, std::size_t connections) {
        const auto id = submit({to});
        settle();
        CHECK(events(id, EventKind::delivered) == 1);
        CHECK(events(id, EventKind::attempted) == 0);
        CHECK(bad.connections == connections);
    }
};

struct Row {
    const char* at;
    const char* reply;
    Milliseconds quarantine;
};
const Row kRows[] = {
    {"(greeting)", "421 4.3.2 closing for a while<hang up>", HostHealth::kFirstBrokeOff},
    {"(greeting)", "<hang up>", HostHealth::kFirst},
    {"EHLO", "421 4.3.0 temporary system problem<hang up>", HostHealth::kFirstBrokeOff},
    {"MAIL", "421 4.3.2 closing<hang up>", HostHealth::kFirstBrokeOff},
    {"MAIL", "", HostHealth::kFirstHeldUp},
    {"RCPT", "<hang up>", HostHealth::kFirstBrokeOff},
    {"(message)", "<hang up>", HostHealth::kFirstBrokeOff},
    {"(message)", "421 4.3.0 internal trouble<hang up>", HostHealth::kFirstBrokeOff},
};

}  // namespace

TEST_CASE("what one host of a site breaks off another carries through at once; it is asked last for a while") {
    for (const char* const domain : {"two.example", "one.example"}) {
        for (const Row& row : kRows) {
            CAPTURE(domain);
            CAPTURE(row.at);
            CAPTURE(row.reply);
            SiteHouse house;
            house.bad.keywords = {"8BITMIME"};  // each command waits for its answer
            house.bad.always(row.at, row.reply);
            house.check_goes(std::string("a@") + domain, 1);
            house.check_goes(std::string("b@") + domain, 1);
            CHECK(house.bad.messages.empty());
            CHECK(house.good.messages.size() == 2);
            CHECK(house.refusals() == 0);
            house.settle_after(row.quarantine - seconds(1));
            house.check_goes(std::string("c@") + domain, 1);
            house.settle_after(seconds(1));
            house.check_goes(std::string("d@") + domain, 2);  // asked again, and no better
            house.settle_after(row.quarantine + seconds(1));
            house.check_goes(std::string("e@") + domain, 2);  // twice as long
            house.bad.always(row.at, std::string(row.at) == "(greeting)" ? "220 back" : "250 ok");
            if (std::string(row.at) == "(message)") house.bad.always(row.at, "");
            if (std::string(row.at) == "EHLO") house.bad.always(row.at, "250 mx1.two.example");
            house.settle_after(row.quarantine);
            house.check_goes(std::string("f@") + domain, 3);
            house.check_goes(std::string("g@") + domain, 4);
            CHECK(house.bad.messages.size() == 2);
        }
    }
}

TEST_CASE("a transaction for several that is broken off at the second is carried through for all, once") {
    SiteHouse house;
    house.bad.once("RCPT TO:<r1@", "421 4.3.2 closing" + std::string(kHangUp));
    const auto id = house.submit({"r0@two.example", "r1@two.example", "r2@two.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 3);
    CHECK(house.bad.messages.empty());
    CHECK(house.good.messages.size() == 1);
}

TEST_CASE("silence behind the final dot: not sent again at once, and that host is asked last") {
    SiteHouse house;
    house.bad.once(".", "");
    const auto id = house.submit({"a@two.example"});
    house.settle();
    CHECK(house.good.messages.empty());
    CHECK(house.row(id).attempts == 1);
    house.check_goes("b@two.example", 1);
    CHECK(house.good.messages.size() == 1);
    house.settle_after(minutes(6));
    CHECK(house.waiting() == 0);
}

TEST_CASE("a message that every host chokes on is tried at two of them, then waits; no host is at fault") {
    SiteHouse house;
    for (auto* const peer : {&house.bad, &house.good}) peer->once("(message)", std::string(kHangUp));
    const auto id = house.submit({"a@two.example"});
    house.settle();
    CHECK(house.bad.count("DATA") == 1);
    CHECK(house.good.count("DATA") == 1);
    CHECK(house.row(id).attempts == 1);
    CHECK(house.row(id).cause == storage::WaitCause::retry);
    house.check_goes("b@two.example", 2);
    CHECK(house.bad.messages.size() == 1);
}

TEST_CASE("with no other host 421 in the middle is the lane's affair, as ever") {
    SiteHouse house;
    house.remote.once("MAIL", "421 4.3.2 closing" + std::string(kHangUp));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 0);
    CHECK(house.refusals() == 1);
    CHECK(house.row(id).attempts == 0);
}

TEST_CASE("a reply about our pace quarantines nobody: it is about the site") {
    SiteHouse house;
    house.bad.always("(greeting)", "421 4.7.0 Too many connections from your address" + std::string(kHangUp));
    house.check_goes("a@two.example", 1);
    house.bad.always("(greeting)", "220 hello");
    house.bad.once("MAIL", "451 4.7.1 Rate limit exceeded, try again in 30 seconds");
    const auto id = house.submit({"c@two.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 0);
    CHECK(house.good.messages.size() == 1);
    CHECK(house.refusals() == 1);
    house.settle_after(seconds(31));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.bad.messages.size() == 1);
}

TEST_CASE("a host that speaks of our pace whenever it is asked: after three times another is asked first") {
    SiteHouse house;
    house.bad.always("MAIL", "451 4.7.1 Rate limit exceeded");
    const auto id = house.submit({"a@two.example"});
    house.settle();
    for (int i = 0; i < 20 && house.waiting() > 0; ++i) house.settle_after(seconds(30));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.bad.count("MAIL") == HostHealth::kPaceMax);
}

TEST_CASE("the hosts of a provider are one system: what one says of our pace no other is asked") {
    for (const char* const at : {"(greeting)", "MAIL"}) {
        CAPTURE(at);
        SiteHouse house;
        house.add("corp.example", 10, "aspmx.l.google.com", "192.0.2.81", house.bad);
        house.add("corp.example", 20, "alt1.aspmx.l.google.com", "192.0.2.82", house.good);
        house.bad.once(at, "421 4.7.0 Too many concurrent SMTP connections" + std::string(kHangUp));
        const auto id = house.submit({"a@corp.example"});
        house.settle();
        CHECK(house.good.connections == 0);
        CHECK(house.refusals() == 1);
        house.settle_after(seconds(16));
        CHECK(house.events(id, EventKind::delivered) == 1);
        CHECK(house.bad.messages.size() == 1);
        house.bad.once("MAIL", "421 4.3.2 closing" + std::string(kHangUp));
        house.submit({"b@corp.example"});
        house.settle();
        CHECK(house.good.connections == 0);
    }
}

TEST_CASE("the addresses of a smarthost are judged one by one") {
    for (const char* const at : {"(greeting)", "(message)"}) {
        CAPTURE(at);
        SiteHouse house;
        house.resolver.add_a("relay.inside", "10.0.0.8");
        house.resolver.add_a("relay.inside", "10.0.0.9");
        house.serve("10.0.0.8", house.bad);
        house.serve("10.0.0.9", house.good);
        house.route_all_by("smtp+plain://relay.inside:25");
        house.restart();
        house.bad.always(at, std::string(kHangUp));
        house.check_goes("a@b.example", 1);
        house.check_goes("b@b.example", 1);
        CHECK(house.good.messages.size() == 2);
        CHECK(house.refusals() == 0);
        house.settle_after(HostHealth::kFirst);
        house.bad.always(at, std::string(at) == "(greeting)" ? "220 back" : "");
        house.check_goes("c@b.example", 2);
        CHECK(house.bad.messages.size() == 1);
    }
}

TEST_CASE("a connection that falls silent when it is used again: a new one for each message from then on") {
    SiteHouse house;
    house.remote.keywords = {"8BITMIME"};
    house.kept.options.messages_per_connection_max = 100;
    house.kept.options.connections_per_lane_max = 1;
    house.restart();
    std::size_t mails = 0;
    house.dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.1").value(), 25),
                       [&](std::unique_ptr<net::Stream> stream) {
                           house.remote.once("MAIL", "250 first");
                           if (++mails == 1) house.remote.once("MAIL", "");
                           return house.remote.serve(std::move(stream));
                       });
    for (int i = 0; i < 4; ++i) house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.remote.messages.size() == 4);
    CHECK(house.remote.connections == 4);
    CHECK(house.refusals() == 0);
}

}  // namespace posthouse::relay
