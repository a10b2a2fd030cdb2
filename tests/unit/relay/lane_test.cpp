// Lanes at work: what waits in them, what a restart remembers, and the whole relay against stand-in sites.
#include <algorithm>
#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "relay/feed.h"
#include "storage/routes.h"

#include "tests/support/relay_house.h"
#include "tests/support/stand_in_server.h"

namespace posthouse::relay {
namespace {

storage::QueueRecipient only(House& house, storage::QueueId id) {
    return house.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value().front();
}

std::vector<storage::LaneRecord> lanes(House& house) {
    return house.store->read([](const storage::Snapshot& s) { return s.queue().lanes(); }).value();
}

// Says nothing; leaves at once, or when it is let go.
net::Task<void> hang_up(std::unique_ptr<net::Stream> stream, net::Event* let_go) {
    if (let_go != nullptr) co_await let_go->wait();
    stream->close();
}

// Knows nothing of "slow.example" before the gate opens.
class GatedResolver final : public dns::Resolver {
 public:
    GatedResolver(dns::Resolver& inner, net::Event& gate) : inner_(inner), gate_(gate) {}
    net::Task<Result<dns::Answer<dns::MxRecord>>> mx(std::string name) override {
        if (name == "slow.example") co_await gate_.wait();
        co_return co_await inner_.mx(name);
    }
    net::Task<Result<dns::Answer<net::IpAddress>>> addresses(std::string name) override {
        return inner_.addresses(std::move(name));
    }
    net::Task<Result<dns::Answer<std::string>>> txt(std::string name) override { return inner_.txt(std::move(name)); }
    net::Task<Result<dns::Answer<std::string>>> ptr(net::IpAddress address) override { return inner_.ptr(address); }
    net::Task<Result<dns::Answer<dns::TlsaRecord>>> tlsa(std::string name) override {
        return inner_.tlsa(std::move(name));
    }
    net::Task<Result<dns::Answer<std::string>>> cname(std::string name) override {
        return inner_.cname(std::move(name));
    }
    net::Task<dns::DnssecState> test_dnssec() override { return inner_.test_dnssec(); }
    dns::DnssecState dnssec() const override { return inner_.dnssec(); }

 private:
    dns::Resolver& inner_;
    net::Event& gate_;
};

void add_dead(House& house) {
    house.resolver.add_mx("dead.example", 10, "mx.dead.example");
    house.resolver.add_a("mx.dead.example", "192.0.2.9");
}

}  // namespace

TEST_CASE("told to come back in a while, the lane waits; no attempt is used up, and the store knows why") {
    House house;
    house.remote.once("MAIL", "451 4.7.1 Rate limit exceeded, try again in 120 seconds");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    auto row = only(house, id);
    CHECK(row.state == storage::RecipientState::waiting);
    CHECK(row.attempts == 0);
    CHECK(row.cause == storage::WaitCause::lane_rate);
    CHECK(row.last_reply.contains("120 seconds"));
    CHECK(house.events(id, EventKind::attempted) == 1);
    house.settle_after(std::chrono::seconds(60));
    CHECK(house.remote.count("MAIL") == 1);
    REQUIRE(lanes(house).size() == 1);
    CHECK(lanes(house)[0].state == "paused");
    CHECK(lanes(house)[0].name == "mx.b.example");
    CHECK(lanes(house)[0].waiting == 1);
    house.settle_after(std::chrono::seconds(70));
    CHECK(house.waiting() == 0);
    CHECK(house.events(id, EventKind::delivered) == 1);
}

TEST_CASE("a site that cannot be reached is probed once in a while, however many wait for it") {
    test::ScriptedRemote back;  // outlives the house and its connections
    House house;
    add_dead(house);
    std::vector<storage::QueueId> all;
    for (int i = 0; i < 20; ++i) all.push_back(house.submit({"x" + std::to_string(i) + "@dead.example"}));
    house.settle();
    const std::size_t first = house.dialer.dialled().size();
    CHECK(first >= 1);
    CHECK(first <= 5);
    for (int minute = 0; minute < 16; ++minute) house.settle_after(std::chrono::minutes(1));
    CHECK(house.dialer.dialled().size() == first + 4);  // after 1, 2, 4 and 8 minutes
    CHECK(only(house, all.back()).attempts == 0);
    CHECK(only(house, all.back()).cause == storage::WaitCause::network);
    house.serve("192.0.2.9", back);
    house.settle_after(std::chrono::minutes(16));
    CHECK(house.waiting() == 0);
    CHECK(back.messages.size() == 20);
}

TEST_CASE("a new letter to an idle destination leaves at once though thousands wait elsewhere") {
    House house;
    add_dead(house);
    std::vector<std::string> many;
    for (int i = 0; i < 3'000; ++i) many.push_back("x" + std::to_string(i) + "@dead.example");
    house.submit(many);
    house.settle();
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.waiting() == 3'000);
}

TEST_CASE("while the DNS keeps silent about a domain, little of what waits for it is in memory, and others pass") {
    House house;
    net::Event gate(house.loop);
    GatedResolver gated(house.resolver, gate);
    house.kept.resolver = &gated;
    house.restart();
    house.resolver.set_failure("slow.example", Errc::dns_temporary);
    std::vector<std::string> many;
    for (int i = 0; i < 1'000; ++i) many.push_back("x" + std::to_string(i) + "@slow.example");
    for (int i = 0; i < 25; ++i) house.submit(many);
    const auto& unrouted = house.metrics.gauge("relay_unrouted", "Recipients whose domain the DNS is asked for");
    house.relay->wake();
    test::run_until(house.loop, [&] { return unrouted.get() >= 10'000; });
    const auto id = house.submit({"bob@b.example"});
    house.relay->wake();
    test::run_until(house.loop, [&] { return house.events(id, EventKind::delivered) == 1; });
    CHECK(unrouted.get() <= 21'000);
    gate.set();
    house.settle();
    CHECK(unrouted.get() == 0);
    CHECK(house.waiting() == 25'000);
    const auto due = house.store->read([](const storage::Snapshot& s) { return s.queue().next_due(); }).value();
    CHECK(due.value() > house.clock.now());  // every one of them has had its attempt
    house.kept.resolver = &house.resolver;   // which outlives the relay
    house.restart();
}

TEST_CASE("at the start the newest mail is taken up with the oldest, however much lies between") {
    House house;
    add_dead(house);
    std::vector<std::string> many;
    for (int i = 0; i < 2'500; ++i) many.push_back("x" + std::to_string(i) + "@dead.example");
    house.submit(many);
    const auto last = house.submit({"bob@b.example"});
    Core core(house.kept);
    Feed feed(core);
    const auto slice = test::run_task(house.loop, feed.next([](storage::RecipientId) { return false; }, false));
    REQUIRE(slice);
    CHECK(std::ranges::any_of(slice->recipients, [&](const auto& one) { return one.queue == last; }));
    CHECK(slice->recipients.size() <= 2 * kSlice);
    house.settle();
}

TEST_CASE("a look that a commit began is not the last one, where another commit came before it was taken in") {
    House house;
    house.remote.once("RCPT", "450 4.2.0 Greylisted, come back later");
    house.submit({"dora@b.example"});
    house.settle();
    // Nobody else sends from here on.
    house.relay->stop();
    test::run_task(house.loop, house.relay->join());
    Core core(house.kept);
    Feed feed(core);
    std::set<storage::RecipientId> known;
    const auto next = [&] {  // the messages that were not seen before
        const auto is_known = [&](storage::RecipientId id) { return known.contains(id); };
        const auto slice = test::run_task(house.loop, feed.next(is_known, false)).value();
        std::vector<storage::QueueId> out;
        for (const storage::QueueRecipient& one : slice.recipients) {
            known.insert(one.id);
            out.push_back(one.queue);
        }
        return out;
    };
    const auto looked = [&] {  // the pool has one thread: what was asked of it before is done
        std::promise<void> done;
        REQUIRE(house.pool.submit([&] { done.set_value(); }));
        done.get_future().wait();
    };
    using Found = std::vector<storage::QueueId>;
    CHECK(next() == Found());
    REQUIRE(feed.is_exhausted());
    for (const bool adds : {true, false}) {
        CAPTURE(adds);
        feed.expect();
        const auto first = house.submit({"bob@b.example"});
        feed.committed();
        looked();
        Found second;
        if (adds) second.push_back(house.submit({"carol@b.example"}));
        adds ? feed.committed() : feed.overtaken();
        CHECK(next() == Found{first});
        CHECK_FALSE(feed.is_exhausted());
        CHECK(next() == second);
        CHECK(feed.is_exhausted());
    }
    // What came due since it was begun is not passed over either.
    feed.expect();
    const auto third = house.submit({"emil@b.example"});
    feed.committed();
    looked();
    house.clock.advance(std::chrono::minutes(6));  // before the whole look anew
    CHECK(next() == Found{third});
    CHECK_FALSE(feed.is_exhausted());
}

TEST_CASE("a changed route is followed by what waits already") {
    test::ScriptedRemote smarthost;
    House house;
    add_dead(house);
    for (int i = 0; i < 10; ++i) house.submit({"x" + std::to_string(i) + "@dead.example"});
    house.settle();
    CHECK(house.waiting() == 10);
    house.serve("10.0.0.9", smarthost);
    REQUIRE(house.store->write({}, [](storage::Tx& tx) { return add_relay_to(tx, "relay"); }));
    house.settle_after(std::chrono::seconds(5));
    house.settle_after(std::chrono::seconds(5));
    CHECK(house.waiting() == 0);
    CHECK(smarthost.messages.size() == 10);
}

TEST_CASE("what waits in a lane can be held, released and cancelled") {
    test::ScriptedRemote back;
    House house;
    add_dead(house);
    const auto held = house.submit({"x@dead.example"});
    const auto cancelled = house.submit({"y@dead.example"});
    house.settle();
    const auto change = [&](auto what, storage::QueueId id) {
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return (tx.queue().*what)(id); }));
    };
    change(&storage::QueueTx::hold, held);
    change(&storage::QueueTx::cancel, cancelled);
    house.serve("192.0.2.9", back);
    house.settle_after(std::chrono::minutes(40));
    CHECK(back.messages.empty());
    change(&storage::QueueTx::release, held);
    house.settle_after(std::chrono::minutes(1));
    CHECK(back.messages.size() == 1);
    CHECK(house.waiting() == 0);
}

TEST_CASE("a restart remembers how fast a site may be sent to") {
    House house;
    house.remote.once("MAIL", "421 4.7.28 Unusual rate of mail from your address, temporarily rate limited");
    house.submit({"bob@b.example"});
    house.settle();
    house.settle_after(std::chrono::minutes(20));
    CHECK(house.waiting() == 0);
    REQUIRE(lanes(house).size() == 1);
    const auto learned = lanes(house)[0].learned_rate_milli;
    CHECK(learned > 0);
    house.restart();
    house.submit({"carol@b.example"});
    house.settle();
    house.settle_after(std::chrono::seconds(5));
    REQUIRE(lanes(house).size() == 1);
    CHECK(lanes(house)[0].state == "slowed");
    CHECK(lanes(house)[0].learned_rate_milli >= learned);
}

// A message is on disk, and the commit thread stands still behind its commit until it is let go.
struct Stalled {
    Stalled() {
        house.settle();
        house.store->subscribe([this](const storage::CommitNotice& notice) {
            if (!notice.due || !stalls.exchange(false)) return;
            reached.set_value();
            let_go.get_future().wait();
        });
        submitter = std::thread([this] { id = house.submit({"bob@b.example"}); });
        reached.get_future().wait();
    }
    ~Stalled() {
        if (submitter.joinable()) submitter.join();
    }
    void poll_until_data() {
        while (house.remote.count("DATA") == 0) house.loop.poll();
        for (int i = 0; i < 200; ++i) house.loop.poll();
    }
    void resume() {
        let_go.set_value();
        submitter.join();
        house.settle();
    }
    House house;
    std::atomic<bool> stalls = true;
    std::promise<void> reached;
    std::promise<void> let_go;
    storage::QueueId id{};
    std::thread submitter;
};

TEST_CASE("the remote is spoken to while the start is recorded, but no message leaves before") {
    Stalled one;
    one.poll_until_data();
    CHECK(one.house.remote.messages.empty());
    one.resume();
    CHECK(one.house.remote.messages.size() == 1);
    CHECK(one.house.events(one.id, EventKind::delivered) == 1);
}

TEST_CASE("held at the last moment: nothing is handed over, and nothing is counted") {
    Stalled one;
    one.poll_until_data();  // its start waits to be recorded
    const auto command = one.house.store.open_another();  // `queue hold`, from a process of its own
    REQUIRE(command->write({}, [](storage::Tx& tx) -> Result<> {
        TRY(const auto all, tx.queue().list(storage::QueueId{}, 1));
        return tx.queue().hold(all.at(0).id);
    }));
    one.resume();
    CHECK(one.house.remote.messages.empty());
    const auto rows =
        one.house.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(one.id); }).value();
    CHECK(rows.front().state == storage::RecipientState::held);
    CHECK(rows.front().attempts == 0);
    CHECK(one.house.events(one.id, EventKind::attempted) == 0);
    REQUIRE(one.house.store->write({}, [&](storage::Tx& tx) { return tx.queue().release(one.id); }));
    one.house.settle();
    CHECK(one.house.remote.messages.size() == 1);
}

TEST_CASE("a remote whose lines end with LF alone is understood") {
    test::StandInTraits traits;
    traits.lf_only = true;
    test::StandInSite site(traits, 1);
    std::unique_ptr<test::StandInServer> server;  // outlives the house and its connections
    House house;
    server = std::make_unique<test::StandInServer>(site, house.clock);
    house.resolver.add_mx("lf.example", 10, "mx.lf.example");
    house.resolver.add_a("mx.lf.example", "192.0.2.8");
    house.dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.8").value(), 25),
                       [&](std::unique_ptr<net::Stream> stream) { return server->serve(std::move(stream), 0); });
    const auto id = house.submit({"bob@lf.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(site.taken_total() == 1);
}

TEST_CASE("a closed lane is probed, and goes on, while another connection of it hangs") {
    test::ScriptedRemote back;  // outlives the house and its connections
    House house;
    add_dead(house);
    net::Event let_go(house.loop);
    std::size_t connections = 0;
    bool answers = false;
    house.dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.9").value(), 25),
                       [&](std::unique_ptr<net::Stream> stream) -> net::Task<void> {
                           ++connections;
                           if (answers) return back.serve(std::move(stream));
                           return hang_up(std::move(stream), connections == 1 ? &let_go : nullptr);
                       });
    for (int i = 0; i < 20; ++i) house.submit({"x" + std::to_string(i) + "@dead.example"});
    house.relay->wake();
    // All but the first have been heard of: the lane is closed.
    const auto& unreached =
        house.metrics.counter("relay_lane_refusals_total", "What slowed lanes", "kind=\"unreachable\"");
    test::run_until(house.loop, [&] {
        return connections >= 2 && static_cast<std::size_t>(unreached.get()) + 1 == connections &&
               house.waiting() == 19;
    });
    answers = true;
    house.clock.advance(std::chrono::seconds(61));
    house.relay->wake();
    test::run_until(house.loop, [&] { return back.messages.size() == 19; });
    let_go.set();
    house.settle();
    house.settle_after(std::chrono::minutes(10));
    CHECK(back.messages.size() == 20);
    CHECK(house.waiting() == 0);
}

TEST_CASE("queue retry opens the lane that a message enters, though it waited for a timer of its own") {
    House house;
    house.remote.once("RCPT", "450 4.2.0 Greylisted, come back later");
    const auto grey = house.submit({"bob@b.example"});
    house.settle();
    CHECK(only(house, grey).cause == storage::WaitCause::greylist);
    house.remote.always("(greeting)", "421 4.3.2 closing for a while" + std::string(kHangUp));
    const auto other = house.submit({"carol@b.example"});
    house.settle();
    CHECK(house.events(other, EventKind::delivered) == 0);
    house.remote.always("(greeting)", "220 back");
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().retry_now(grey); }));
    house.settle();
    CHECK(house.events(grey, EventKind::delivered) == 1);
    CHECK(house.events(other, EventKind::delivered) == 1);
}

TEST_CASE("421 in the middle, without a reason: no rate is learned, and the mail goes in a quarter of a minute") {
    House house;
    house.remote.once("MAIL", "421 4.3.2 closing" + std::string(kHangUp));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(only(house, id).attempts == 0);
    house.settle_after(std::chrono::seconds(16));
    CHECK(house.events(id, EventKind::delivered) == 1);
    house.submit({"bob@b.example"});
    house.settle();
    house.settle_after(std::chrono::seconds(3));
    for (const auto& lane : lanes(house)) CHECK(lane.learned_rate_milli == 0);
    CHECK(house.waiting() == 0);
}

TEST_CASE("a server that takes few recipients at a time is given as many messages as it takes, at once") {
    House house;
    house.remote.once("RCPT TO:<r0@", "552 Too many recipients");
    for (int i = 3; i < 6; ++i) house.remote.once("RCPT TO:<r" + std::to_string(i) + "@", "452 4.5.3 Too many");
    const auto id =
        house.submit({"r0@b.example", "r1@b.example", "r2@b.example", "r3@b.example", "r4@b.example", "r5@b.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 6);
    CHECK(house.events(id, EventKind::bounced) == 0);
    CHECK(house.events(id, EventKind::attempted) == 0);
    CHECK(house.remote.messages.size() >= 2);
}

}  // namespace posthouse::relay
