// A message that a program hands in: judged as submission is, on the loop, while the program's thread waits.
#include "server/delivery/program_door.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <future>

#include "protocols/mailauth/return_token.h"
#include "storage/receipts.h"
#include "storage/streams.h"
#include "storage/suppression.h"
#include "tests/support/door_house.h"

using namespace posthouse;
using namespace posthouse::server;
using storage::Submission;
using storage::SubmissionOutcome;
using Kind = storage::SubmissionRefusal::Kind;

namespace {

using Fixture = DoorHouse;

}  // namespace

TEST_CASE("what is taken is in the queue and in the mailboxes, with what submission adds and takes off") {
    Fixture f;
    const SubmissionOutcome out = f.door->submit(f.message({"x@c.example", "bob@a.example", "nobody"}));
    REQUIRE_FALSE(out.refusal);
    REQUIRE(out.recipients.size() == 3);
    CHECK(out.recipients[0].is_accepted());
    CHECK(out.recipients[1].is_accepted());
    CHECK(out.recipients[2].code == 501);
    REQUIRE(f.queue().size() == 1);
    const storage::QueueItem item = f.queue().front();
    CHECK(out.answer == storage::format_queue_id(item.id) + " " + item.message_id + " 3");
    CHECK(item.reverse_path == "alice@a.example");
    CHECK(item.account == f.alice);
    CHECK(item.mail_class == static_cast<std::uint8_t>(storage::QueueClass::transactional));
    const std::string octets = f.queued_octets(item.id);
    CHECK(octets.starts_with("Return-Path: <alice@a.example>\r\nReceived: from localhost ([127.0.0.1])\r\n"));
    CHECK(octets.find("with HTTP") != std::string::npos);
    CHECK(octets.find("\r\nDate: ") != std::string::npos);
    CHECK(octets.find("secret@c.example") == std::string::npos);
    CHECK(f.store.entries(f.bob, "INBOX").size() == 1);
}

TEST_CASE("the rules are those of submission") {
    struct Case {
        const char* name;
        std::function<void(Fixture&, Submission&)> change;
        Kind kind;
        std::string field;
    };
    const Case cases[] = {
        {"another's name", [](Fixture&, Submission& s) { s.octets = "From: bob@a.example\r\n\r\nx"; }, Kind::denied,
         "from"},
        {"no author", [](Fixture&, Submission& s) { s.octets = "Subject: x\r\n\r\nx"; }, Kind::invalid, "from"},
        {"another's envelope", [](Fixture&, Submission& s) { s.sender = "bob@a.example"; }, Kind::denied,
         "envelope.from"},
        {"no envelope", [](Fixture&, Submission& s) { s.sender = "nobody"; }, Kind::invalid, "envelope.from"},
        {"too many", [](Fixture&, Submission& s) { s.recipients.assign(4, "x@c.example"); }, Kind::invalid, "to"},
        {"nobody", [](Fixture&, Submission& s) { s.recipients.clear(); }, Kind::invalid, "to"},
        {"unknown here",
         [](Fixture&, Submission& s) {
             s.recipients = {"x@[192.0.2.1]", "no one"};
         },
         Kind::recipients, "to"},
        {"too large", [](Fixture&, Submission& s) { s.octets += std::string(5000, 'x'); }, Kind::too_large, "message"},
        {"bare LF", [](Fixture&, Submission& s) { s.octets += "a\nb"; }, Kind::invalid, "message"},
        {"two subjects", [](Fixture&, Submission& s) { s.octets = "Subject: y\r\n" + s.octets; }, Kind::invalid,
         "message"},
        {"DMARC", [](Fixture& f, Submission&) { f.alignment.answer = Error(Errc::denied, "It would be refused"); },
         Kind::denied, "from"},
        {"a disabled account",
         [](Fixture& f, Submission& s) {
             REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_disabled(f.bob, true); }));
             f.reload();
             s.account = f.bob;
             s.octets = "From: bob@a.example\r\n\r\nx";
         },
         Kind::denied, "from"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.name);
        Fixture f;
        Submission one = f.message({"x@c.example"});
        c.change(f, one);
        const SubmissionOutcome out = f.door->submit(std::move(one));
        REQUIRE(out.refusal);
        CHECK(out.refusal->kind == c.kind);
        CHECK(out.refusal->field == c.field);
        CHECK_FALSE(out.refusal->sentence.empty());
        CHECK(f.queue().empty());
    }
}

TEST_CASE("a token of the server writes as whoever owns the author's address") {
    Fixture f;
    Submission one = f.message({"x@c.example"}, "noreply@a.example");
    one.account.reset();
    REQUIRE_FALSE(f.door->submit(one).refusal);
    CHECK(f.queue().front().account == f.alice);  // the catch-all's
    Submission foreign = f.message({"x@c.example"}, "x@other.example");
    foreign.account.reset();
    const SubmissionOutcome out = f.door->submit(std::move(foreign));
    REQUIRE(out.refusal);
    CHECK(out.refusal->kind == Kind::denied);
}

TEST_CASE("a stream: its class, who may use it, and who wants none of it") {
    Fixture f;
    storage::Stream news;
    news.name = "news";
    news.owner = "a.example";
    news.is_list = true;
    storage::Stream bobs = news;
    bobs.name = "bobs";
    bobs.owner = "bob@a.example";
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(storage::StreamTx(tx).add(news));
        TRY_VOID(storage::StreamTx(tx).add(bobs));
        const storage::SuppressionProof wish(storage::SuppressionReason::unsubscribed, "unsubscribed by POST", "");
        TRY_VOID(storage::SuppressionTx(tx).add("news", "x@c.example", wish));
        return {};
    }));
    const auto of = [&](std::string stream, std::vector<std::string> to) {
        Submission one = f.message(std::move(to));
        one.stream = std::move(stream);
        return f.door->submit(std::move(one));
    };
    for (const char* name : {"none", "bobs"}) {
        const SubmissionOutcome refused = of(name, {"y@c.example"});
        REQUIRE(refused.refusal);
        CHECK(refused.refusal->kind == Kind::denied);
        CHECK(refused.refusal->field == "stream");
    }
    const SubmissionOutcome out = of("news", {"X@c.example", "y@c.example"});
    REQUIRE_FALSE(out.refusal);
    CHECK(out.recipients[0].code == 550);
    CHECK(out.recipients[0].sentence.contains("unsubscribed"));
    CHECK(out.recipients[1].is_accepted());
    REQUIRE(f.queue().size() == 1);
    CHECK(f.queue().front().stream == "news");
    CHECK(f.queue().front().mail_class == static_cast<std::uint8_t>(storage::QueueClass::bulk));
    const SubmissionOutcome nobody = of("news", {"x@c.example"});
    REQUIRE(nobody.refusal);
    CHECK(nobody.refusal->kind == Kind::recipients);
    CHECK_FALSE(f.door->submit(f.message({"x@c.example"})).refusal);  // what is not of the stream
    // Over SMTP the stream is known at the end only: who wants none is left out.
    Submission by_header = f.message({"x@c.example", "z@c.example"});
    by_header.octets = "X-Posthouse-Stream: news\r\n" + by_header.octets;
    REQUIRE_FALSE(f.door->submit(by_header).refusal);
    const auto last = f.queue().back();
    const auto left = f.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(last.id); });
    REQUIRE(left);
    REQUIRE(left->size() == 1);
    CHECK(left->front().address == "z@c.example");
    CHECK_FALSE(f.queued_octets(last.id).contains("X-Posthouse-Stream"));
}

TEST_CASE("who left a stream, and whose it is, is told to nobody who may not use it; its mail has a sender") {
    Fixture f;
    storage::Stream bobs;
    bobs.name = "bobs";
    bobs.owner = "bob@a.example";
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(storage::StreamTx(tx).add(bobs));
        const storage::SuppressionProof wish(storage::SuppressionReason::unsubscribed, "unsubscribed by POST", "");
        TRY_VOID(storage::SuppressionTx(tx).add("bobs", "left@c.example", wish));
        return {};
    }));
    const auto sentence = [&](std::string stream, std::string to) {
        Submission one = f.message({std::move(to)});
        one.stream = std::move(stream);
        const SubmissionOutcome out = f.door->submit(std::move(one));
        REQUIRE(out.refusal);
        CHECK(out.refusal->field == "stream");
        return out.refusal->sentence;
    };
    CHECK(sentence("bobs", "left@c.example") == sentence("bobs", "other@c.example"));
    CHECK_FALSE(sentence("bobs", "left@c.example").contains("bob@"));
    Submission nobody = f.message({"x@c.example"});
    nobody.sender = "";
    const SubmissionOutcome out = f.door->submit(std::move(nobody));
    REQUIRE(out.refusal);
    CHECK(out.refusal->field == "envelope.from");
}

TEST_CASE("one key in several SMTP transactions: each of other recipients is taken, none twice") {
    Fixture f;
    const auto first = f.by_smtp({"a@c.example", "b@c.example"}, "k");
    REQUIRE(first);
    const auto second = f.by_smtp({"C@c.example"}, "k");
    REQUIRE(second);
    CHECK_FALSE(second->repeated);
    CHECK(f.queue().size() == 2);
    for (const auto& again :
         {std::vector<std::string>{"b@c.example", "A@c.example"}, {"b@c.example"}, {"c@c.example"}}) {
        const auto known = f.by_smtp(again, "k");
        REQUIRE(known);
        CHECK(known->repeated);
        CHECK(known->id == first->id);
    }
    CHECK(f.queue().size() == 2);
    // What comes by HTTP under that key is another request, which nothing was said about.
    Submission one = f.message({"a@c.example"});
    one.key = "k";
    one.digest = "d";
    const SubmissionOutcome out = f.door->submit(std::move(one));
    REQUIRE(out.refusal);
    CHECK(out.refusal->kind == Kind::reused_key);
}

TEST_CASE("a known key is answered though everybody has unsubscribed, or the stream is gone") {
    Fixture f;
    storage::Stream news;
    news.name = "news";
    news.owner = "a.example";
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return storage::StreamTx(tx).add(news); }));
    const auto first = f.by_smtp({"a@c.example"}, "k", "News");
    REQUIRE(first);
    REQUIRE(f.queue().size() == 1);
    CHECK(f.queue().front().stream == "news");
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        const storage::SuppressionProof wish(storage::SuppressionReason::unsubscribed, "unsubscribed by POST", "");
        TRY_VOID(storage::SuppressionTx(tx).add("news", "a@c.example", wish));
        return {};
    }));
    CHECK_FALSE(f.by_smtp({"a@c.example"}, "other", "news"));
    Submission by_header = f.message({"a@c.example"});
    by_header.octets = "X-Posthouse-Stream: news\r\n" + by_header.octets;
    const SubmissionOutcome refused = f.door->submit(std::move(by_header));
    REQUIRE(refused.refusal);
    CHECK(refused.refusal->kind == Kind::recipients);
    CHECK(refused.refusal->field == "to");
    for (int round = 0; round < 2; ++round) {
        const auto again = f.by_smtp({"a@c.example"}, "k", "news");
        REQUIRE(again);
        CHECK(again->repeated);
        if (round > 0) break;
        REQUIRE(f.store->write({}, [](storage::Tx& tx) { return storage::StreamTx(tx).remove("news"); }));
    }
    CHECK(f.queue().size() == 1);
}

TEST_CASE("an address that only looks like one for unsubscribing is its owner's; a real one answers a program too") {
    Fixture f;
    f.store.add_account("unsubscribe-news@a.example");
    REQUIRE(f.store->write(
        {}, [](storage::Tx& tx) -> Result<> { return storage::StreamTx(tx).subscribe("news", "ann@c.example"); }));
    f.reload();
    const auto own = f.look_up("unsubscribe-news@a.example");
    REQUIRE(own);
    CHECK(*own == server::smtp::RecipientKind::local);
    const auto token = f.store->read([&](const storage::Snapshot& s) {
        return storage::StreamView(s).token("news", "ann@c.example", f.store->sealing_key());
    });
    REQUIRE(token);
    const SubmissionOutcome out = f.door->submit(f.message({"unsubscribe-" + *token + "@a.example"}));
    REQUIRE_FALSE(out.refusal);
    CHECK(out.answer.ends_with(" 1"));
    const auto rows = [&] {
        return f.store
            ->read([](const storage::Snapshot& s) { return storage::SuppressionView(s).of_address("ann@c.example"); })
            ->size();
    };
    CHECK(rows() == 1);
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(storage::StreamTx(tx).subscribe("news", "ben@c.example"));
        return {};
    }));
    const auto other = f.store->read([&](const storage::Snapshot& s) {
        return storage::StreamView(s).token("news", "ben@c.example", f.store->sealing_key());
    });
    // RFC 3834: a machine's answer leaves nothing.
    Submission automatic = f.message({"unsubscribe-" + *other + "@a.example"});
    automatic.octets = "Auto-Submitted: auto-replied\r\n" + automatic.octets;
    CHECK_FALSE(f.door->submit(automatic).refusal);
    const auto bens = f.store->read(
        [](const storage::Snapshot& s) { return storage::SuppressionView(s).of_address("ben@c.example"); });
    REQUIRE(bens);
    CHECK(bens->empty());
}

TEST_CASE("no room is no_space, and nothing is written") {
    Fixture f(1ULL << 60U);
    const SubmissionOutcome out = f.door->submit(f.message({"x@c.example"}));
    REQUIRE(out.refusal);
    CHECK(out.refusal->kind == Kind::no_space);
}

TEST_CASE("one key is one message: asked again, after a restart, with another request, and while it is worked on") {
    Fixture f;
    const auto with_key = [&](std::string digest) {
        Submission one = f.message({"x@c.example"});
        one.key = "k1";
        one.digest = std::move(digest);
        return one;
    };
    f.loop.post([&f] { f.alignment.go.reset(); });
    auto first = std::async(std::launch::async, [&] { return f.door->submit(with_key("d1")); });
    CHECK(f.alignment.asked.get_future().get() == "a.example");
    const SubmissionOutcome meanwhile = f.door->submit(with_key("d1"));
    REQUIRE(meanwhile.refusal);
    CHECK(meanwhile.refusal->kind == Kind::in_work);
    f.loop.post([&f] { f.alignment.go.set(); });
    const SubmissionOutcome taken = first.get();
    REQUIRE_FALSE(taken.refusal);
    CHECK_FALSE(taken.repeated);
    const SubmissionOutcome again = f.door->submit(with_key("d1"));
    CHECK(again.repeated);
    CHECK(again.answer == taken.answer);
    const SubmissionOutcome other = f.door->submit(with_key("d2"));
    REQUIRE(other.refusal);
    CHECK(other.refusal->kind == Kind::reused_key);
    CHECK(f.queue().size() == 1);
}

TEST_CASE("the key in the header of a message counts as well, and leaves with nobody") {
    Fixture f;
    Submission one = f.message({"bob@a.example"});
    one.octets = "Idempotency-Key: \"k7\"\r\n" + one.octets;
    REQUIRE_FALSE(f.door->submit(one).refusal);
    CHECK(f.door->submit(one).repeated);
    CHECK(f.store.entries(f.bob, "INBOX").size() == 1);
    one.octets = "Idempotency-Key: k8\r\n" + one.octets;
    const SubmissionOutcome two = f.door->submit(one);
    REQUIRE(two.refusal);
    CHECK(two.refusal->kind == Kind::invalid);
}

TEST_CASE("what was begun ends when the door closes; who comes later hears so") {
    Fixture f;
    f.loop.post([&f] { f.alignment.go.reset(); });
    auto first = std::async(std::launch::async, [&] { return f.door->submit(f.message({"x@c.example"})); });
    f.alignment.asked.get_future().wait();
    f.door->stop();
    const SubmissionOutcome late = f.door->submit(f.message({"x@c.example"}));
    REQUIRE(late.refusal);
    CHECK(late.refusal->kind == Kind::unavailable);
    f.loop.post([&f] { f.alignment.go.set(); });
    f.stop();
    CHECK_FALSE(first.get().refusal);
}

TEST_CASE("a receipt is owed to a stranger only where SPF shows that the address is his own") {
    Fixture f;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_alias("out@a.example", {"carol@c.example"}));
        return {};
    }));
    f.reload();
    const auto owed = [&] {
        return f.store->read([](const storage::Snapshot& s) { return storage::ReceiptView(s).owed(10); }).value();
    };
    auto envelope = Fixture::envelope_of("victim@v.example", {"alice@a.example", "out@a.example"});
    constexpr auto kSuccess = static_cast<std::uint8_t>(storage::Notify::success);
    for (auto& recipient : envelope.recipients) recipient.notify = kSuccess;
    f.take(envelope, "Subject: x\r\n\r\nx\r\n");
    CHECK(owed().empty());
    const auto passed_on = [&](const storage::QueueItem& item) {
        return f.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(item.id); }).value().front();
    };
    REQUIRE(f.queue().size() == 1);
    CHECK(passed_on(f.queue().back()).notify == static_cast<std::uint8_t>(storage::Notify::never));
    envelope.sender_proven = true;
    f.take(envelope, "Subject: x\r\n\r\nx\r\n");
    REQUIRE(owed().size() == 1);
    CHECK(owed().front().sender == "victim@v.example");
    CHECK(passed_on(f.queue().back()).notify == kSuccess);
}

TEST_CASE("one bounce to many spellings of one token counts once") {
    Fixture f;
    REQUIRE_FALSE(f.door->submit(f.message({"x@c.example"})).refusal);
    const storage::QueueItem item = f.queue().front();
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto rows, tx.queue().recipients(item.id));
        storage::Outcome outcome;
        outcome.state = storage::RecipientState::delivered;
        outcome.reply = "250 ok";
        return tx.queue().finish(rows.front().id, outcome);
    }));
    const mailauth::ReturnToken token{static_cast<std::uint64_t>(storage::raw(item.id)), std::nullopt};
    const std::string local =
        mailauth::make_return_token(mailauth::return_keys(f.store->sealing_key()), token, system_clock().now());
    std::string shouted = local;
    std::ranges::transform(shouted, shouted.begin(), [](unsigned char c) { return std::toupper(c); });
    f.take(Fixture::envelope_of("", {local + "@a.example", shouted + "@a.example"}),
           "From: MAILER-DAEMON@c.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\nContent-Type: "
           "multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n"
           "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.c.example\r\n\r\n"
           "Final-Recipient: rfc822; x@c.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n");
    const auto events = f.store->read([&](const storage::Snapshot& s) { return s.events().by_queue(item.id); }).value();
    CHECK(std::ranges::count(events, storage::EventKind::bounced, &storage::Event::kind) == 1);
}
