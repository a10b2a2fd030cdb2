// A simulated week, seeded, under a turned clock: accounts that write as people do, one that sends a newsletter, and
// one that is stolen on the fifth day. It is held within fifty messages; none of the others is.
#include <algorithm>

#include "storage/account_guard.h"
#include "storage/incidents.h"
#include "storage/streams.h"
#include "tests/support/relay_house.h"
#include "tests/support/stand_in.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::AccountGuardTx;
using storage::AccountId;
using storage::QueueClass;

struct Week : House {
    Week() {
        remote.keywords = {"8BITMIME"};
        remote.always("RCPT TO:<gone", "550 5.1.1 No such user");
    }

    storage::QueueId hand_in(AccountId account, const std::vector<std::string>& to, QueueClass kind,
                             const std::string& stream = "") {
        const auto body = store.stage(kMessage);
        auto accepted = store->write_value({body}, [&](storage::Tx& tx) -> Result<storage::Accepted> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(kMessage);
            delivery.first_attempt = tx.now();
            storage::NewQueueItem item;
            item.reverse_path = "alice@home.example";
            item.account = account;
            item.mail_class = static_cast<std::uint8_t>(kind);
            item.stream = stream;
            item.expires = tx.now() + hours(120);
            for (const std::string& address : to) {
                storage::NewRecipient recipient;
                recipient.address = address;
                recipient.notify = static_cast<storage::NotifyBits>(storage::Notify::never);
                item.recipients.push_back(recipient);
            }
            delivery.outgoing = item;
            TRY(const storage::Accepted taken, tx.deliver(delivery));
            TRY_VOID(AccountGuardTx(tx).submitted(*taken.queue, item));
            return taken;
        });
        if (!accepted) FAIL(accepted.error().context);
        ++handed_in;
        return accepted->queue.value();
    }
    std::vector<std::string> held_accounts() {
        const auto open =
            store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
        std::vector<std::string> out;
        for (const storage::Incident& one : open) {
            if (one.key.kind == storage::IncidentKind::account) out.push_back(one.key.domain);
        }
        return out;
    }
    std::size_t handed_in = 0;
};

/// What a thief sends until he is held: a message a stranger, all of whom exist; gives back how many.
std::size_t steal(Week& week, AccountId account, QueueClass kind, const std::string& stream, int& strangers) {
    std::size_t spam = 0;
    while (week.held_accounts().empty() && spam < 500) {
        week.hand_in(account, {"victim" + std::to_string(++strangers) + "@b.example"}, kind, stream);
        ++spam;
        if (spam % 5 == 0) week.settle_after(std::chrono::seconds(30));
    }
    return spam;
}

}  // namespace

TEST_CASE(
    "a stolen key that sends to many is held within 50 messages, though each of them exists; newsletters are not") {
    for (const bool is_named : {false, true}) {
        CAPTURE(is_named);
        Week week;
        const AccountId app = week.store.add_account("app@home.example");
        const AccountId fresh = week.store.add_account("fresh@home.example");
        const std::string stream = is_named ? "news" : "";
        if (is_named) {
            REQUIRE(week.store->write({}, [](storage::Tx& tx) -> Result<> {
                for (const char* name : {"news", "later"}) {
                    storage::Stream made;
                    made.name = name;
                    made.owner = "home.example";
                    TRY_VOID(storage::StreamTx(tx).add(made));
                }
                return {};
            }));
        }
        int strangers = 0;
        std::size_t readers = 0;
        // Two weeks of an ordinary newsletter: on the first day all readers are new, later eight more each time.
        for (int day = 0; day < 14; ++day) {
            if (day % 3 == 0) {
                readers += day == 0 ? 150 : 8;
                for (std::size_t i = 0; i < readers; ++i) {
                    week.hand_in(app, {"reader" + std::to_string(i) + "@b.example"}, QueueClass::bulk, stream);
                }
                week.settle();
                CHECK(week.held_accounts().empty());
            }
            // Who has written nothing to many before begins with one: a new account, and a new stream.
            if (day == 13) {
                for (int i = 0; i < 120; ++i) {
                    week.hand_in(fresh, {"other" + std::to_string(i) + "@b.example"}, QueueClass::bulk, "");
                }
                week.settle_after(hours(2));
                for (int i = 120; i < 240; ++i) {
                    week.hand_in(fresh, {"other" + std::to_string(i) + "@b.example"}, QueueClass::bulk, "");
                }
                week.settle();
                CHECK(week.held_accounts().empty());
            }
            week.settle_after(hours(24));
        }
        CHECK(steal(week, app, QueueClass::bulk, stream, strangers) <= 50);
        CHECK(week.held_accounts() == std::vector<std::string>{"app@home.example"});
    }
}

TEST_CASE("mail to many from an account that only writes letters is judged by its letters, named or not") {
    Week week;
    REQUIRE(week.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::Stream made;
        made.name = "old";
        made.owner = "home.example";
        return storage::StreamTx(tx).add(made);
    }));
    const AccountId bob = week.store.add_account("bob@home.example");
    int strangers = 0;
    for (int day = 0; day < 10; ++day) {
        for (int i = 0; i < 5; ++i) {
            week.hand_in(bob, {"friend" + std::to_string(i) + "@b.example"}, QueueClass::interactive);
        }
        week.settle_after(hours(24));
    }
    const std::string stream = "old";  // made ten days ago, and never used
    CHECK(steal(week, bob, QueueClass::bulk, stream, strangers) <= 50);
    CHECK(week.held_accounts() == std::vector<std::string>{"bob@home.example"});
}

TEST_CASE("a stolen account is held within 50 messages in a simulated week, a newsletter and people are not") {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
        CAPTURE(seed);
        Week week;
        test::SeededRandom random(seed);
        const AccountId news = week.store.add_account("news@home.example");
        const AccountId bob = week.store.add_account("bob@home.example");
        std::vector<std::string> readers;
        for (int i = 0; i < 300; ++i) {
            // Three of a hundred have moved away since they subscribed.
            readers.push_back((random.chance(0.03) ? "gone" : "reader") + std::to_string(i) + "@b.example");
        }
        std::vector<std::string> friends;
        for (int i = 0; i < 25; ++i) friends.push_back("friend" + std::to_string(i) + "@b.example");
        const std::uint64_t stolen_at = 4 * 24 + 2;
        std::size_t spam = 0;
        std::size_t strangers = 0;
        for (std::uint64_t hour = 0; hour < 7 * 24; ++hour) {
            const bool is_day = hour % 24 >= 8 && hour % 24 < 19;
            for (const AccountId account : {week.alice, bob}) {
                const std::uint64_t letters = is_day ? random.below(4) : 0;
                for (std::uint64_t i = 0; i < letters; ++i) {
                    const bool is_new = random.chance(0.15);
                    const bool is_wrong = random.chance(0.02);
                    const std::string to = is_new ? "new" + std::to_string(++strangers) + "@b.example"
                                                  : friends[random.below(friends.size())];
                    week.hand_in(account, {is_wrong ? "gone.typo@b.example" : to}, QueueClass::interactive);
                }
            }
            // The newsletter: on the first and the fourth day, a message a reader.
            if (hour == 10 || hour == 82) {
                for (std::size_t i = 0; i < readers.size(); ++i) {
                    week.hand_in(news, {readers[i]}, QueueClass::bulk);
                    if (i % 10 == 9) week.settle();  // what does not exist is known while the rest is handed in
                }
            }
            week.settle();
            // The thief: forty an hour, in steps of a minute and a half, a third of them to nobody.
            if (hour >= stolen_at && week.held_accounts().empty()) {
                for (int i = 0; i < 40 && week.held_accounts().empty(); ++i) {
                    const std::string name = random.chance(0.3) ? "gone.victim" : "victim";
                    week.hand_in(bob, {name + std::to_string(++strangers) + "@b.example"}, QueueClass::interactive);
                    ++spam;
                    week.settle_after(std::chrono::seconds(90));
                }
            } else {
                week.settle_after(hours(1));
            }
        }
        CHECK(week.held_accounts() == std::vector<std::string>{"bob@home.example"});
        CHECK(spam <= 50);
        CHECK(spam >= 15);
        // Taken and held, not refused: what came after the theft was noticed is all there.
        const auto held = week.store
                              ->read([&](const storage::Snapshot& s) -> Result<std::uint64_t> {
                                  TRY(const auto open, storage::IncidentView(s).open());
                                  return storage::IncidentView(s).held_count(open.front().id);
                              })
                              .value();
        CHECK(held > 0);
        CHECK(week.waiting() == 0);
    }
}

TEST_CASE("what is being tried in the moment in which its account is held is held, too, when it must wait") {
    Week week;
    const AccountId bob = week.store.add_account("bob@home.example");
    week.remote.always(".", "451 4.7.1 try again later");
    week.remote.on_message = [&] {
        REQUIRE(week.store->write({}, [](storage::Tx& tx) -> Result<> {
            storage::IncidentKey key;
            key.kind = storage::IncidentKind::account;
            key.domain = "bob@home.example";
            TRY_VOID(storage::IncidentTx(tx).note(key, storage::Refusal()));
            return {};
        }));
    };
    const auto row = [&](storage::QueueId id) {
        return week.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value().front();
    };
    const auto id = week.hand_in(bob, {"victim@b.example"}, QueueClass::interactive);
    week.settle();
    CHECK(row(id).state == storage::RecipientState::held);
    week.settle_after(hours(5));
    CHECK(week.remote.messages.size() == 1);

    // Let go by hand it is not held again, however often it is put off.
    REQUIRE(week.store->write({}, [&](storage::Tx& tx) { return tx.queue().release(id); }));
    week.settle();
    CHECK(week.remote.messages.size() == 2);
    CHECK(row(id).state == storage::RecipientState::waiting);

    // Of an account that is gone nothing is held.
    REQUIRE(week.store->write({}, [&](storage::Tx& tx) { return tx.catalog().remove_account(bob); }));
    week.settle_after(hours(1));
    CHECK(week.remote.messages.size() == 3);
    CHECK(row(id).state == storage::RecipientState::waiting);
}

}  // namespace posthouse::relay
