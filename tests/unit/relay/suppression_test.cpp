// Suppression by evidence: which refusals keep an address from mail and which never do; whose mail it is kept from; a
// delivery forgets it; the sender hears of it in the receiver's own words.
#include "storage/suppression.h"

#include <fmt/format.h>

#include "storage/incidents.h"
#include "storage/report.h"
#include "storage/settings.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using storage::QueueClass;
using storage::RecipientState;
using storage::Suppression;
using storage::SuppressionReason;
using storage::SuppressionTx;
using storage::SuppressionView;

struct Mail {
    std::vector<std::string> recipients{"bob@b.example"};
    std::string sender = "alice@home.example";
    QueueClass mail_class = QueueClass::transactional;
    std::string forwarded_by;
    std::optional<storage::AccountId> account;
};

struct SuppressHouse : House {
    storage::QueueId send(const Mail& mail) {
        const auto body = store.stage(kMessage);
        auto accepted = store->write_value({body}, [&](storage::Tx& tx) {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(kMessage);
            delivery.sender = mail.sender;
            delivery.first_attempt = tx.now();
            storage::NewQueueItem item;
            item.reverse_path = mail.sender;
            item.mail_class = static_cast<std::uint8_t>(mail.mail_class);
            item.forwarded_by = mail.forwarded_by;
            item.account = mail.account;
            item.expires = tx.now() + hours(24 * 5);
            for (const std::string& address : mail.recipients) {
                storage::NewRecipient recipient;
                recipient.address = address;
                item.recipients.push_back(recipient);
            }
            delivery.outgoing = item;
            return tx.deliver(delivery);
        });
        REQUIRE(accepted);
        settle();
        return accepted->queue.value();
    }
    std::vector<Suppression> all() {
        return store
            ->read([&](const storage::Snapshot& s) {
                SuppressionView::Wanted wanted;
                wanted.now = clock.now();
                return SuppressionView(s).list(wanted);
            })
            .value();
    }
    void set(std::string_view key, std::string_view value) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    std::size_t handed_over() { return remote.messages.size(); }
};

}  // namespace

TEST_CASE("who does not exist gets no more mail of programs for 7 days; its sender hears why, in the same words") {
    SuppressHouse house;
    house.remote.always("RCPT", "550 5.1.1 No such user here");
    const auto first = house.send(Mail());
    CHECK(house.events(first, EventKind::bounced) == 1);
    REQUIRE(house.all().size() == 1);
    const Suppression row = house.all().front();
    CHECK(row.address == "bob@b.example");
    CHECK(row.scope == "home.example");
    CHECK(row.reply == "550 5.1.1 No such user here");
    CHECK(row.remote.contains("192.0.2.1"));
    CHECK(row.until == house.clock.now() + hours(7 * 24));

    const std::size_t dialed = house.remote.connections;
    const auto second = house.send(Mail());
    CHECK(house.remote.connections == dialed);  // nobody was asked
    CHECK(house.events(second, EventKind::suppressed) == 1);
    CHECK(house.events(second, EventKind::bounced) == 0);
    REQUIRE(house.inbox().size() == 2);
    CHECK(house.inbox().back().contains("550 5.1.1 No such user here"));
    CHECK(house.inbox().back().contains("posthouse suppression remove bob@b.example"));
    CHECK(house.inbox().back().contains("Status: 5.1.1"));
    CHECK(house.all().front().times == 1);  // our own words are no evidence

    // What another domain sends is another matter, and so is a letter.
    house.remote.always("RCPT", "250 2.1.5 ok");
    Mail other;
    other.sender = "alice@other.example";
    CHECK(house.events(house.send(other), EventKind::delivered) == 1);
    Mail letter;
    letter.mail_class = QueueClass::interactive;
    CHECK(house.events(house.send(letter), EventKind::delivered) == 1);
    // The letter arrived: the evidence is void.
    CHECK(house.all().empty());
    CHECK(house.events(house.send(Mail()), EventKind::delivered) == 1);
}

TEST_CASE("after the term it is tried again, and climbs where nothing has changed") {
    SuppressHouse house;
    house.remote.always("RCPT", "550 5.2.1 The mailbox is disabled");
    house.send(Mail());
    REQUIRE(house.all().size() == 1);
    CHECK(house.all().front().reason == SuppressionReason::recipient_disabled);
    house.clock.advance(hours(7 * 24 + 1));
    CHECK(house.all().empty());
    house.send(Mail());
    REQUIRE(house.all().size() == 1);
    CHECK(house.all().front().until == house.clock.now() + hours(30 * 24));
}

TEST_CASE("never for our own fault, throttling, a full mailbox, content or policy, nor what was said of the message") {
    struct Case {
        std::string_view command;
        std::string_view reply;
    };
    constexpr Case cases[] = {
        {"RCPT", "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org"},
        {"RCPT", "550 5.7.26 This mail is unauthenticated: DMARC failed"},
        {"RCPT", "550 5.7.1 We do not accept mail from you by policy"},
        {"RCPT", "552 5.2.2 The mailbox is full"},
        {"RCPT", "450 4.7.28 Too many messages from your address, slow down"},
        {"RCPT", "450 4.1.1 User unknown for now"},
        {"RCPT", "556 5.1.10 The domain takes no mail"},
        {"MAIL", "553 5.1.8 Sender domain does not exist"},
        {"DATA", "554 5.7.1 The message looks like spam"},
        {".", "550 5.1.1 User unknown"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.reply);
        SuppressHouse house;
        house.remote.always(std::string(one.command), std::string(one.reply));
        house.send(Mail());
        CHECK(house.all().empty());
    }
}

TEST_CASE("mail of strangers that is only passed on says nothing, and is kept from nobody") {
    SuppressHouse house;
    house.remote.always("RCPT", "550 5.1.1 No such user here");
    Mail forwarded;
    forwarded.sender = "eve@outside.example";
    forwarded.forwarded_by = "home.example";
    house.send(forwarded);
    CHECK(house.all().empty());
    Mail report;
    report.sender = "";
    house.send(report);
    CHECK(house.all().empty());
}

TEST_CASE("a null sender is no way around it for who has an account; our own reports go") {
    SuppressHouse house;
    Mail mail;
    mail.sender = "";
    mail.account = house.store.add_account("eve@home.example");
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        const storage::SuppressionProof wish(SuppressionReason::by_hand, "", "");
        TRY_VOID(SuppressionTx(tx).add("home.example", "bob@b.example", wish));
        return {};
    }));
    CHECK(house.events(house.send(mail), EventKind::suppressed) == 1);
    CHECK(house.handed_over() == 0);
    mail.account.reset();
    CHECK(house.events(house.send(mail), EventKind::delivered) == 1);
}

TEST_CASE("of one message only the suppressed recipients fail, in one report; the setting decides whose mail") {
    SuppressHouse house;
    for (const std::string_view address : {"one@b.example", "two@b.example"}) {
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
            const storage::SuppressionProof proof(SuppressionReason::by_hand, fmt::format("word {}", address), "");
            TRY_VOID(SuppressionTx(tx).add("", address, proof));
            return {};
        }));
    }
    Mail mail;
    mail.recipients = {"one@b.example", "two@b.example", "three@b.example"};
    mail.mail_class = QueueClass::bulk;
    const auto queue = house.send(mail);
    CHECK(house.events(queue, EventKind::delivered) == 1);
    CHECK(house.events(queue, EventKind::suppressed) == 2);
    REQUIRE(house.inbox().size() == 1);
    CHECK(house.inbox().front().contains("word one@b.example"));
    CHECK(house.inbox().front().contains("word two@b.example"));
    CHECK_FALSE(house.inbox().front().contains("three@b.example"));
    CHECK(house.all().size() == 2);
    // The events alone say the same.
    CHECK(storage::report_rebuild(*house.store)->differed == 0);
    CHECK(house.store->read([](const storage::Snapshot& s) { return storage::replay_queue(s); }).value().empty());

    Mail letter;
    letter.recipients = {"one@b.example"};
    letter.mail_class = QueueClass::interactive;
    CHECK(house.events(house.send(letter), EventKind::delivered) == 1);
    house.set("suppression.apply", "all");
    CHECK(house.events(house.send(letter), EventKind::suppressed) == 1);
    house.set("suppression.apply", "off");
    letter.mail_class = QueueClass::bulk;
    CHECK(house.events(house.send(letter), EventKind::delivered) == 1);
}

TEST_CASE("an hour in which a site knows nobody suppresses nobody: not its old users, nor new ones; told once") {
    SuppressHouse house;
    Mail mail;
    for (int i = 0; i < 20; ++i) mail.recipients.push_back(fmt::format("user{}@b.example", i));
    house.send(mail);
    CHECK(house.handed_over() >= 1);
    house.clock.advance(hours(48));
    house.remote.always("RCPT", "550 5.1.1 User unknown in virtual mailbox table");
    for (int i = 0; i < 20; ++i) {
        Mail one;
        one.recipients = {fmt::format("user{}@b.example", i)};
        house.send(one);
        if (i == 2) {
            one.recipients = {"new@b.example"};
            house.send(one);
        }
        house.settle_after(std::chrono::minutes(2));
    }
    CHECK(house.all().empty());
    house.clock.advance(hours(1));
    house.remote.always("RCPT", "250 2.1.5 ok");
    CHECK(house.events(house.send(mail), EventKind::delivered) == 20);
    const auto told =
        house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).list(true, 9); });
    REQUIRE(told.value().size() == 1);
    CHECK(told->front().key.kind == storage::IncidentKind::directory);
    CHECK(told->front().open);
    house.clock.advance(hours(8));
    house.settle();
    house.settle_after(std::chrono::minutes(1));
    const auto over =
        house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).list(true, 9); });
    REQUIRE(over.value().size() == 1);
    CHECK_FALSE(over->front().open);
}

TEST_CASE("who took mail before and is unknown twice, on different days, is suppressed") {
    SuppressHouse house;
    house.send(Mail());
    house.clock.advance(hours(30));
    house.remote.always("RCPT", "550 5.1.1 No such user here");
    house.send(Mail());
    CHECK(house.all().empty());
    house.clock.advance(hours(25));
    house.send(Mail());
    CHECK(house.all().size() == 1);
}

TEST_CASE("who leaves while mail for him waits in a lane gets none of it") {
    SuppressHouse house;
    house.remote.always("MAIL", "421 4.7.28 Too many messages, slow down");
    Mail mail;
    mail.recipients = {"bob@b.example", "carol@b.example"};
    mail.mail_class = QueueClass::bulk;
    const auto queue = house.send(mail);
    CHECK(house.events(queue, EventKind::delivered) == 0);
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        const storage::SuppressionProof proof(SuppressionReason::by_hand, "", "");
        TRY_VOID(SuppressionTx(tx).add("", "bob@b.example", proof));
        return {};
    }));
    house.remote.always("MAIL", "250 2.1.0 ok");
    for (int minute = 0; minute < 120 && house.events(queue, EventKind::delivered) == 0; ++minute) {
        house.clock.advance(std::chrono::minutes(1));
        house.settle();
    }
    CHECK(house.events(queue, EventKind::delivered) == 1);
    CHECK(house.events(queue, EventKind::suppressed) == 1);
    CHECK(house.handed_over() == 1);
}

}  // namespace posthouse::relay
