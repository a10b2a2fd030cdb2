#include "server/imap/mailbox_cache.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "storage/upkeep/upkeep.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::server::imap;
using storage::AccountId;
using storage::MailTx;
using storage::Snapshot;
using storage::Tx;

namespace {

struct World {
    test::TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    Metrics metrics;
    MailboxCache cache{1024UL * 1024, &metrics};

    World() { add("INBOX", 20); }

    template <class F>
    void change(F fn) {
        const auto done = store->write({}, [&](Tx& tx) -> Result<> { return fn(tx.mail(alice)); });
        REQUIRE_MESSAGE(done, done.error().context);
    }
    // Copies of one message: what lies in a mailbox is what counts here.
    void add(const std::string& mailbox, std::size_t count) {
        const auto body = store.stage("Subject: x\r\n\r\nhello\r\n");
        const auto done = store->write({body}, [&](Tx& tx) -> Result<> {
            TRY(const auto message, tx.add_message(body, test::plain_facts("x")));
            MailTx& mail = tx.mail(alice);
            TRY(const Mailbox box, mail.mailbox(mailbox));
            for (std::size_t i = 0; i < count; ++i) TRY_VOID(mail.append(box.id, message, {}));
            return {};
        });
        REQUIRE_MESSAGE(done, done.error().context);
    }
    Result<OpenedMailbox> try_open(MailboxCache& through, const std::string& name) {
        return store->read([&](const Snapshot& snapshot) -> Result<OpenedMailbox> {
            TRY(const Mailbox mailbox, snapshot.mail(alice).mailbox(name));
            return through.open(snapshot.mail(alice), alice, mailbox);
        });
    }
    OpenedMailbox open(const std::string& name) {
        auto opened = try_open(cache, name);
        if (!opened) FAIL(opened.error().context);
        return *std::move(opened);
    }
    std::int64_t loads() { return metrics.counter("imap_mailbox_loads_total", "").get(); }
    std::int64_t hits() { return metrics.counter("imap_mailbox_cache_hits_total", "").get(); }
    // What the cache gives is what the store says, message by message.
    void check_true(const OpenedMailbox& opened, const std::string& name) {
        std::vector<Line> want;
        for (const Entry& entry : store.entries(alice, name)) want.emplace_back(entry);
        REQUIRE(opened.entries->lines() == want);
        MailboxCache none(0);
        const auto fresh = try_open(none, name);
        REQUIRE(fresh);
        REQUIRE(opened.keyword_sets == fresh->keyword_sets);
        REQUIRE(opened.mailbox.highest_modseq == fresh->mailbox.highest_modseq);
        REQUIRE(opened.mailbox.uid_next == fresh->mailbox.uid_next);
        REQUIRE(opened.mailbox.name == name);
    }
};

// Some UIDs of a mailbox, few or most of them.
std::vector<Uid> some_uids(World& world, const std::string& name, std::mt19937& random) {
    std::vector<Uid> out;
    const unsigned one_in = random() % 8 == 0 ? 2 : 40;
    for (const Entry& entry : world.store.entries(world.alice, name)) {
        if (random() % one_in == 0) out.push_back(entry.uid);
    }
    return out;
}

void change_at_random(World& world, std::mt19937& random) {
    const std::string boxes[] = {"INBOX", "Work"};
    const std::string& from = boxes[random() % 2];
    const std::string& to = boxes[random() % 2];
    const auto uids = some_uids(world, from, random);
    switch (random() % 7) {
        case 0: return world.add(from, 1 + random() % 3);
        case 1: return world.add(from, random() % 700);
        case 2:
        case 3: {
            storage::FlagChange change;
            change.how = static_cast<storage::FlagChange::How>(random() % 3);
            change.flags = static_cast<FlagBits>(random() % 32);
            const std::string keywords[] = {"$Work", "$Home", "$Later"};
            if (random() % 2 == 0) change.keywords.push_back(keywords[random() % 3]);
            return world.change([&](MailTx& mail) -> Result<> {
                TRY(const Mailbox box, mail.mailbox(from));
                TRY_VOID(mail.store(box.id, uids, change, std::nullopt));
                return {};
            });
        }
        case 4:
            world.change([&](MailTx& mail) -> Result<> {
                TRY(const Mailbox box, mail.mailbox(from));
                TRY_VOID(mail.expunge(box.id, uids));
                return {};
            });
            // Now and then what was expunged is forgotten, so that differences tell all that is not there.
            if (random() % 2 == 0)
                REQUIRE(storage::trim_expunged(*world.store, world.store.mailbox(world.alice, from).id, 3));
            return;
        default:
            world.change([&](MailTx& mail) -> Result<> {
                TRY(const Mailbox source, mail.mailbox(from));
                TRY(const Mailbox target, mail.mailbox(to));
                if (random() % 2 == 0 && from != to) {
                    TRY_VOID(mail.move(source.id, uids, target.id));
                } else {
                    TRY_VOID(mail.copy(source.id, uids, target.id));
                }
                return {};
            });
    }
}

}  // namespace

TEST_CASE("after any changes an opened mailbox is what a fresh load gives, and is not loaded again") {
    for (unsigned seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        World world;
        world.change([](MailTx& mail) -> Result<> {
            TRY_VOID(mail.create("Work", storage::SpecialUse::none));
            return {};
        });
        world.add("INBOX", 1500);
        world.open("INBOX");
        world.open("Work");
        for (int step = 0; step < 60; ++step) {
            CAPTURE(step);
            for (unsigned i = 1 + random() % 3; i > 0; --i) change_at_random(world, random);
            for (const std::string name : {"INBOX", "Work"}) {
                if (random() % 3 != 0) world.check_true(world.open(name), name);
            }
        }
        CHECK(world.loads() == 2);
    }
}

TEST_CASE("news bring the image along, from whatever the session knew") {
    World world;
    const OpenedMailbox first = world.open("INBOX");
    std::mt19937 random(3);
    world.change([](MailTx& mail) -> Result<> {
        TRY_VOID(mail.create("Work", storage::SpecialUse::none));
        return {};
    });
    ModSeq since = first.mailbox.highest_modseq;
    for (int step = 0; step < 40; ++step) {
        change_at_random(world, random);
        const auto list = world.store->read([&](const Snapshot& snapshot) -> Result<EntryListPtr> {
            const storage::MailView& mail = snapshot.mail(world.alice);
            MailboxNews news;
            TRY(news.mailbox, mail.mailbox(first.mailbox.id));
            TRY(news.changed, mail.changed_since(first.mailbox.id, since));
            TRY(news.expunged, mail.expunged_since(first.mailbox.id, since));
            EntryListPtr out = world.cache.follow(mail, world.alice, news, since);
            if (step % 3 == 0) since = news.mailbox.highest_modseq;  // another session, which looks less often
            return out;
        });
        REQUIRE(list);
        REQUIRE(*list != nullptr);
        const OpenedMailbox opened = world.open("INBOX");
        CHECK(opened.entries == *list);
        world.check_true(opened, "INBOX");
    }
    CHECK(world.loads() == 1);
}

TEST_CASE("all sessions of a mailbox hold the same entries") {
    World world;
    CHECK(world.open("INBOX").entries == world.open("INBOX").entries);
    CHECK(world.hits() == 1);
}

TEST_CASE("a name is not a mailbox: rename, removal, making anew") {
    World world;
    world.change([](MailTx& mail) -> Result<> {
        TRY_VOID(mail.create("Old", storage::SpecialUse::none));
        return {};
    });
    world.add("Old", 5);
    const OpenedMailbox before = world.open("Old");
    world.change([](MailTx& mail) { return mail.rename("Old", "New"); });
    CHECK_FALSE(world.try_open(world.cache, "Old"));
    const OpenedMailbox renamed = world.open("New");
    CHECK(renamed.mailbox.id == before.mailbox.id);
    world.check_true(renamed, "New");
    world.change([](MailTx& mail) -> Result<> {
        TRY_VOID(mail.remove("New"));
        TRY_VOID(mail.create("New", storage::SpecialUse::none));
        return {};
    });
    const OpenedMailbox anew = world.open("New");
    CHECK(anew.entries->size() == 0);
    CHECK(anew.mailbox.uid_validity != before.mailbox.uid_validity);
    CHECK(before.entries->size() == 5);  // a session that still has it goes on
}

TEST_CASE("RENAME of INBOX empties it") {
    World world;
    world.open("INBOX");
    world.change([](MailTx& mail) { return mail.rename("INBOX", "Past"); });
    world.check_true(world.open("INBOX"), "INBOX");
    CHECK(world.open("Past").entries->size() == 20);
}

TEST_CASE("an image is another account's as little as its mailbox is") {
    World world;
    const AccountId bob = world.store.add_account("bob@a.example");
    const Mailbox of_alice = world.open("INBOX").mailbox;
    const auto stolen = world.store->read(
        [&](const Snapshot& snapshot) { return world.cache.open(snapshot.mail(bob), bob, of_alice); });
    REQUIRE_FALSE(stolen);
    CHECK(stolen.error().code == Errc::not_found);
}

TEST_CASE("another UIDVALIDITY or counts that do not fit: the mailbox is loaded afresh") {
    World world;
    const OpenedMailbox opened = world.open("INBOX");
    const auto again = [&](auto adjust) {
        const auto got = world.store->read([&](const Snapshot& snapshot) -> Result<OpenedMailbox> {
            TRY(Mailbox mailbox, snapshot.mail(world.alice).mailbox("INBOX"));
            adjust(mailbox);
            return world.cache.open(snapshot.mail(world.alice), world.alice, mailbox);
        });
        REQUIRE(got);
        CHECK(got->entries->size() == 20);
    };
    again([](Mailbox& mailbox) { ++mailbox.uid_validity; });
    CHECK(world.loads() == 2);
    // As after an entry vanished without a trace: the difference cannot tell, the count does.
    again([](Mailbox& mailbox) { ++mailbox.uid_validity, ++mailbox.highest_modseq, ++mailbox.messages; });
    CHECK(world.loads() == 3);
}

TEST_CASE("beyond the bound the longest unused goes; what is selected stays findable") {
    World world;
    for (int i = 0; i < 8; ++i) {
        const std::string name = "Box" + std::to_string(i);
        world.change([&](MailTx& mail) -> Result<> {
            TRY_VOID(mail.create(name, storage::SpecialUse::none));
            return {};
        });
        world.add(name, 300);
    }
    const OpenedMailbox one = world.open("Box0");
    const std::uint64_t octets = world.cache.octets();
    CHECK(octets > 0);
    MailboxCache small(octets * 3);
    OpenedMailbox held = *world.try_open(small, "Box0");
    for (int i = 1; i < 8; ++i) {
        REQUIRE(world.try_open(small, "Box" + std::to_string(i)));
        CHECK(small.octets() <= octets * 3);
    }
    CHECK(small.octets() > octets);
    CHECK(world.try_open(small, "Box0")->entries == held.entries);
    MailboxCache none(0);
    held = *world.try_open(none, "Box1");
    CHECK(none.octets() == 0);
    CHECK(world.try_open(none, "Box1")->entries == held.entries);
    world.add("Box1", 1);
    const OpenedMailbox more = *world.try_open(none, "Box1");
    CHECK(more.entries->size() == 301);
    CHECK(held.entries->size() == 300);
    none.forget(world.alice, more.mailbox.id);
    small.forget(world.alice, more.mailbox.id);
    CHECK(world.try_open(none, "Box1")->entries != more.entries);
}

TEST_CASE("readers and a writer at the same time: every image is of one moment, and none goes back") {
    World world;
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::vector<std::jthread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([&] {
            ModSeq last = 0;
            do {
                const auto opened = world.try_open(world.cache, "INBOX");
                if (!opened || opened->entries->size() != opened->mailbox.messages ||
                    opened->entries->unseen() != opened->mailbox.unseen || opened->mailbox.highest_modseq < last) {
                    ++wrong;
                }
                if (opened) last = opened->mailbox.highest_modseq;
            } while (!stop);
        });
    }
    for (int i = 0; i < 30; ++i) {
        world.add("INBOX", 3);
        const Uid uid = static_cast<Uid>(1 + i);
        world.change([&](MailTx& mail) -> Result<> {
            TRY(const Mailbox box, mail.mailbox("INBOX"));
            TRY_VOID(mail.expunge(box.id, std::span(&uid, 1)));
            return {};
        });
    }
    stop = true;
    readers.clear();
    CHECK(wrong == 0);
    world.check_true(world.open("INBOX"), "INBOX");
}
