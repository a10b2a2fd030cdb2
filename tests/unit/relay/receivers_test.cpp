// The big receivers as stand-ins (tests/support/receivers): how fast they are sent to, and what becomes of the mail
// where one of their hosts is broken.
#include "tests/support/receivers.h"

#include <fmt/format.h>

#include "tests/support/relay_house.h"
#include "tests/support/stand_in_server.h"
#include "tests/support/stand_in_world.h"

namespace posthouse::relay {
namespace {

using test::Receiver;

// Under the virtual clock, with the connections played.
struct Pace {
    explicit Pace(const Receiver& receiver)
        : site(receiver.traits, 7), lane(time, site, shaping(receiver), random, options(receiver)) {}

    static Shaping shaping(const Receiver& receiver) {
        const RelayOptions usual;
        return shaping_for(receiver.site.empty() ? receiver.hosts.front() : receiver.site,
                           usual.connections_per_lane_max, usual.messages_per_connection_max);
    }
    static test::StandInLane::Options options(const Receiver& receiver) {
        test::StandInLane::Options out;
        out.host = receiver.hosts.front();
        return out;
    }

    test::VirtualTime time;
    test::SeededRandom random{11};
    test::StandInSite site;
    test::StandInLane lane;
};

// The whole relay; host number n of the site lies behind the n-th name, or at the n-th address of the only one.
struct Site {
    explicit Site(const Receiver& receiver) : site(receiver.traits, 7) {}
    test::StandInSite site;
    std::unique_ptr<test::StandInServer> server;
};
struct ReceiverHouse : Site, House {
    explicit ReceiverHouse(const Receiver& receiver)
        : Site(receiver), House([](RelayOptions& options) {
              options.timeouts.data_end = options.timeouts.reuse = std::chrono::milliseconds(300);
          }) {
        server = std::make_unique<test::StandInServer>(site, clock);
        for (std::size_t i = 0; i < receiver.traits.hosts; ++i) {
            const std::string host = receiver.hosts[std::min(i, receiver.hosts.size() - 1)];
            const std::string address = fmt::format("198.51.100.{}", i + 1);
            if (i < receiver.hosts.size()) resolver.add_mx("there.example", 10, host);
            resolver.add_a(host, address);
            const net::Endpoint at(net::IpAddress::parse(address).value(), 25);
            dialer.serve(at, [this, i](auto stream) { return server->serve(std::move(stream), i); });
        }
    }
};

}  // namespace

TEST_CASE("each receiver gets all of its mail, each message once, and turns little of it away") {
    for (const Receiver& receiver : test::receivers()) {
        CAPTURE(receiver.name);
        Pace pace(receiver);
        for (std::size_t i = 0; i < receiver.mails; ++i) pace.lane.submit("r" + std::to_string(i));
        const Time start = pace.time.now();
        while (pace.site.taken_total() < receiver.mails && pace.time.step(start + receiver.within)) {
        }
        const auto refused = pace.site.refused_total();
        MESSAGE(receiver.name << ": " << pace.site.taken_total() << " taken in "
                              << (pace.time.now() - start).count() / 1000 << " s, " << refused << " refused");
        CHECK(pace.site.taken_total() == receiver.mails);
        CHECK(refused * 50 <= receiver.mails);  // 2 %
        pace.time.run(pace.time.now() + std::chrono::minutes(1));
        for (const test::Fate& fate : pace.lane.books()) {
            CHECK(fate.state == test::Fate::State::delivered);
            CHECK(pace.site.taken(fate.address) == 1);
        }
    }
}

TEST_CASE("one bad host of a receiver, however it is bad: each message arrives, once, and the others carry the load") {
    for (Receiver receiver : test::receivers()) {
        CAPTURE(receiver.name);
        receiver.traits.bad_hosts = 1;
        receiver.traits.rate = 0;
        ReceiverHouse house(receiver);
        std::vector<storage::QueueId> all;
        for (int i = 0; i < 30; ++i) all.push_back(house.submit({fmt::format("r{}@there.example", i)}));
        house.settle();
        for (int step = 0; step < 60 && house.waiting() > 0; ++step) house.settle_after(std::chrono::seconds(30));
        CHECK(house.waiting() == 0);
        for (std::size_t i = 0; i < all.size(); ++i) {
            CHECK(house.events(all[i], EventKind::delivered) == 1);
            CHECK(house.site.taken(fmt::format("r{}@there.example", i)) == 1);
        }
    }
}

}  // namespace posthouse::relay
