// Held instead of lost: mail refused for a fault of ours waits under an incident that is told once, is tried again from
// time to time, and goes at once when the fault is mended or another way is there.
#include "relay/incidents.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/incident_link.h"
#include "storage/routes.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::Incident;
using storage::IncidentKind;
using storage::IncidentTx;
using storage::IncidentView;
using storage::RecipientState;

constexpr std::string_view kBlocked =
    "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org";

// It answers for as long as the house may ask.
struct Smarthost {
    test::ScriptedRemote smarthost;
};

struct HeldHouse : Smarthost, House {
    HeldHouse() {
        remote.keywords = {"8BITMIME", "DSN"};
        smarthost.keywords = {"8BITMIME", "AUTH PLAIN"};
        serve("10.0.0.9", smarthost);
        settle();  // the first look at our own addresses is over
    }
    std::vector<Incident> all() {
        return store->read([](const storage::Snapshot& s) { return IncidentView(s).list(true, 100); }).value();
    }
    storage::QueueRecipient row(storage::QueueId id) {
        return store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value().front();
    }
    std::size_t inbox_with(std::string_view text) {
        std::size_t count = 0;
        for (const std::string& mail : inbox()) count += mail.contains(text) ? 1 : 0;
        return count;
    }
    std::size_t told(std::string_view text) {
        const auto events =
            store->read([](const storage::Snapshot& s) { return s.events().about_server(100); }).value();
        std::size_t count = 0;
        for (const storage::Event& event : events) count += event.detail.contains(text) ? 1 : 0;
        return count;
    }
    void add_relay(std::string_view steps) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return add_relay_to(tx, steps); }));
    }
    // As in a minute of real time: the watch comes round every ten seconds.
    void settle_slowly(Milliseconds span) {
        settle_after(span);
        settle_after(std::chrono::seconds(15));
        settle_after(std::chrono::seconds(15));
    }
};

}  // namespace

TEST_CASE("refused for our address with no other way: held, not lost; what follows is held without being tried") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto first = house.submit({"bob@b.example"});
    house.settle();
    const auto second = house.submit({"carol@b.example"});
    house.settle();
    CHECK(house.remote.count("RCPT") == 1);
    for (const auto id : {first, second}) {
        CHECK(house.row(id).state == RecipientState::held);
        CHECK(house.events(id, EventKind::held) == 1);
        CHECK(house.events(id, EventKind::bounced) == 0);
        CHECK(house.row(id).last_reply.starts_with("Held by incident 1"));
    }
    REQUIRE(house.all().size() == 1);
    const Incident incident = house.all().front();
    CHECK(incident.key.kind == IncidentKind::ip_blocked);
    CHECK(incident.key.way == "direct");
    CHECK(incident.key.site == "mx.b.example ");
    CHECK(incident.reply == kBlocked);
    CHECK(incident.remote == "mx.b.example [192.0.2.1]");
    CHECK(house.told("incident 1: mx.b.example refuses mail from our address") == 1);
    CHECK(house.metrics.to_prometheus().contains("posthouse_incidents_open{kind=\"ip-blocked\"} 1"));

    // A probe is one message; the postmaster hears of it once.
    house.settle_slowly(hours(1));
    CHECK(house.remote.count("RCPT") == 2);
    house.settle_slowly(hours(1));
    CHECK(house.remote.count("RCPT") == 2);
    CHECK(house.inbox_with("Subject: Incident 1: mx.b.example refuses mail from our address") == 1);

    house.remote.always("RCPT", "250 2.1.5 welcome back");
    house.settle_slowly(hours(1));
    CHECK(house.remote.messages.size() == 2);
    CHECK(house.events(first, EventKind::delivered) == 1);
    CHECK(house.events(second, EventKind::delivered) == 1);
    CHECK(house.events(first, EventKind::bounced) + house.events(second, EventKind::bounced) == 0);
    CHECK_FALSE(house.all().front().open);
    house.settle_slowly(hours(1));
    CHECK(house.inbox_with("Subject: Incident 1 is over") == 1);
    CHECK(house.inbox_with("Subject: Incident 1: ") == 1);
    CHECK(house.told("incident 1 is over") == 1);
}

TEST_CASE("whoever thinks of ever new refusals fills nobody's mailbox: many share a mail, and mails have a pace") {
    HeldHouse house;
    int count = 0;
    const auto refuse = [&](int more) {
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
            for (int i = 0; i < more; ++i) {
                storage::IncidentKey key;
                key.kind = IncidentKind::ip_blocked;
                key.way = "direct";
                key.site = fmt::format("mx{}.world.example ", ++count);
                TRY_VOID(IncidentTx(tx).note(key, storage::Refusal()));
            }
            return {};
        }));
        house.settle_after(std::chrono::seconds(15));
    };
    const auto mails = [&] { return house.inbox().size(); };
    refuse(4);
    REQUIRE(mails() == 1);
    CHECK(house.inbox().back().contains("Subject: 4 incidents: Incident 1: mx1.world.example"));
    refuse(3);
    CHECK(mails() == 4);
    refuse(1);
    CHECK(mails() == 5);
    refuse(2);
    CHECK(mails() == kMailsAtOnce);  // one mail was left
    for (int i = 0; i < 30; ++i) refuse(1);
    CHECK(mails() == kMailsAtOnce);
    house.settle_after(minutes(10));
    CHECK(mails() == kMailsAtOnce + 1);
    CHECK(house.inbox().back().contains("Subject: 30 incidents: "));
    house.settle_after(minutes(15));
    CHECK(mails() == kMailsAtOnce + 1);  // nothing is left to tell
    for (int i = 1; i <= count; ++i) {
        CAPTURE(i);
        CHECK(house.inbox_with(fmt::format("Incident {}: mx{}.world.example refuses mail", i, i)) == 1);
    }
    house.settle_after(hours(1));
    refuse(3);
    CHECK(mails() == kMailsAtOnce + 4);  // as at first
}

TEST_CASE("an incident that comes back is told where no mail had told that it began") {
    HeldHouse house;
    storage::IncidentKey key;
    key.kind = IncidentKind::ip_blocked;
    key.way = "direct";
    key.site = "mx.world.example ";
    const auto note = [&] {
        return house.store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).note(key, {}); }).value();
    };
    const auto begun = note();
    const auto clear = [](const Incident& one) {
        return [id = one.id](storage::Tx& tx) { return IncidentTx(tx).clear(id, "by the test"); };
    };
    REQUIRE(house.store->write_value({}, clear(begun)));
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.inbox_with("Subject: Incident 1 is over") == 1);
    CHECK(house.inbox_with("Subject: Incident 1: ") == 0);
    note();
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.inbox_with("Subject: Incident 1: ") == 1);
    REQUIRE(house.store->write_value({}, clear(begun)));
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.inbox_with("Subject: Incident 1 is over") == 2);
    note();  // what comes and goes is told once
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.inbox_with("Subject: Incident 1: ") == 1);
}

TEST_CASE("an incident that came back while the mail about its end was made is not taken for told") {
    HeldHouse house;
    storage::IncidentKey key;
    key.kind = IncidentKind::ip_blocked;
    key.way = "direct";
    for (const bool is_told : {false, true}) {
        CAPTURE(is_told);
        const auto note = [&] {
            return house.store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).note(key, {}); }).value();
        };
        const auto by_id = [&](storage::IncidentId id) {
            return house.store->read([&](const storage::Snapshot& s) { return IncidentView(s).by_id(id); }).value();
        };
        const auto set_told = [&](const Incident& as_read) {
            REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return IncidentTx(tx).set_told(as_read); }));
        };
        key.site = is_told ? "mx2.world.example " : "mx1.world.example ";
        const auto id = note().id;
        if (is_told) set_told(by_id(id));
        REQUIRE(house.store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).clear(id, "by the test"); }));
        const Incident as_read = by_id(id);
        REQUIRE_FALSE(as_read.open);
        note();
        set_told(as_read);
        CHECK(by_id(id).open);
        CHECK(by_id(id).told == (is_told ? 1 : 0));
    }
}

TEST_CASE("the mail about an incident has a link to the page with the button, where a service of ours shows it") {
    for (const bool serves : {false, true}) {
        CAPTURE(serves);
        House house([&](RelayOptions& options) { options.serves_pages = serves; });
        house.remote.always("RCPT", std::string(kBlocked));
        house.submit({"bob@b.example"});
        house.settle();
        for (int i = 0; i < 4; ++i) house.settle_after(std::chrono::seconds(15));
        const auto mails = house.inbox();
        const auto mail = std::ranges::find_if(mails, [](const auto& one) { return one.contains("Incident 1:"); });
        REQUIRE(mail != mails.end());
        constexpr std::string_view kLink = "https://mail.home.example/incident/";
        const std::size_t at = mail->find(kLink);
        REQUIRE((at != std::string::npos) == serves);
        if (!serves) continue;
        const std::string token = mail->substr(at + kLink.size(), mail->find("\r\n", at) - at - kLink.size());
        const auto opened = house.store->read([&](const storage::Snapshot& s) {
            return storage::open_incident_token(IncidentView(s), token, house.store->sealing_key(), house.clock.now());
        });
        REQUIRE(opened);
        REQUIRE(*opened);
        CHECK((*opened)->id == storage::IncidentId{1});
    }
}

TEST_CASE("\"fixed\" lets all of it go at once, whatever the probe's time") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    std::vector<storage::QueueId> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(house.submit({"x" + std::to_string(i) + "@b.example"}));
    house.settle();
    const auto is_held = [&](storage::QueueId id) {
        return house.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); })
                   .value()
                   .front()
                   .state == storage::RecipientState::held;
    };
    for (int i = 0; i < 100 && !std::ranges::all_of(ids, is_held); ++i) house.settle();
    CHECK(house.remote.count("RCPT") < 8);  // the window of the lane at most
    house.remote.always("RCPT", "250 2.1.5 ok");
    const auto count =
        house.store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).clear(house.all()[0].id, "fixed"); });
    REQUIRE(count);
    CHECK(*count == 20);
    house.settle();
    CHECK(house.remote.messages.size() == 20);
    CHECK_FALSE(house.store->write_value(
        {}, [&](storage::Tx& tx) { return IncidentTx(tx).clear(house.all()[0].id, "again"); }));
}

TEST_CASE("one message that is refused for its own sake does not keep the others: each probe is another") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto first = house.submit({"bob@b.example"});
    house.settle();
    const auto second = house.submit({"carol@b.example"});
    house.settle();
    house.remote.always("RCPT TO:<carol@", "250 2.1.5 ok");
    house.settle_slowly(hours(1));
    CHECK(house.events(second, EventKind::delivered) == 0);
    house.settle_slowly(hours(2));
    CHECK(house.events(second, EventKind::delivered) == 1);
    // What is refused is held again, until its time is over.
    house.settle_slowly(minutes(1));
    CHECK(house.row(first).state == RecipientState::held);
    CHECK(house.all().front().open);
}

TEST_CASE("held for 72 hours, then returned with the very words; the sender hears of the delay before") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    house.settle_slowly(hours(5));
    CHECK(house.inbox_with("Subject: Delayed: your message has not been delivered yet") == 1);
    CHECK(house.row(id).state == RecipientState::held);
    for (int i = 0; i < 11; ++i) house.settle_slowly(hours(6));
    CHECK(house.row(id).state == RecipientState::held);
    CHECK(house.inbox_with("Subject: Delayed") == 1);
    house.settle_slowly(hours(2));
    CHECK(house.events(id, EventKind::bounced) == 1);
    CHECK(house.inbox_with("Subject: Undelivered") == 1);
    CHECK(house.inbox_with("blocked using") >= 1);
    CHECK(house.waiting() == 0);
    CHECK(house.all().front().open);  // the fault is there still
    // As long as somebody may write there; nobody has for a month.
    house.settle_slowly(hours(29 * 24));
    CHECK(house.all().front().open);
    house.settle_slowly(hours(2 * 24));
    CHECK_FALSE(house.all().front().open);
    CHECK(house.inbox_with("Subject: Incident 1 is over") == 1);
}

TEST_CASE("nothing is held under an incident that is over") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    const Incident incident = house.all().front();
    house.remote.always("RCPT", "250 2.1.5 welcome back");
    const auto closed = house.store->write_value({}, [&](storage::Tx& tx) -> Result<bool> {
        TRY_VOID(IncidentTx(tx).clear(incident.id, "by the test"));
        const std::vector<storage::RecipientId> ids{house.row(id).id};
        return IncidentTx(tx).hold(ids, incident);
    });
    CHECK(closed.value() == false);
    CHECK(house.row(id).state == RecipientState::waiting);
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
}

namespace {

/// Somebody presses the button between the look at what is held too long and the commit that says so.
struct LateRandom final : Random {
    void fill(std::span<unsigned char> out) override {
        if (const auto now = std::exchange(press, nullptr)) now();
        system_random().fill(out);
    }
    std::function<void()> press;
};

}  // namespace

TEST_CASE("\"fixed\" in the moment in which held mail is given up, or its sender told: it goes, and nobody is told") {
    for (const bool is_end : {false, true}) {
        CAPTURE(is_end);
        HeldHouse house;
        LateRandom random;
        house.kept.random = &random;
        house.restart();
        house.remote.always("RCPT", std::string(kBlocked));
        const auto id = house.submit({"bob@b.example"});
        house.settle();
        if (is_end) {
            house.settle_slowly(hours(5));
            for (int i = 0; i < 11; ++i) house.settle_slowly(hours(6));
        }
        REQUIRE(house.row(id).state == RecipientState::held);
        const std::size_t mails = house.inbox_with("Subject: Delayed") + house.inbox_with("Subject: Undelivered");
        std::uint64_t released = 0;
        random.press = [&] {
            house.remote.always("RCPT", "250 2.1.5 welcome back");
            const auto done = house.store->write_value(
                {}, [&](storage::Tx& tx) { return IncidentTx(tx).mended(storage::IncidentId{1}, "by the test"); });
            if (done) released = done->released;
        };
        house.settle_slowly(hours(is_end ? 2 : 5));
        CHECK_FALSE(random.press);
        CHECK(released == 1);
        CHECK(house.events(id, EventKind::bounced) == 0);
        if (!is_end) CHECK(house.events(id, EventKind::held) == 1);  // not once more, for the notice
        CHECK(house.events(id, EventKind::delivered) == 1);
        CHECK(house.inbox_with("Subject: Delayed") + house.inbox_with("Subject: Undelivered") == mails);
    }
}

TEST_CASE("a way that is added takes what is held at once") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.row(id).state == RecipientState::held);
    house.add_relay("direct,relay");
    house.settle_after(std::chrono::seconds(5));
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.smarthost.messages.size() == 1);
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.remote.count("RCPT") == 1);
}

TEST_CASE("a way that is added takes all that is held, however much it is") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    house.submit({"bob@b.example"});
    house.settle();
    std::vector<std::string> many;
    for (std::size_t i = 0; i < kStepMax + 100; ++i) many.push_back("x" + std::to_string(i) + "@b.example");
    const auto id = house.submit(many);
    house.settle();
    const auto held = [&] {
        return house.store->read([](const storage::Snapshot& s) {
            return IncidentView(s).held_count(storage::IncidentId{1});
        });
    };
    REQUIRE(held().value() == many.size() + 1);
    house.add_relay("direct,relay");
    house.settle_slowly(std::chrono::seconds(15));
    house.settle_slowly(std::chrono::seconds(15));
    CHECK(held().value() == 0);
    CHECK(house.events(id, EventKind::delivered) == many.size());
}

TEST_CASE("where the route names another way the mail goes there, and the incident is told all the same") {
    HeldHouse house;
    house.add_relay("direct,relay");
    house.remote.always("RCPT", std::string(kBlocked));
    house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.smarthost.messages.size() == 1);
    REQUIRE(house.all().size() == 1);
    CHECK(house.all()[0].open);
    // Both refused: held under it, instead of waiting for days and then failing.
    house.smarthost.always("RCPT", std::string(kBlocked));
    const auto id = house.submit({"carol@b.example"});
    house.settle();
    house.settle_slowly(minutes(1));
    CHECK(house.row(id).state == RecipientState::held);
    CHECK(house.events(id, EventKind::bounced) == 0);
    house.smarthost.always("RCPT", "250 2.1.5 ok");
    house.settle_slowly(hours(2));
    CHECK(house.events(id, EventKind::delivered) == 1);
}

TEST_CASE("a relay that refuses the login: held, tried again sooner, and let go with the new password") {
    HeldHouse house;
    house.add_relay("relay");
    house.smarthost.always("MAIL", "530 5.7.0 Authentication required");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.row(id).state == RecipientState::held);
    REQUIRE(house.all().size() == 1);
    CHECK(house.all()[0].key.kind == IncidentKind::credentials);
    house.settle_slowly(minutes(6));
    CHECK(house.smarthost.count("MAIL") == 2);
    house.smarthost.always("MAIL", "250 2.1.0 ok");
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        TRY(auto ways, routes.ways());
        ways.front().limits.connections_max = 3;
        return routes.set_way(ways.front());
    }));
    house.settle_after(std::chrono::seconds(15));
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK_FALSE(house.all()[0].open);
}

TEST_CASE("mail of ours that is not believed is held; what is passed on for others is returned as ever") {
    HeldHouse house;
    house.remote.always("RCPT",
                        "550 5.7.26 This message does not pass authentication checks (SPF and DKIM both failed)");
    const auto forwarded = house.submit({"bob@b.example"}, "stranger@elsewhere.example");
    house.settle();
    CHECK(house.events(forwarded, EventKind::bounced) == 1);
    CHECK(house.all().empty());

    const auto body = house.store.stage(kMessage);
    auto accepted = house.store->write_value({body}, [&](storage::Tx& tx) {
        storage::Delivery delivery;
        delivery.body = body;
        delivery.facts = mime::compute_facts(kMessage);
        delivery.first_attempt = tx.now();
        storage::NewQueueItem item;
        item.reverse_path = "alice@home.example";
        item.account = house.alice;
        item.expires = tx.now() + hours(120);
        storage::NewRecipient recipient;
        recipient.address = "bob@b.example";
        item.recipients.push_back(recipient);
        delivery.outgoing = item;
        return tx.deliver(delivery);
    });
    REQUIRE(accepted);
    house.settle();
    CHECK(house.row(*accepted->queue).state == RecipientState::held);
    REQUIRE(house.all().size() == 1);
    CHECK(house.all()[0].key.kind == IncidentKind::sender_auth);
    CHECK(house.all()[0].key.domain == "home.example");
}

TEST_CASE("a restart keeps what is held, and a release by hand tries that one message alone") {
    HeldHouse house;
    house.remote.always("RCPT", std::string(kBlocked));
    const auto first = house.submit({"bob@b.example"});
    const auto second = house.submit({"carol@b.example"});
    house.settle();
    house.restart();
    house.settle();
    const std::size_t before = house.remote.count("RCPT");
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().release(first); }));
    house.settle();
    CHECK(house.remote.count("RCPT") == before + 1);
    CHECK(house.row(first).state == RecipientState::held);
    CHECK(house.row(second).state == RecipientState::held);
}

TEST_CASE("queue retry tries what is held; a route that is gone for a moment lets nothing go astray") {
    HeldHouse house;
    house.add_relay("relay");
    house.smarthost.always("MAIL", "535 5.7.8 Authentication failed");
    const auto id = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.row(id).state == RecipientState::held);
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().retry_now(id); }));
    house.settle();
    CHECK(house.smarthost.count("MAIL") == 2);
    CHECK(house.row(id).state == RecipientState::held);
    REQUIRE(
        house.store->write({}, [&](storage::Tx& tx) -> Result<> { return storage::RouteTx(tx).remove_route("all"); }));
    house.settle_slowly(std::chrono::seconds(5));
    CHECK(house.row(id).state == RecipientState::held);
    CHECK(house.remote.connections == 0);
    REQUIRE(
        house.store->write({}, [&](storage::Tx& tx) -> Result<> { return storage::RouteTx(tx).remove_way("relay"); }));
    house.smarthost.always("MAIL", "250 2.1.0 ok");
    house.add_relay("relay");
    house.settle_slowly(std::chrono::seconds(5));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.smarthost.messages.size() == 1);
}

TEST_CASE("a refusal that comes back soon is the same incident, and is not mailed about again") {
    HeldHouse house;
    house.remote.once("RCPT", std::string(kBlocked));
    house.submit({"bob@b.example"});
    house.settle();
    house.settle_slowly(hours(2));
    CHECK_FALSE(house.all()[0].open);
    house.remote.once("RCPT", std::string(kBlocked));
    house.submit({"carol@b.example"});
    house.settle();
    house.settle_slowly(minutes(1));
    REQUIRE(house.all().size() == 1);
    CHECK(house.all()[0].open);
    CHECK(house.all()[0].refusals == 2);
    house.settle_slowly(hours(7));
    CHECK_FALSE(house.all()[0].open);
    CHECK(house.inbox_with("Subject: Incident 1: ") == 1);
    CHECK(house.inbox_with("Subject: Incident 1 is over") == 1);
}

}  // namespace posthouse::relay
