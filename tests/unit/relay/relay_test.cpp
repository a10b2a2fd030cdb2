// The whole leg: a store, a fake DNS, scripted remotes, time that the test turns.
#include <doctest/doctest.h>

#include <atomic>

#include "protocols/mime/facts.h"
#include "relay/service.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"
#include "tests/support/memory_dialer.h"
#include "tests/support/scripted_remote.h"
#include "tests/support/temp_store.h"

namespace posthouse::relay {
namespace {

using storage::EventKind;
using test::kHangUp;

class TurnedClock final : public Clock {
 public:
    Time now() const override { return from_unix_ms(ms_.load()); }
    void advance(Milliseconds by) { ms_ += by.count(); }

 private:
    std::atomic<std::int64_t> ms_{1'764'000'000'000};
};

constexpr std::string_view kMessage =
    "Return-Path: <alice@home.example>\r\nFrom: alice@home.example\r\nTo: bob@b.example\r\n"
    "Message-ID: <m1@home.example>\r\nSubject: hello\r\n\r\nbody\r\n";

struct House {
    House()
        : store([this](storage::StoreOptions& o) { o.clock = &clock; }),
          alice(store.add_account("alice@home.example")) {
        resolver.add_mx("b.example", 10, "mx.b.example");
        resolver.add_a("mx.b.example", "192.0.2.1");
        serve("192.0.2.1", remote);
        RelayDeps deps;
        deps.store = &*store;
        deps.loop = &loop;
        deps.pool = &pool;
        deps.dialer = &dialer;
        deps.resolver = &resolver;
        deps.random = &system_random();
        deps.clock = &clock;
        deps.metrics = &metrics;
        deps.hostname = "mail.home.example";
        deps.options.refill_interval = std::chrono::milliseconds(1);
        deps.options.idle = std::chrono::milliseconds(1);
        deps.options.stop_patience = std::chrono::milliseconds(1);
        relay = std::make_unique<Relay>(std::move(deps));
        relay->start();
    }
    ~House() {
        relay->stop();
        test::run_task(loop, relay->join());
        test::run_task(loop, dialer.join());
    }

    void serve(std::string_view address, test::ScriptedRemote& with) {
        dialer.serve(net::Endpoint(net::IpAddress::parse(address).value(), 25),
                     [&with](std::unique_ptr<net::Stream> stream) { return with.serve(std::move(stream)); });
    }

    storage::QueueId submit(std::vector<std::string> recipients, std::string sender = "alice@home.example",
                            storage::NotifyBits notify = 0) {
        const auto body = store.stage(kMessage);
        auto accepted = store->write_value({body}, [&](storage::Tx& tx) {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(kMessage);
            delivery.sender = sender;
            delivery.first_attempt = tx.now();
            storage::NewQueueItem item;
            item.reverse_path = sender;
            item.expires = tx.now() + std::chrono::hours(24 * 5);
            for (const std::string& address : recipients) {
                storage::NewRecipient recipient;
                recipient.address = address;
                recipient.notify = notify;
                item.recipients.push_back(recipient);
            }
            delivery.outgoing = item;
            return tx.deliver(delivery);
        });
        REQUIRE(accepted);
        return accepted->queue.value();
    }

    /// Everything that is due is done; then the hands of the clock are where the test left them.
    void settle() {
        relay->wake();
        test::run_task(loop, relay->drained());
    }
    void settle_after(Milliseconds span) {
        clock.advance(span);
        settle();
    }
    std::uint64_t waiting() {
        return store->read([](const storage::Snapshot& s) { return s.queue().waiting_count(); }).value();
    }
    std::size_t events(storage::QueueId id, EventKind kind) {
        const auto all = store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); }).value();
        std::size_t count = 0;
        for (const storage::Event& event : all) count += event.kind == kind ? 1 : 0;
        return count;
    }
    std::vector<std::string> inbox() {
        return store
            ->read([&](const storage::Snapshot& s) -> Result<std::vector<std::string>> {
                const storage::MailView& mail = s.mail(alice);
                TRY(const storage::Mailbox box, mail.mailbox("INBOX"));
                TRY(const auto entries, mail.entries(box.id, 1, ~storage::Uid{0}));
                std::vector<std::string> out;
                for (const storage::Entry& entry : entries) {
                    TRY(const storage::BodyReader body, mail.body(box.id, entry.uid));
                    TRY(out.emplace_back(), body.read_all());
                }
                return out;
            })
            .value();
    }

    TurnedClock clock;
    net::Loop loop;
    test::TempStore store;
    storage::AccountId alice;
    net::ThreadPool pool{"test", 1};
    test::FakeResolver resolver;
    test::MemoryDialer dialer{loop};
    test::ScriptedRemote remote;
    Metrics metrics;
    std::unique_ptr<Relay> relay;
};

}  // namespace

TEST_CASE("a message goes to the MX of its domain, once, without its Return-Path") {
    House house;
    const auto id = house.submit({"bob@b.example", "carol@b.example"});
    house.settle();
    REQUIRE(house.remote.messages.size() == 1);
    CHECK(house.remote.messages[0].starts_with("From: alice@home.example\r\n"));
    CHECK(house.remote.messages[0].ends_with("\r\n\r\nbody\r\n"));
    CHECK(house.remote.count("RCPT") == 2);
    CHECK(house.waiting() == 0);
    CHECK(house.events(id, EventKind::delivered) == 2);
    CHECK(house.inbox().empty());
}

TEST_CASE("greylisting: put off, tried again when its time has come, then delivered") {
    House house;
    house.remote.once("RCPT", "450 4.2.0 greylisted, come back");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.waiting() == 1);
    CHECK(house.events(id, EventKind::attempted) == 1);
    house.settle_after(std::chrono::minutes(4));
    CHECK(house.remote.count("RCPT") == 1);  // not before its time
    house.settle_after(std::chrono::minutes(2));
    CHECK(house.waiting() == 0);
    CHECK(house.events(id, EventKind::delivered) == 1);
    REQUIRE(house.remote.messages.size() >= 1);
    CHECK(house.inbox().empty());
}

TEST_CASE("a refusal comes back as a report in the sender's mailbox; the others get their copy") {
    House house;
    house.remote.always("RCPT TO:<nobody@", "550 5.1.1 No such user");
    const auto id = house.submit({"bob@b.example", "nobody@b.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.events(id, EventKind::bounced) == 1);
    const auto mail = house.inbox();
    REQUIRE(mail.size() == 1);
    CHECK(mail[0].contains("Final-Recipient: rfc822; nobody@b.example"));
    CHECK(mail[0].contains("Diagnostic-Code: smtp; 550 5.1.1 No such user"));
    CHECK_FALSE(mail[0].contains("rfc822; bob@b.example"));
    CHECK(house.waiting() == 0);
}

TEST_CASE("no report about the null sender's mail; unknown domains fail at once") {
    House house;
    const auto id = house.submit({"x@nowhere.example"}, "");
    house.settle();
    CHECK(house.events(id, EventKind::bounced) == 1);
    CHECK(house.inbox().empty());
    house.submit({"x@nowhere.example"});
    house.settle();
    REQUIRE(house.inbox().size() == 1);
    CHECK(house.inbox()[0].contains("Status: 5.1.2"));
}

TEST_CASE("a host that never answers: one notice of delay, then given up with a report") {
    House house;
    house.resolver.add_mx("dead.example", 10, "mx.dead.example");
    house.resolver.add_a("mx.dead.example", "192.0.2.9");
    const auto id = house.submit({"x@dead.example"});
    house.settle();
    CHECK(house.inbox().empty());
    for (int hour = 0; hour < 5 * 24 + 3; ++hour) house.settle_after(std::chrono::hours(1));
    CHECK(house.waiting() == 0);
    const auto mail = house.inbox();
    REQUIRE(mail.size() == 2);
    CHECK(mail[0].contains("Action: delayed"));
    CHECK(mail[1].contains("Action: failed"));
    CHECK(mail[1].contains("Status: 4.4.7"));
    CHECK(house.events(id, EventKind::delayed) == 1);
    CHECK(house.events(id, EventKind::expired) == 1);
    CHECK(house.events(id, EventKind::bounced) == 1);
}

TEST_CASE("an MX on this machine or a private network is refused, RFC 5321 5.1 and common sense") {
    House house;
    house.resolver.add_mx("trick.example", 10, "localhost.trick.example");
    house.resolver.add_a("localhost.trick.example", "127.0.0.1");
    house.submit({"x@trick.example"});
    house.settle();
    REQUIRE(house.inbox().size() == 1);
    CHECK(house.inbox()[0].contains("Status: 5.4.4"));
    CHECK(house.dialer.dialled().empty());
}

TEST_CASE("domains with the same hosts share a lane and its connection, one transaction each") {
    House house;
    for (const char* domain : {"c.example", "d.example"}) house.resolver.add_mx(domain, 20, "mx.b.example");
    const auto id = house.submit({"x@b.example", "y@c.example", "z@d.example", "w@c.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 4);
    CHECK(house.remote.messages.size() == 3);
    CHECK(house.remote.count("RCPT") == 4);
    CHECK(house.remote.connections <= 3);
    house.submit({"y@c.example"});
    house.settle();
    CHECK(house.resolver.queries_for("c.example") == 1);  // the plan was kept
}

TEST_CASE("452 too many recipients: the rest follows at once on the same connection") {
    House house;
    house.remote.once("RCPT TO:<c@", "452 4.5.3 too many");
    const auto id = house.submit({"b@b.example", "c@b.example"});
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 2);
    CHECK(house.remote.messages.size() == 2);
    CHECK(house.remote.connections == 1);
}

TEST_CASE("each recipient ends in exactly one way, wherever the remote hangs up") {
    for (const char* where : {"(greeting)", "EHLO", "MAIL", "RCPT", "DATA", "(message)", "."}) {
        CAPTURE(where);
        House house;
        house.remote.once(where, std::string(kHangUp));
        const auto id = house.submit({"bob@b.example"});
        house.settle();
        CHECK(house.waiting() == 1);
        house.settle_after(std::chrono::minutes(10));
        CHECK(house.waiting() == 0);
        CHECK(house.events(id, EventKind::delivered) == 1);
        CHECK(house.events(id, EventKind::bounced) == 0);
    }
}

TEST_CASE("what a crash left under way is taken up again") {
    House house;
    house.remote.once("(greeting)", "421 not now<hang up>");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    // As if the process had died between the start and the outcome.
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto recipients, tx.queue().recipients(id));
        const std::vector<storage::RecipientId> ids{recipients.front().id};
        TRY_VOID(tx.queue().start(ids));
        TRY(const auto count, tx.queue().recover());
        CHECK(count == 1);
        return {};
    }));
    house.settle_after(std::chrono::minutes(10));
    CHECK(house.events(id, EventKind::delivered) == 1);
}

TEST_CASE("what a stop interrupts is not put off: the next start takes it up at once") {
    House house;
    house.remote.once("EHLO", "");  // never answered
    const auto id = house.submit({"bob@b.example"});
    house.relay->wake();
    while (house.remote.count("EHLO") == 0) house.loop.poll();
    house.relay->stop();
    test::run_task(house.loop, house.relay->join());
    const auto recipients =
        house.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value();
    CHECK(recipients.front().state == storage::RecipientState::sending);
    CHECK(recipients.front().next_attempt <= house.clock.now());
    CHECK(house.events(id, EventKind::attempted) == 0);
}

}  // namespace posthouse::relay
