// The whole leg: a store, a fake DNS, scripted remotes, time that the test turns.
#include <fmt/format.h>

#include "protocols/mailauth/return_token.h"
#include "protocols/mailauth/srs.h"
#include "storage/report.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {

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

TEST_CASE("a sender whose account is gone by the time: the outcome is written all the same, once") {
    House house;
    house.remote.always("RCPT TO:<nobody@", "550 5.1.1 No such user");
    const auto bob = house.store.add_account("bob@home.example");
    const auto id = house.submit({"carol@b.example", "nobody@b.example"}, "bob@home.example", 0, bob);
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.catalog().remove_account(bob); }));
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.events(id, EventKind::bounced) == 1);
    CHECK(house.waiting() == 0);
    house.restart();
    house.settle();
    CHECK(house.remote.messages.size() == 1);
    CHECK(house.inbox().empty());
}

TEST_CASE("mail that comes back through somebody's forwarding: its failure is told to who sent it at first") {
    House house;
    house.remote.always("RCPT TO:<nobody@", "550 5.1.1 No such user");
    const auto first = house.submit({"bob@b.example"});
    house.settle();
    const mailauth::ReturnToken token{static_cast<std::uint64_t>(storage::raw(first)), std::nullopt};
    const auto keys = mailauth::return_keys(house.store->sealing_key());
    house.submit({"nobody@b.example"}, mailauth::make_return_token(keys, token, house.clock.now()) + "@home.example");
    house.settle();
    REQUIRE(house.inbox().size() == 1);
    CHECK(house.inbox()[0].contains("Final-Recipient: rfc822; nobody@b.example"));
    const auto local = mailauth::srs_forward(mailauth::srs_keys(house.store->sealing_key()),
                                             mailauth::SrsMailbox{"carol", "b.example"}, house.clock.now());
    REQUIRE(local);
    house.submit({"nobody@b.example"}, *local + "@home.example");
    house.settle();
    CHECK(house.remote.count("RCPT TO:<carol@b.example> NOTIFY=NEVER") == 1);
    CHECK(house.inbox().size() == 1);
    // Made by nobody here: told to nobody.
    house.submit({"nobody@b.example"}, "pht0=aaaaaaaaaa=aa=b@home.example");
    house.settle();
    CHECK(house.inbox().size() == 1);
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

TEST_CASE("a transaction for many is told to each with its own lines, and written down in bites") {
    House house;
    std::vector<std::string> all{"carol@b.example"};
    for (int i = 0; i < 60; ++i) all.push_back(fmt::format("r{}@b.example", i));
    house.remote.once("RCPT", "550 5.1.1 no such user");
    const auto id = house.submit(all);
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 60);
    CHECK(house.events(id, EventKind::bounced) == 1);
    CHECK(house.inbox().size() == 1);
    CHECK(house.waiting() == 0);
    const auto events = house.store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); }).value();
    for (const storage::Event& event : events) {
        if (event.dialogue.empty()) continue;
        CAPTURE(event.dialogue);
        CHECK(event.dialogue.contains("C: RCPT TO:<" + event.recipient + ">"));
        CHECK(event.dialogue.contains("no such user") == (event.recipient == "carol@b.example"));
        CHECK(event.dialogue.find("C: RCPT") == event.dialogue.rfind("C: RCPT"));
        CHECK(event.dialogue.contains("* the lines about the others are left out"));
        CHECK(event.dialogue.contains("C: MAIL FROM:<alice@home.example>"));
    }
}

TEST_CASE("after a long outage of ours nothing is given up before it had its chance") {
    House house;
    house.remote.once("(greeting)", "421 not now<hang up>");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    house.relay->stop();
    test::run_task(house.loop, house.relay->join());
    house.clock.advance(std::chrono::hours(6 * 24));          // longer than its time
    house.remote.once("(greeting)", "421 not now<hang up>");  // and the net comes up after us
    house.relay = std::make_unique<Relay>(house.kept);
    house.relay->start();
    house.settle();
    CHECK(house.events(id, EventKind::bounced) == 0);
    for (int minute = 0; minute < 30; ++minute) house.settle_after(std::chrono::minutes(1));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.events(id, EventKind::expired) == 0);
}

TEST_CASE("after a start its time is over an hour later all the same") {
    House house;
    house.resolver.add_mx("dead.example", 10, "mx.dead.example");
    house.resolver.add_a("mx.dead.example", "192.0.2.9");
    const auto id = house.submit({"x@dead.example"});
    house.settle();
    house.clock.advance(std::chrono::hours(6 * 24));
    house.restart();
    for (int minute = 0; minute < 59; ++minute) house.settle_after(std::chrono::minutes(1));
    CHECK(house.events(id, EventKind::bounced) == 0);
    for (int minute = 0; minute < 30; ++minute) house.settle_after(std::chrono::minutes(1));
    CHECK(house.events(id, EventKind::bounced) == 1);
}

TEST_CASE("figures say by which way and to whose provider it went, how long it took, and what was put off") {
    House house;
    house.remote.once("RCPT", "451 4.2.0 later");
    house.submit({"bob@b.example"});
    house.settle();
    house.settle_after(std::chrono::hours(2));
    const auto lines = [&](storage::ReportBy by) {
        storage::ReportFilter filter;
        filter.to_day = 40'000;
        return house.store->read([&](const storage::Snapshot& s) { return storage::ReportView(s).lines(by, filter); })
            .value();
    };
    const auto ways = lines(storage::ReportBy::way);
    REQUIRE(ways.size() == 2);
    CHECK(ways[0].of(storage::Figure::sent) == 1);
    CHECK(ways[1].key == "direct");
    CHECK(ways[1].of(storage::Figure::tried) == 1);
    CHECK(ways[1].of(storage::Figure::put_off) == 1);
    CHECK(ways[1].of(storage::Figure::delayed) == 1);
    CHECK(ways[1].of(storage::Figure::delivered) == 1);
    CHECK(ways[1].times.percentile(0.5).value() > std::chrono::hours(1));
    CHECK(lines(storage::ReportBy::provider)[1].key == "other");
    CHECK(storage::report_rebuild(*house.store)->differed == 0);
}

TEST_CASE("a mail server whose address leads into our own house is none, in whichever form it is written") {
    for (const char* const address : {"10.0.0.25", "127.0.0.1", "64:ff9b::a00:19", "2002:a00:19::1", "::ffff:10.0.0.25",
                                      "224.0.0.1", "0.0.0.0", "fd00::25"}) {
        CAPTURE(address);
        test::ScriptedRemote inner;
        House house;
        house.resolver.add_mx("evil.example", 10, "mx.evil.example");
        house.resolver.add_a("mx.evil.example", address);
        house.serve(address, inner);
        const auto id = house.submit({"mallory@evil.example"});
        house.settle();
        CHECK(inner.connections == 0);
        CHECK(house.events(id, EventKind::bounced) == 1);
    }
}

}  // namespace posthouse::relay
