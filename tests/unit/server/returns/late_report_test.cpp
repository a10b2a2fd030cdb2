// A bounce after the message was handed over: only what the log shows is believed, and only so often.
#include "server/returns/late_report.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "storage/account_guard.h"
#include "storage/report.h"
#include "storage/reputation.h"
#include "storage/takers.h"
#include "storage/webhooks.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::server;
using storage::EventKind;

namespace {

struct House {
    test::TurnedClock clock;
    test::TempStore store{[this](storage::StoreOptions& o) { o.clock = &clock; }};
    std::string provider = "google";

    // A message that left: delivered to some, refused by others; to some it is under way.
    std::optional<storage::AccountId> account;

    storage::QueueId sent(std::vector<std::string> taken, std::vector<std::string> refused = {},
                          std::vector<std::string> open = {}) {
        const auto body = store.stage("Subject: x\r\n\r\nx\r\n");
        const auto queue = store->write_value({body}, [&](storage::Tx& tx) -> Result<storage::QueueId> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = test::plain_facts("x");
            delivery.sender = "alice@home.example";
            storage::NewQueueItem item;
            item.reverse_path = delivery.sender;
            item.account = account;
            for (const auto* list : {&taken, &refused, &open}) {
                for (const std::string& address : *list) item.recipients.push_back({address, "", 0});
            }
            delivery.outgoing = item;
            TRY(const storage::Accepted accepted, tx.deliver(delivery));
            TRY_VOID(storage::AccountGuardTx(tx).submitted(*accepted.queue, item));
            TRY(const auto rows, tx.queue().recipients(*accepted.queue));
            for (const storage::QueueRecipient& row : rows) {
                storage::Outcome outcome;
                if (std::ranges::find(open, row.address) != open.end()) continue;
                const bool is_taken = std::ranges::find(taken, row.address) != taken.end();
                outcome.state = is_taken ? storage::RecipientState::delivered : storage::RecipientState::failed;
                outcome.reply = is_taken ? "250 ok" : "550 no";
                outcome.way = "direct";
                outcome.source = "192.0.2.7";
                outcome.provider = provider;
                TRY_VOID(tx.queue().finish(row.id, outcome));
            }
            return *accepted.queue;
        });
        return queue.value();
    }
    Result<SentMail> find(storage::QueueId queue, std::optional<std::string> recipient) {
        mailauth::ReturnToken token;
        token.queue = static_cast<std::uint64_t>(storage::raw(queue));
        if (recipient) token.recipient = mailauth::return_hash(*recipient);
        return store->read([&](const storage::Snapshot& s) { return find_sent(s, token); });
    }
    void record(const SentMail& mail, const std::vector<LateNews>& news) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return record_news(tx, mail, news); }));
    }
    std::vector<storage::Event> events(storage::QueueId queue) {
        return store->read([&](const storage::Snapshot& s) { return s.events().by_queue(queue); }).value();
    }
    std::vector<storage::EvidenceDay> evidence() {
        return store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).evidence(0); }).value();
    }
    std::vector<storage::Suppression> suppressed(std::string_view address) {
        return store->read([&](const storage::Snapshot& s) { return storage::SuppressionView(s).of_address(address); })
            .value();
    }
};

report::Bounce bounce_of(std::string_view recipient, std::string_view action, std::string_view status,
                         std::string_view reply) {
    const std::string text = fmt::format(
        "From: MAILER-DAEMON@mx.far.example\r\nTo: x\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n"
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.far.example\r\n\r\n"
        "Final-Recipient: rfc822; {}\r\nAction: {}\r\nStatus: {}\r\nDiagnostic-Code: smtp; {}\r\n\r\n--b--\r\n",
        recipient, action, status, reply);
    return report::read_bounce(text).value();
}

}  // namespace

TEST_CASE("a token of all recipients of one domain says nothing of the message's others") {
    House house;
    const auto queue = house.sent({"ann@far.example", "bob@far.example", "carol@other.example"});
    const SentMail mail = house.find(queue, "@far.example").value();
    CHECK(mail.recipients == std::vector<std::string>{"ann@far.example", "bob@far.example"});
    const auto forged = bounce_of("carol@other.example", "failed", "5.1.1", "550 5.1.1 User unknown");
    CHECK(news_of(mail, forged).empty());
    CHECK(news_of(mail, bounce_of("bob@far.example", "failed", "5.1.1", "550 5.1.1 User unknown")).size() == 1);
    // Of before, and of domains that one server takes mail for: all of it.
    CHECK(house.find(queue, std::nullopt).value().recipients.size() == 3);
}

TEST_CASE("a late bounce is an event of the message, and suppresses where the address itself is dead") {
    House house;
    const auto queue = house.sent({"bob@far.example"});
    const SentMail mail = house.find(queue, "BOB@far.example").value();
    CHECK(mail.sender == "alice@home.example");
    CHECK(mail.recipients == std::vector<std::string>{"bob@far.example"});
    const auto news = news_of(mail, bounce_of("bob@far.example", "failed", "5.1.1", "550 5.1.1 User unknown"));
    REQUIRE(news.size() == 1);
    house.record(mail, news);
    const auto last = house.events(queue).back();
    CHECK(last.kind == EventKind::bounced);
    CHECK(last.recipient == "bob@far.example");
    CHECK(last.detail.starts_with("late: "));
    CHECK(last.detail.contains("550 5.1.1 User unknown"));
    CHECK(last.sender == "alice@home.example");
    REQUIRE(house.suppressed("bob@far.example").size() == 1);
    CHECK(house.suppressed("bob@far.example").front().scope == "home.example");
    CHECK(house.suppressed("bob@far.example").front().reply == "550 5.1.1 User unknown");
    // It counts against the address that sent, and in the figures, which the events alone give again.
    REQUIRE(house.evidence().size() == 1);
    CHECK(house.evidence().front().source == "192.0.2.7");
    CHECK(house.evidence().front().provider == "google");
    CHECK(house.evidence().front().bounced.count() == 1);
    CHECK(house.evidence().front().complained.count() == 0);
    CHECK(last.facts.reply_class == "recipient-unknown");
    CHECK(storage::report_rebuild(*house.store)->differed == 0);
}

TEST_CASE("a delay is told as one; a full mailbox, content or a dead address behind an alias suppress nobody") {
    House house;
    const auto queue = house.sent({"bob@far.example"});
    const SentMail mail = house.find(queue, std::nullopt).value();
    for (const auto& bounce : {bounce_of("bob@far.example", "delayed", "4.4.1", "connection timed out"),
                               bounce_of("bob@far.example", "failed", "5.2.2", "552 5.2.2 Mailbox full"),
                               bounce_of("bob@far.example", "failed", "5.7.1", "554 5.7.1 Message looks like spam"),
                               bounce_of("robert@other.example", "failed", "5.1.1", "550 5.1.1 User unknown")}) {
        const auto news = news_of(mail, bounce);
        REQUIRE(news.size() == 1);
        CHECK_FALSE(news.front().evidence);
        house.record(mail, news);
    }
    CHECK(house.suppressed("bob@far.example").empty());
    CHECK(house.suppressed("robert@other.example").empty());
    CHECK(house.evidence().empty());
    const auto events = house.events(queue);
    CHECK(std::ranges::count(events, EventKind::delayed, &storage::Event::kind) == 1);
    CHECK(events.back().detail.contains("about robert@other.example"));
    // A receipt is no news.
    CHECK(news_of(mail, bounce_of("bob@far.example", "delivered", "2.0.0", "250 ok")).empty());
}

TEST_CASE("of several recipients the bounce must name one that the message was handed over to") {
    House house;
    const auto queue = house.sent({"bob@far.example", "carol@far.example"}, {"dave@far.example"});
    const SentMail mail = house.find(queue, std::nullopt).value();
    CHECK(mail.recipients.size() == 2);
    CHECK(news_of(mail, bounce_of("Carol@far.example", "failed", "5.1.1", "550 5.1.1 no")).front().recipient ==
          "carol@far.example");
    CHECK(news_of(mail, bounce_of("eve@far.example", "failed", "5.1.1", "550 5.1.1 no")).empty());
    CHECK(news_of(mail, bounce_of("dave@far.example", "failed", "5.1.1", "550 5.1.1 no")).empty());
    // The token itself names another.
    CHECK(house.find(queue, "dave@far.example").error().code == Errc::refused);
    CHECK(house.find(static_cast<storage::QueueId>(4711), std::nullopt).error().code == Errc::refused);
}

TEST_CASE("a bounce that is faster than our commit comes again later; it is not turned away for good") {
    House house;
    const auto queue = house.sent({"bob@far.example"}, {"dave@far.example"}, {"carol@far.example"});
    CHECK(house.find(queue, "carol@far.example").error().code == Errc::unavailable);
    CHECK(house.find(queue, "dave@far.example").error().code == Errc::refused);
    CHECK(house.find(queue, "bob@far.example"));
    const auto all = house.sent({}, {}, {"carol@far.example"});
    CHECK(house.find(all, std::nullopt).error().code == Errc::unavailable);
}

TEST_CASE("the same report again and again is noted, counts once, and at last is not taken") {
    House house;
    const auto queue = house.sent({"bob@far.example"});
    const auto bounce = bounce_of("bob@far.example", "failed", "5.1.1", "550 5.1.1 User unknown");
    for (std::size_t i = 0; i < kLateReportsMax; ++i) {
        const auto mail = house.find(queue, "bob@far.example");
        REQUIRE(mail);
        house.record(*mail, news_of(*mail, bounce));
    }
    const auto events = house.events(queue);
    CHECK(std::ranges::count(events, EventKind::bounced, &storage::Event::kind) == 1);
    CHECK(std::ranges::count(events, EventKind::noted, &storage::Event::kind) == 3);
    CHECK(events.back().detail.ends_with(", told again"));
    CHECK(house.suppressed("bob@far.example").front().times == 1);
    storage::ReportFilter all;
    all.to_day = 1'000'000;
    const auto lines = house.store->read(
        [&](const storage::Snapshot& s) { return storage::ReportView(s).lines(storage::ReportBy::day, all); });
    CHECK(lines.value().front().of(storage::Figure::bounced) == 1);
    CHECK(storage::webhook_kind(EventKind::noted).empty());
    CHECK(storage::report_rebuild(*house.store)->differed == 0);
    CHECK(house.find(queue, "bob@far.example").error().code == Errc::refused);
}

TEST_CASE("what left by a relay says nothing of our addresses") {
    House house;
    house.provider = "";
    const auto queue = house.sent({"bob@far.example"});
    const SentMail mail = house.find(queue, std::nullopt).value();
    house.record(mail, news_of(mail, bounce_of("bob@far.example", "failed", "5.1.1", "550 5.1.1 User unknown")));
    CHECK(house.evidence().empty());
}

TEST_CASE("what is reported again and again of one recipient does not silence the others") {
    House house;
    const auto queue = house.sent({"bob@far.example", "carol@far.example"});
    for (std::size_t i = 0; i < 2 * kLateReportsMax; ++i) {
        const auto mail = house.find(queue, std::nullopt);
        REQUIRE(mail);
        house.record(*mail, news_of(*mail, bounce_of("bob@far.example", "delayed", "4.4.1", "450 4.4.1 wait")));
    }
    const auto events = house.events(queue);
    CHECK(std::ranges::count(events, EventKind::delayed, &storage::Event::kind) == kLateReportsMax);
    CHECK(house.find(queue, "bob@far.example").error().code == Errc::refused);
    const auto mail = house.find(queue, "carol@far.example");
    REQUIRE(mail);
    house.record(*mail, news_of(*mail, bounce_of("carol@far.example", "failed", "5.1.1", "550 5.1.1 no such user")));
    CHECK(house.suppressed("carol@far.example").size() == 1);
}

TEST_CASE("who took mail on earlier days is given up for two late bounces on different days, not for one") {
    House house;
    const auto took = [&](std::string_view address) {
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return storage::TakerTx(tx).took("google", address); }));
    };
    const auto bounced = [&](std::string_view address) {
        const auto mail = house.find(house.sent({std::string(address)}), std::nullopt).value();
        took(address);  // as the relay does
        house.record(mail, news_of(mail, bounce_of(address, "failed", "5.1.1", "550 5.1.1 User unknown")));
    };
    bounced("stranger@far.example");  // that it was handed over today is no sign that there is anybody
    CHECK(house.suppressed("stranger@far.example").size() == 1);

    took("bob@far.example");
    house.clock.advance(std::chrono::hours(5 * 24));
    bounced("bob@far.example");
    CHECK(house.suppressed("bob@far.example").empty());
    house.clock.advance(std::chrono::hours(12));
    bounced("bob@far.example");
    CHECK(house.suppressed("bob@far.example").empty());
    house.clock.advance(std::chrono::hours(13));
    bounced("bob@far.example");
    CHECK(house.suppressed("bob@far.example").size() == 1);
}

TEST_CASE("behind a relay the guard sees who does not exist: each once, and only soon after it was sent") {
    House house;
    house.provider = "";
    house.account = house.store.add_account("alice@home.example");
    const auto bounced = [&] {
        const auto look = [&](const storage::Snapshot& s) {
            return storage::AccountGuardView(s).figures(*house.account, house.clock.now());
        };
        return house.store->read(look).value().bounced;
    };
    const auto queue = house.sent({"bob@far.example", "carol@far.example"});
    const SentMail mail = house.find(queue, std::nullopt).value();
    const auto gone = bounce_of("bob@far.example", "failed", "5.1.1", "550 5.1.1 User unknown");
    house.record(mail, news_of(mail, gone));
    CHECK(bounced() == 1);
    house.record(mail, news_of(mail, gone));
    CHECK(bounced() == 1);
    house.record(mail, news_of(mail, bounce_of("carol@far.example", "failed", "5.2.2", "552 5.2.2 Mailbox full")));
    CHECK(bounced() == 1);
    const auto old = house.sent({"dora@far.example"});
    house.clock.advance(std::chrono::hours(48));
    house.sent({"eve@far.example"});
    const SentMail older = house.find(old, std::nullopt).value();
    house.record(older, news_of(older, bounce_of("dora@far.example", "failed", "5.1.1", "550 5.1.1 User unknown")));
    CHECK(house.events(old).back().kind == EventKind::bounced);
    CHECK(bounced() == 0);
}
