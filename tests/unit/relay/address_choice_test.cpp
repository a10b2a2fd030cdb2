// Which address of a pool a message takes: the pure choice, over many tickets.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "storage/route_choice.h"
#include "storage/routes.h"
#include "tests/unit/relay/pool_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::Choice;
using storage::Reputation;
using storage::Standing;

const Time kNow = from_unix_ms(1'764'000'000'000);
constexpr std::uint64_t kTickets = 20'000;

storage::RoutePicture pool_of(std::size_t count, std::string_view steps = "pool") {
    storage::RoutePicture out;
    for (std::size_t i = 0; i < count; ++i) {
        storage::SourceAddress one;
        one.address = "192.0.2." + std::to_string(7 + i);
        one.pool = "p";
        out.addresses.push_back(one);
    }
    storage::Way way;
    way.name = "pool";
    way.pool = "p";
    out.ways.push_back(way);
    out.ways.push_back(smarthost_way());
    storage::Route route;
    route.name = "all";
    route.steps = storage::parse_steps(steps).value();
    out.routes.push_back(route);
    return out;
}

void on_probation(storage::RoutePicture& picture, std::size_t address, std::uint32_t step) {
    Reputation one;
    one.source = picture.addresses[address].address;
    one.provider = "google";
    one.standing = Standing::probation;
    one.step = step;
    one.score = kScoreDrained;
    one.last_use = kNow;
    picture.book.standings.push_back(one);
}

Choice choose(const storage::RoutePicture& picture, std::uint64_t ticket, std::string_view last_source = {}) {
    storage::ChoiceInput input;
    input.mail = storage::MailFacts("a@home.example", "b@gmail.test");
    input.mail.provider = "google";
    input.site = "google";
    input.now = kNow;
    input.ticket = ticket;
    input.last_source = last_source;
    return storage::choose_way(picture, input);
}

// Of a hundred: what each address takes, "relay" for the smarthost.
std::map<std::string, double> shares(const storage::RoutePicture& picture) {
    std::map<std::string, double> out;
    for (std::uint64_t ticket = 1; ticket <= kTickets; ++ticket) {
        const Choice choice = choose(picture, ticket);
        if (choice.kind != Choice::Kind::take) continue;
        out[choice.source ? choice.source->address : choice.way.name] += 100.0 / kTickets;
    }
    return out;
}

bool is_near(double got, double wanted) { return got > wanted * 0.85 - 0.1 && got < wanted * 1.15 + 0.1; }

}  // namespace

TEST_CASE("probation: 1, 5, 25 % of the mail by that address, then its whole share") {
    const double of_two[] = {1, 5, 25, 50};
    const double of_five[] = {1, 5, 20, 20};  // never more than its share
    const double alone[] = {1, 5, 25, 100};   // the rest takes the next way
    for (std::uint32_t step = 0; step < 4; ++step) {
        CAPTURE(step);
        storage::RoutePicture picture = pool_of(2);
        on_probation(picture, 0, step);
        CHECK(is_near(shares(picture)["192.0.2.7"], of_two[step]));
        picture = pool_of(5);
        on_probation(picture, 0, step);
        CHECK(is_near(shares(picture)["192.0.2.7"], of_five[step]));
        CHECK(is_near(shares(picture)["192.0.2.9"], (100 - of_five[step]) / 4));
        picture = pool_of(1, "pool,relay");
        on_probation(picture, 0, step);
        CHECK(is_near(shares(picture)["192.0.2.7"], alone[step]));
        CHECK(is_near(shares(picture)["relay"], 100 - alone[step]));
    }
}

TEST_CASE("probation: two of them share what they may take; where little is sent one message each half hour goes") {
    storage::RoutePicture picture = pool_of(3);
    on_probation(picture, 0, 1);
    on_probation(picture, 1, 2);
    CHECK(is_near(shares(picture)["192.0.2.7"], 5));
    CHECK(is_near(shares(picture)["192.0.2.8"], 25));
    CHECK(is_near(shares(picture)["192.0.2.9"], 70));
    picture.book.standings[0].last_use = kNow - minutes(31);
    CHECK(choose(picture, 1).source->address == "192.0.2.7");
}

TEST_CASE("a weight that changes moves no more than it must; weights are kept") {
    storage::RoutePicture picture = pool_of(3);
    picture.addresses[0].weight = 3;
    const auto before = shares(picture);
    CHECK(is_near(before.at("192.0.2.7"), 60));
    CHECK(is_near(before.at("192.0.2.9"), 20));
    storage::RoutePicture after = picture;
    after.addresses[0].weight = 2;  // of 3/5 only 2/4 stay: a tenth of all must move, from it alone
    std::size_t moved = 0;
    for (std::uint64_t ticket = 1; ticket <= kTickets; ++ticket) {
        const std::string was = choose(picture, ticket).source->address;
        const std::string is = choose(after, ticket).source->address;
        if (was == is) continue;
        ++moved;
        CHECK(was == "192.0.2.7");
    }
    CHECK(is_near(100.0 * static_cast<double>(moved) / kTickets, 10));
}

TEST_CASE("who was tried from an address stays with it while it may send, and no longer") {
    storage::RoutePicture picture = pool_of(2);
    for (std::uint64_t ticket = 1; ticket <= 20; ++ticket) {
        for (const std::string_view last : {"192.0.2.7", "192.0.2.8"}) {
            CHECK(choose(picture, ticket, last).source->address == last);
        }
        CHECK(choose(picture, ticket, "192.0.2.99").source->address == choose(picture, ticket).source->address);
    }
    picture.addresses[1].weight = 50;
    CHECK(choose(picture, 1, "192.0.2.7").source->address == "192.0.2.7");
    Reputation fallen;
    fallen.source = "192.0.2.7";
    fallen.provider = "google";
    fallen.standing = Standing::drained;
    picture.book.standings.push_back(fallen);
    CHECK(choose(picture, 1, "192.0.2.7").source->address == "192.0.2.8");
}

TEST_CASE("greylisting: each recipient comes back from the address that it came from, though weights change") {
    PoolHouse house({"192.0.2.7", "192.0.2.8"}, "pool", false, "none");
    house.turn(minutes(1));
    for (const char* const address : {"192.0.2.7", "192.0.2.8"}) {
        house.google[address].always("RCPT", "450 4.2.0 greylisted, come back later");
    }
    house.send(30);
    std::map<std::string, std::vector<std::string>> asked;
    for (auto& [address, remote] : house.google) {
        for (const std::string& line : remote.lines) {
            if (line.starts_with("RCPT")) asked[address].push_back(line);
        }
    }
    CHECK(asked["192.0.2.7"].size() == 15);
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        TRY_VOID(routes.remove_address("192.0.2.8"));
        storage::SourceAddress one;
        one.address = "192.0.2.8";
        one.pool = "p";
        one.weight = 9;
        return routes.add_address(one);
    }));
    house.restart();
    for (auto& [address, remote] : house.google) {
        remote.always("RCPT", "250 2.1.5 ok");
        remote.lines.clear();
    }
    house.turn(minutes(9));
    for (auto& [address, remote] : house.google) {
        std::vector<std::string> again;
        for (const std::string& line : remote.lines) {
            if (line.starts_with("RCPT")) again.push_back(line);
        }
        std::ranges::sort(again);
        std::ranges::sort(asked[address]);
        CHECK(again == asked[address]);
    }
    CHECK(house.waiting() == 0);
}

}  // namespace posthouse::relay
