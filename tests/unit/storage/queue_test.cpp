// The outgoing queue: states, what is given out and when, what leaves it.
#include "storage/queue.h"

#include <mutex>
#include <optional>

#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::plain_facts;
using posthouse::test::TempStore;

namespace {

const Time kStart = from_unix_ms(1'800'000'000'000);

struct Fixture {
    QueueId add(std::vector<std::string> addresses, Time first = kStart,
                QueueClass priority = QueueClass::interactive) {
        const StagedBodyPtr body = store.stage("queued body");
        const auto accepted = store->write_value({body}, [&](Tx& tx) -> Result<Accepted> {
            Delivery delivery;
            delivery.body = body;
            delivery.facts = plain_facts("queued body", "<q@a.example>");
            delivery.sender = "alice@a.example";
            delivery.first_attempt = first;
            delivery.outgoing.emplace();
            delivery.outgoing->reverse_path = "alice@a.example";
            delivery.outgoing->envid = "env";
            delivery.outgoing->ret = Ret::headers;
            delivery.outgoing->mail_class = static_cast<std::uint8_t>(priority);
            delivery.outgoing->expires = kStart + std::chrono::hours(120);
            for (const std::string& address : addresses) {
                NewRecipient recipient;
                recipient.address = address;
                recipient.notify = static_cast<NotifyBits>(Notify::failure);
                delivery.outgoing->recipients.push_back(recipient);
            }
            return tx.deliver(delivery);
        });
        if (!accepted) FAIL(accepted.error().context);
        return *accepted->queue;
    }
    template <class F>
    auto write(F fn) {
        return store->write({}, [&](Tx& tx) -> Result<> {
            TRY_VOID(fn(tx.queue()));
            return {};
        });
    }
    std::vector<QueueRecipient> due(Time until) {
        return *store->read([&](const Snapshot& s) { return s.queue().due(until, 100); });
    }
    std::vector<QueueRecipient> recipients(QueueId id) {
        return *store->read([&](const Snapshot& s) { return s.queue().recipients(id); });
    }
    bool exists(QueueId id) {
        return store->read([&](const Snapshot& s) { return s.queue().item(id); }).has_value();
    }
    void start(RecipientId id) {
        const std::vector<RecipientId> ids = {id};
        REQUIRE(write([&](QueueTx& queue) { return queue.start(ids); }));
    }
    Result<> finish(RecipientId id, RecipientState state, Time next = kStart) {
        Outcome outcome;
        outcome.state = state;
        outcome.reply = "250 2.0.0 fine";
        outcome.remote = "mx.b.example [192.0.2.1]";
        outcome.next_attempt = next;
        outcome.dialogue = "C: MAIL FROM";
        return write([&](QueueTx& queue) { return queue.finish(id, outcome); });
    }
    std::vector<std::string> kinds(QueueId id) {
        std::vector<std::string> out;
        const auto events = store->read([&](const Snapshot& s) { return s.events().by_queue(id); });
        for (const Event& event : *events) out.emplace_back(to_string(event.kind));
        return out;
    }

    TempStore store;
};

using Kinds = std::vector<std::string>;

}  // namespace

TEST_CASE("queue ids are written and read as q and a number") {
    CHECK(format_queue_id(static_cast<QueueId>(17)) == "q17");
    CHECK(raw(parse_queue_id("q17")) == 17);
    CHECK(raw(parse_queue_id("Q17")) == 17);
    for (const char* bad : {"", "q", "17", "q1x", "q-1", "q99999999999999999999", "q18446744073709551615"}) {
        CAPTURE(bad);
        CHECK(raw(parse_queue_id(bad)) == 0);
    }
}

TEST_CASE("an item keeps its envelope, and its body and facts can be read until it goes") {
    Fixture f;
    const QueueId id = f.add({"Bob@B.Example", "carol@c.example"});
    const auto item = f.store->read([&](const Snapshot& s) { return s.queue().item(id); });
    REQUIRE(item);
    CHECK(item->message_id == "<q@a.example>");
    CHECK(item->reverse_path == "alice@a.example");
    CHECK(item->envid == "env");
    CHECK(item->ret == Ret::headers);
    CHECK_FALSE(item->account);
    CHECK(item->size_octets == 11);
    const auto recipients = f.recipients(id);
    REQUIRE(recipients.size() == 2);
    CHECK(recipients[0].address == "Bob@B.Example");
    CHECK(recipients[0].domain == "b.example");
    CHECK(recipients[0].notify == static_cast<NotifyBits>(Notify::failure));
    const auto text = f.store->read([&](const Snapshot& s) -> Result<std::string> {
        TRY(const BodyReader body, s.queue().body(id));
        return body.read_all();
    });
    CHECK(text.value() == "queued body");
    CHECK(f.store->read([&](const Snapshot& s) { return s.queue().facts(id); })->subject == "a subject");
    CHECK(f.store->read([&](const Snapshot& s) { return s.queue().list(QueueId{}, 10); })->size() == 1);
    CHECK(f.store->read([&](const Snapshot& s) { return s.queue().list(id, 10); })->empty());
}

TEST_CASE("what the reply meant is kept with the recipient and told in its event") {
    Fixture f;
    const QueueId id = f.add({"bob@b.example"});
    CHECK(f.recipients(id)[0].last_class.empty());
    Outcome outcome;
    outcome.reply = "452 4.2.2 over quota";
    outcome.reply_class = "mailbox-full";
    outcome.next_attempt = kStart;
    const RecipientId recipient = f.recipients(id)[0].id;
    REQUIRE(f.write([&](QueueTx& queue) { return queue.finish(recipient, outcome); }));
    CHECK(f.recipients(id)[0].last_class == "mailbox-full");
    const auto events = f.store->read([&](const Snapshot& s) { return s.events().by_queue(id); });
    REQUIRE(events);
    CHECK(events->back().detail == "452 4.2.2 over quota (mailbox-full)");
}

TEST_CASE("due gives waiting recipients only, oldest first, none before its time") {
    Fixture f;
    const QueueId late = f.add({"late@b.example"}, kStart + std::chrono::seconds(20));
    const QueueId soon = f.add({"soon@b.example"}, kStart);
    CHECK(f.due(kStart - std::chrono::seconds(1)).empty());
    CHECK(f.due(kStart).size() == 1);
    const auto all = f.due(kStart + std::chrono::hours(1));
    REQUIRE(all.size() == 2);
    CHECK(all[0].queue == soon);
    CHECK(all[1].queue == late);
    CHECK(f.store->read([](const Snapshot& s) { return s.queue().next_due(); })->value() == kStart);
    CHECK(f.store->read([](const Snapshot& s) { return s.queue().waiting_count(); }).value() == 2);
    f.start(all[0].id);
    CHECK(f.due(kStart).empty());
    CHECK(f.store->read([](const Snapshot& s) { return s.queue().waiting_count(); }).value() == 1);
}

TEST_CASE("a recipient is given to one taker only, and delivered is for ever") {
    Fixture f;
    const QueueId id = f.add({"bob@b.example", "carol@c.example"});
    const RecipientId bob = f.recipients(id)[0].id;
    const std::vector<RecipientId> ids = {bob};
    const auto start = [&] { return *f.store->write_value({}, [&](Tx& tx) { return tx.queue().start(ids); }); };
    const auto taken = start();
    REQUIRE(taken.size() == 1);
    CHECK(taken.front().id == bob);
    CHECK(taken.front().attempts == 0);
    CHECK(start().empty());
    REQUIRE(f.finish(bob, RecipientState::delivered));
    CHECK(start().empty());
    CHECK(f.finish(bob, RecipientState::waiting).error().code == Errc::conflict);
    CHECK(f.recipients(id)[0].state == RecipientState::delivered);
    CHECK(f.finish(static_cast<RecipientId>(999), RecipientState::delivered).error().code == Errc::not_found);
    CHECK(f.finish(f.recipients(id)[1].id, RecipientState::sending).error().code == Errc::invalid);
    // Of another message: whose sender would be told of it?
    const QueueId other = f.add({"dave@d.example"});
    const auto owner = f.store->read([&](const Snapshot& s) { return s.queue().item(other); });
    Outcome outcome;
    outcome.state = RecipientState::delivered;
    const auto mixed_up =
        f.write([&](QueueTx& queue) { return queue.finish(*owner, f.recipients(id)[1].id, outcome); });
    CHECK(mixed_up.error().code == Errc::invalid);
    CHECK(f.recipients(id)[1].state == RecipientState::waiting);
}

TEST_CASE("a commit tells whether something waits that did not, or for another time") {
    Fixture f;
    std::vector<bool> told;  // in the order of the commits that touched the queue
    std::mutex mutex;
    f.store->subscribe([&](const CommitNotice& notice) {
        const std::lock_guard lock(mutex);
        if (notice.queue) told.push_back(notice.due);
    });
    const auto last = [&] {
        const std::lock_guard lock(mutex);
        const auto out = told.empty() ? std::optional<bool>() : std::optional<bool>(told.back());
        told.clear();
        return out;
    };
    const QueueId id = f.add({"bob@b.example", "carol@c.example", "dave@d.example"});
    CHECK(last() == true);
    const auto all = f.recipients(id);
    for (const QueueRecipient& one : all) f.start(one.id);
    CHECK_FALSE(last());
    REQUIRE(f.finish(all[0].id, RecipientState::delivered));
    CHECK(last() == false);
    REQUIRE(f.finish(all[1].id, RecipientState::waiting));
    CHECK(last() == true);
    REQUIRE(f.finish(all[2].id, RecipientState::failed));
    CHECK(last() == false);
    REQUIRE(f.write([&](QueueTx& queue) { return queue.hold(id); }));
    REQUIRE(f.write([&](QueueTx& queue) { return queue.release(id); }));
    CHECK(last() == true);
}

TEST_CASE("an item leaves when its last recipient is final; its events stay and its body is let go") {
    Fixture f;
    const QueueId id = f.add({"bob@b.example", "carol@c.example"});
    const auto recipients = f.recipients(id);
    f.start(recipients[0].id);
    REQUIRE(f.finish(recipients[0].id, RecipientState::delivered));
    CHECK(f.exists(id));
    f.start(recipients[1].id);
    REQUIRE(f.finish(recipients[1].id, RecipientState::waiting, kStart + std::chrono::minutes(5)));
    CHECK(f.recipients(id)[1].attempts == 1);
    CHECK(f.recipients(id)[1].last_reply == "250 2.0.0 fine");
    CHECK(f.recipients(id)[1].next_attempt == kStart + std::chrono::minutes(5));
    f.start(recipients[1].id);
    REQUIRE(f.finish(recipients[1].id, RecipientState::failed));
    CHECK_FALSE(f.exists(id));
    CHECK(f.recipients(id).empty());
    CHECK(f.kinds(id) == Kinds{"queued", "queued", "delivered", "attempted", "bounced"});
    const auto events = f.store->read([&](const Snapshot& s) { return s.events().by_queue(id); });
    CHECK(events->back().dialogue == "C: MAIL FROM");
    CHECK(events->back().message_id == "q@a.example");
    CHECK(events->back().sender == "alice@a.example");
    auto db = Connection::open(f.store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
    CHECK((*db)->value("SELECT count(*) FROM messages").value() == 0);
    CHECK(f.add({"next@b.example"}) > id);
}

TEST_CASE("within the write that finishes the last recipient the item can still be read") {
    Fixture f;
    const QueueId id = f.add({"bob@b.example"});
    const RecipientId bob = f.recipients(id)[0].id;
    f.start(bob);
    CHECK(f.store->write({}, [&](Tx& tx) -> Result<> {
        Outcome outcome;
        outcome.state = RecipientState::failed;
        TRY_VOID(tx.queue().finish(bob, outcome));
        CHECK(tx.queue().item(id));
        CHECK(tx.queue().facts(id));
        CHECK(tx.queue().body(id)->read_all().value() == "queued body");
        return {};
    }));
    CHECK_FALSE(f.exists(id));
}

TEST_CASE("what one write has finished is not finished by it again, be it the only recipient or one of two") {
    for (const std::vector<std::string>& addresses :
         {std::vector<std::string>{"bob@b.example"}, std::vector<std::string>{"bob@b.example", "carol@b.example"}}) {
        CAPTURE(addresses.size());
        Fixture f;
        const QueueId id = f.add(addresses);
        const RecipientId bob = f.recipients(id)[0].id;
        Outcome outcome;
        outcome.state = RecipientState::delivered;
        for (const RecipientState then :
             {RecipientState::delivered, RecipientState::failed, RecipientState::waiting, RecipientState::held}) {
            const Result<> twice = f.store->write({}, [&](Tx& tx) -> Result<> {
                TRY_VOID(tx.queue().finish(bob, outcome));
                Outcome again;
                again.state = then;
                return tx.queue().finish(bob, again);
            });
            REQUIRE(!twice);
            CHECK(twice.error().code == Errc::conflict);
            CHECK(f.recipients(id)[0].state == RecipientState::waiting);  // all of that write is undone
        }
        REQUIRE(f.finish(bob, RecipientState::delivered));
        CHECK(f.exists(id) == (addresses.size() == 2));
    }
}

TEST_CASE("give_back counts no attempt; recover lets every sending row wait again, and says so") {
    Fixture f;
    const QueueId id = f.add({"bob@b.example", "carol@c.example"});
    const auto recipients = f.recipients(id);
    f.start(recipients[0].id);
    const std::vector<RecipientId> ids = {recipients[0].id};
    REQUIRE(f.write([&](QueueTx& queue) { return queue.give_back(ids); }));
    CHECK(f.recipients(id)[0].attempts == 0);
    CHECK(f.recipients(id)[0].state == RecipientState::waiting);
    CHECK(f.recipients(id)[0].next_attempt == recipients[0].next_attempt);
    f.start(recipients[0].id);
    f.start(recipients[1].id);
    f.store.reopen();
    const auto recovered = f.store->write_value({}, [](Tx& tx) { return tx.queue().recover(); });
    CHECK(recovered.value() == 2);
    CHECK(f.due(kStart + std::chrono::hours(1)).size() == 2);
    CHECK(f.recipients(id)[0].attempts == 1);
    CHECK(f.kinds(id) == Kinds{"queued", "queued", "interrupted", "interrupted"});
}

TEST_CASE("hold, release, retry and cancel do what they say and leave an event") {
    Fixture f;
    const QueueId id = f.add({"bob@b.example"}, kStart + std::chrono::hours(100'000));
    CHECK(f.write([&](QueueTx& queue) { return queue.release(id); }).error().code == Errc::conflict);
    REQUIRE(f.write([&](QueueTx& queue) { return queue.retry_now(id); }));
    CHECK(f.due(kStart + std::chrono::hours(1000)).size() == 1);
    REQUIRE(f.write([&](QueueTx& queue) { return queue.hold(id); }));
    CHECK(f.due(kStart + std::chrono::hours(200'000)).empty());
    CHECK(f.exists(id));
    REQUIRE(f.write([&](QueueTx& queue) { return queue.release(id); }));
    CHECK(f.due(kStart + std::chrono::hours(1000)).size() == 1);
    REQUIRE(f.write([&](QueueTx& queue) { return queue.hold(id); }));
    REQUIRE(f.write([&](QueueTx& queue) { return queue.cancel(id); }));
    CHECK_FALSE(f.exists(id));
    CHECK(f.kinds(id) == Kinds{"queued", "hurried", "held", "released", "held", "cancelled"});
    CHECK(f.write([&](QueueTx& queue) { return queue.cancel(id); }).error().code == Errc::not_found);
}

TEST_CASE("mail to many is given up after the hours of queue.bulk_hours, other mail when it says itself") {
    Fixture fixture;
    const auto life = [&](QueueId id) {
        const QueueItem item = fixture.store->read([&](const Snapshot& s) { return s.queue().item(id); }).value();
        return item.expires - item.created;
    };
    const auto add = [&](QueueClass priority) { return fixture.add({"bob@b.example"}, kStart, priority); };
    CHECK(life(add(QueueClass::bulk)) == std::chrono::hours(24));
    CHECK(life(add(QueueClass::transactional)) > std::chrono::hours(24));
    CHECK(life(add(QueueClass::interactive)) > std::chrono::hours(24));
    REQUIRE(fixture.store->write({}, [](Tx& tx) { return tx.catalog().set_setting("queue.bulk_hours", "6"); }));
    CHECK(life(add(QueueClass::bulk)) == std::chrono::hours(6));
}
