// Who may be at work at once: letters before jobs, nobody for ever, and no place for those who hang.
#include "relay/places.h"

#include <algorithm>

#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

constexpr std::uint8_t kBulk = 2;

Places::Bounds bounds(std::size_t most, std::size_t slow_max) {
    Places::Bounds out;
    out.most = most;
    out.slow_max = slow_max;
    return out;
}

// Takes the connection and says nothing until it is let go.
net::Task<void> say_nothing(std::unique_ptr<net::Stream> stream, net::Event* let_go) {
    co_await let_go->wait();
    stream->close();
}

void add_site(House& house, const std::string& domain, const std::string& address) {
    house.resolver.add_mx(domain, 10, "mx." + domain);
    house.resolver.add_a("mx." + domain, address);
}

storage::QueueId submit_bulk(House& house, const std::string& to) {
    const auto body = house.store.stage(kMessage);
    const auto accepted = house.store->write_value({body}, [&](storage::Tx& tx) {
        storage::Delivery delivery;
        delivery.body = body;
        delivery.facts = mime::compute_facts(kMessage);
        delivery.sender = "news@home.example";
        delivery.first_attempt = tx.now();
        storage::NewQueueItem item;
        item.reverse_path = "news@home.example";
        item.mail_class = kBulk;
        item.recipients.emplace_back().address = to;
        delivery.outgoing = item;
        return tx.deliver(delivery);
    });
    return accepted.value().queue.value();
}

std::int64_t delivered_at(House& house, storage::QueueId id) {
    const auto all = house.store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); }).value();
    const auto found = std::ranges::find(all, EventKind::delivered, &storage::Event::kind);
    return found == all.end() ? 0 : found->id;
}

}  // namespace

TEST_CASE("the last fifth of the places is for letters, and those who hang have none") {
    const Time start = from_unix_ms(1'764'000'000'000);
    Places places(bounds(10, 3));
    std::vector<Places::Ticket> tickets;
    for (int i = 0; i < 8; ++i) {
        CHECK(places.has_room(false));
        places.come();
        tickets.push_back(places.begin(start + Milliseconds(i)));
    }
    CHECK_FALSE(places.has_room(false));
    CHECK(places.has_room(true));
    CHECK(places.next() == start + Milliseconds(5'000));
    CHECK_FALSE(places.age(start + Milliseconds(4'999)));
    CHECK(places.age(start + Milliseconds(5'000)));
    CHECK(places.has_room(false));
    CHECK(places.age(start + Milliseconds(5'007)));
    CHECK(places.slow() == 8);
    places.come();  // of eight that hang three count for nothing: with this one six places are taken
    CHECK(places.has_room(false));
    places.come();
    places.come();
    CHECK_FALSE(places.has_room(false));
    for (const Places::Ticket& ticket : tickets) places.end(ticket);
    CHECK(places.slow() == 0);
    CHECK_FALSE(places.next());
    CHECK_FALSE(places.has_room(true));  // they are workers still, but at nothing
}

TEST_CASE("hosts that take a connection and say nothing stop nobody else's mail") {
    House house([](RelayOptions& options) { options.connections_max = 3; });
    net::Event let_go(house.loop);
    for (int i = 0; i < 3; ++i) {
        const std::string number = std::to_string(i);
        add_site(house, "hung" + number + ".example", "192.0.2.10" + number);
        house.dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.10" + number).value(), 25),
                           [&](auto stream) { return say_nothing(std::move(stream), &let_go); });
        house.submit({"bob@hung" + number + ".example"});
    }
    const auto turn_until = [&](const auto& done) {
        while (!done()) house.loop.poll();
    };
    house.relay->wake();
    turn_until([&] { return house.dialer.dialled().size() == 3; });
    const auto letter = house.submit({"bob@b.example"});
    house.relay->wake();
    house.clock.advance(Milliseconds(6'000));
    turn_until([&] {
        house.relay->wake();
        return delivered_at(house, letter) != 0;
    });
    CHECK(house.remote.messages.size() == 1);
    let_go.set();
    house.settle();
}

TEST_CASE("a letter to another site waits for one message of a job, not for all of it") {
    test::ScriptedRemote jobs_end;
    House house([](RelayOptions& options) { options.connections_max = 1; });
    add_site(house, "job.example", "192.0.2.7");
    house.serve("192.0.2.7", jobs_end);
    std::vector<storage::QueueId> job;
    for (int i = 0; i < 40; ++i) job.push_back(submit_bulk(house, "x" + std::to_string(i) + "@job.example"));
    const auto letter = house.submit({"bob@b.example"});
    house.settle();
    CHECK(jobs_end.messages.size() == 40);
    const auto at = delivered_at(house, letter);
    REQUIRE(at != 0);
    const auto before = [&](storage::QueueId id) { return delivered_at(house, id) < at; };
    CHECK(std::ranges::count_if(job, before) <= 3);
}

TEST_CASE("while others wait for a place, one job gives its own back after its turn") {
    test::ScriptedRemote first;
    test::ScriptedRemote second;
    House house([](RelayOptions& options) {
        options.connections_max = 1;
        options.turn = Milliseconds(0);
    });
    add_site(house, "one.example", "192.0.2.7");
    add_site(house, "two.example", "192.0.2.8");
    house.serve("192.0.2.7", first);
    house.serve("192.0.2.8", second);
    std::vector<storage::QueueId> job;
    for (int i = 0; i < 20; ++i) job.push_back(submit_bulk(house, "x" + std::to_string(i) + "@one.example"));
    const auto other = submit_bulk(house, "bob@two.example");
    house.settle();
    CHECK(first.messages.size() == 20);
    const auto at = delivered_at(house, other);
    REQUIRE(at != 0);
    const auto before = [&](storage::QueueId id) { return delivered_at(house, id) < at; };
    CHECK(std::ranges::count_if(job, before) <= 3);
}

}  // namespace posthouse::relay
