// The way back: a whole store, an account, a mailbox, a message.
#include <fmt/format.h>

#include "tests/unit/storage/backup/backup_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::test;

namespace {

std::unique_ptr<Store> open_at(const std::string& path) {
    StoreOptions options;
    options.directory = path;
    options.free_octets_min = 1024 * 1024;
    auto opened = Store::open(options);
    if (!opened) FAIL(opened.error().context);
    return *std::move(opened);
}

void enqueue(BackupStore& house) {
    const StagedBodyPtr body = house.store.stage("Subject: out\r\n\r\nhello\r\n");
    REQUIRE(house.store->write({body}, [&](Tx& tx) -> Result<> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts = plain_facts(body->view());
        delivery.outgoing.emplace();
        delivery.outgoing->reverse_path = "alice@a.example";
        delivery.outgoing->recipients = {NewRecipient{"x@b.example", "", 0}, NewRecipient{"y@b.example", "", 0}};
        TRY_VOID(tx.deliver(delivery));
        return {};
    }));
}

}  // namespace

TEST_CASE("a whole store comes back: texts, flags, key; UIDVALIDITY is new and the queue is held") {
    for (const bool encrypted : {false, true}) {
        CAPTURE(encrypted);
        BackupStore house(encrypted);
        for (int i = 0; i < 10; ++i) house.deliver(house.alice, i);
        house.deliver(house.bob, 100, "Archive/2026", kSpoolOctets + 1000);
        enqueue(house);
        house.create();
        const auto alices = house.texts(house.alice);
        const auto bobs = house.texts(house.bob, "Archive/2026");
        house.deliver(house.alice, 11);

        const std::string data = house.new_folder("restored");
        const auto done = backup::restore(house.target, "", data, {}, {});
        if (!done) FAIL(done.error().context);
        CHECK(done->messages == 11);
        CHECK(done->lost.count == 0);
        CHECK(done->held == 2);
        CHECK(done->key_made == !encrypted);
        {
            const auto store = open_at(data);
            CHECK(BackupStore::texts(*store, house.alice, "INBOX") == alices);
            CHECK(BackupStore::texts(*store, house.bob, "Archive/2026") == bobs);
            CHECK((store->sealing_key() == house.store->sealing_key()) == encrypted);
            const auto boxes = store->read([&](const Snapshot& s) { return s.mail(house.alice).mailboxes(); });
            REQUIRE(boxes);
            std::vector<std::uint32_t> seen;
            for (const Mailbox& box : *boxes) {
                CHECK(box.uid_validity > house.store.mailbox(house.alice, box.name).uid_validity);
                CHECK(std::ranges::find(seen, box.uid_validity) == seen.end());
                seen.push_back(box.uid_validity);
            }
            REQUIRE(TempStore::deliver_in(*store, house.alice, "new mail"));
            // What went out after the backup is known elsewhere by its number: none is given twice.
            const auto newest = [&](Store& of) {
                const auto all = of.read([](const Snapshot& s) { return s.events().behind(0, 1000); });
                return all->empty() ? std::int64_t{0} : all->back().id;
            };
            CHECK(newest(*store) > newest(*house.store) + 1000);
        }
        CHECK(backup::restore(house.target, "", data, {}, {}).error().context.find("holds a store") !=
              std::string::npos);

        backup::RestoreOptions move;
        move.as_it_was = true;
        const auto moved = backup::restore(house.target, "", house.new_folder("moved"), move, {});
        REQUIRE(moved);
        CHECK(moved->held == 0);
        const auto store = open_at(house.new_folder("moved"));
        const auto box = store->read([&](const Snapshot& s) { return s.mail(house.alice).mailbox("INBOX"); });
        REQUIRE(box);
        CHECK(box->uid_validity == house.store.mailbox(house.alice, "INBOX").uid_validity);
    }
}

TEST_CASE("the sealing key can be given, or taken along in clear when that is asked for") {
    BackupStore house;
    house.deliver(house.alice, 1);
    house.create();
    backup::RestoreOptions options;
    options.sealing_key_file = house.store.path() + "/seal.key";
    const auto given = backup::restore(house.target, "", house.new_folder("given"), options, {});
    REQUIRE(given);
    CHECK_FALSE(given->key_made);
    CHECK(open_at(house.new_folder("given"))->sealing_key() == house.store->sealing_key());
    options.sealing_key_file = house.store.path() + "/mail.db";
    CHECK(backup::restore(house.target, "", house.new_folder("bad"), options, {}).error().code == Errc::invalid);
    CHECK_FALSE(fs::exists(house.new_folder("bad")));

    backup::CreateOptions create;
    create.keys_in_clear = true;
    REQUIRE(backup::create(*house.store, house.target, create, {}));
    REQUIRE(backup::restore(house.target, "", house.new_folder("clear"), {}, {}));
    CHECK(open_at(house.new_folder("clear"))->sealing_key() == house.store->sealing_key());
}

TEST_CASE("a restore that was cut is no store and can be begun again; a directory with something is refused") {
    BackupStore house;
    for (int i = 0; i < 10; ++i) house.deliver(house.alice, i);
    house.create();
    const std::string data = house.new_folder("restored");
    backup::Watch watch;
    watch.stop = [] { return true; };
    CHECK(backup::restore(house.target, "", data, {}, watch).error().code == Errc::cancelled);
    CHECK_FALSE(fs::exists(data + "/mail.db"));
    REQUIRE(backup::restore(house.target, "", data, {}, {}));
    CHECK(BackupStore::texts(*open_at(data), house.alice, "INBOX") == house.texts(house.alice));
    CHECK_FALSE(fs::exists(data + "/restore-unfinished"));
    fs::create_directory(house.new_folder("other"));
    write_whole(house.new_folder("other") + "/file", "x");
    CHECK(backup::restore(house.target, "", house.new_folder("other"), {}, {}).error().context.find("not empty") !=
          std::string::npos);
    CHECK(backup::restore(house.target, "", house.new_folder("no/where"), {}, {}).error().code == Errc::not_found);
}

TEST_CASE("what was expunged comes back with flags, keywords and dates; what is there is left out") {
    BackupStore house;
    for (int i = 0; i < 10; ++i) house.deliver(house.alice, i);
    const Mailbox inbox = house.store.mailbox(house.alice, "INBOX");
    REQUIRE(house.store->write({}, [&](Tx& tx) -> Result<> {
        FlagChange change;
        change.flags = bit(Flag::flagged) | bit(Flag::seen);
        change.keywords = {"Work", "$Later"};
        TRY_VOID(tx.mail(house.alice).store(inbox.id, std::vector<Uid>{3}, change, std::nullopt));
        return {};
    }));
    const auto before = house.texts(house.alice);
    const Entry third = house.store.entries(house.alice, "INBOX")[2];
    house.create();
    for (const Uid uid : {3U, 5U}) house.expunge(house.alice, uid);

    const auto done = house.restore_mail({.account = "Alice@a.example"});
    if (!done) FAIL(done.error().context);
    CHECK(done->messages == 2);
    CHECK(done->there == 8);
    CHECK(done->mailboxes == std::vector<std::string>{"INBOX"});
    const auto entries = house.store.entries(house.alice, "INBOX");
    REQUIRE(entries.size() == 10);
    CHECK(entries[8].uid == 11);
    CHECK(entries[8].flags == third.flags);
    CHECK(entries[8].internal_date_s == third.internal_date_s);
    const auto keywords =
        house.store->read([&](const Snapshot& s) { return s.mail(house.alice).keywords(entries[8].keyword_set); });
    CHECK(keywords.value() == std::vector<std::string>{"$Later", "Work"});
    auto after = house.texts(house.alice);
    CHECK(after[8] == before[2]);
    CHECK(after[9] == before[4]);
    // The same again brings nothing twice.
    const auto again = house.restore_mail({.account = "alice@a.example"});
    REQUIRE(again);
    CHECK(again->messages == 0);
    CHECK(again->there == 10);
}

TEST_CASE("one mailbox, one message, and into another mailbox") {
    BackupStore house;
    for (int i = 0; i < 4; ++i) house.deliver(house.alice, i, i % 2 == 0 ? "INBOX" : "Work/Plans");
    house.create();
    const auto inbox = house.texts(house.alice);
    const auto plans = house.texts(house.alice, "Work/Plans");
    REQUIRE(house.store->write({}, [&](Tx& tx) { return tx.mail(house.alice).remove("Work/Plans"); }));

    const auto mailbox = house.restore_mail({.account = "alice@a.example", .mailbox = "Work/Plans"});
    REQUIRE(mailbox);
    CHECK(mailbox->messages == 2);
    CHECK(house.texts(house.alice, "Work/Plans") == plans);

    const auto by_uid =
        house.restore_mail({.account = "alice@a.example", .mailbox = "inbox", .message = "2", .into = "Restored"});
    REQUIRE(by_uid);
    CHECK(house.texts(house.alice, "Restored") == std::vector<std::string>{inbox[1]});
    for (const char* id : {"m3@a.example", "<m3@a.example>"}) {
        const auto by_id = house.restore_mail({.account = "alice@a.example", .message = id, .into = "One"});
        REQUIRE(by_id);
        CHECK(house.texts(house.alice, "One") == std::vector<std::string>{plans[1]});
    }
    const auto all = house.restore_mail({.account = "alice@a.example", .into = "Restored/All"});
    REQUIRE(all);
    CHECK(house.texts(house.alice, "Restored/All/Work/Plans") == plans);
    // --only-missing: nothing of it is missing anywhere.
    const auto missing = house.restore_mail({.account = "alice@a.example", .into = "More", .only_missing = true});
    REQUIRE(missing);
    CHECK(missing->messages == 0);

    const auto refused = [&](const backup::MailSelection& what) { return house.restore_mail(what).error().code; };
    CHECK(refused({.account = "alice@a.example", .message = "2"}) == Errc::invalid);
    CHECK(refused({.account = "alice@a.example", .message = "<none@a.example>"}) == Errc::not_found);
    CHECK(refused({.account = "alice@a.example", .mailbox = "None"}) == Errc::not_found);
    CHECK(refused({.account = "none@a.example"}) == Errc::not_found);
}

TEST_CASE("an account that was removed is made again; a large message comes back") {
    BackupStore house;
    house.deliver(house.bob, 1, "INBOX", kSpoolOctets + 5000);
    house.deliver(house.bob, 2, "Sent");
    house.create();
    const auto inbox = house.texts(house.bob);
    REQUIRE(house.store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(house.bob); }));
    const auto done = house.restore_mail({.account = "bob@a.example"});
    if (!done) FAIL(done.error().context);
    CHECK(done->account_made);
    CHECK(done->messages == 2);
    const auto bob = house.store->read([](const Snapshot& s) { return s.catalog().account("bob@a.example"); });
    REQUIRE(bob);
    CHECK(bob->password_hash == "hash");
    CHECK(house.texts(bob->id) == inbox);
}

TEST_CASE("a damaged object costs only the messages in it") {
    BackupStore house;
    house.deliver(house.bob, 100, "INBOX", kSpoolOctets + 1000);
    for (int i = 0; i < 10; ++i) house.deliver(house.alice, i);
    house.create();
    const auto alices = house.texts(house.alice);
    // The large message's first object is the only one of eight MiB.
    for (const fs::path& object : house.objects()) {
        if (fs::file_size(object) > kSpoolOctets) spoil(object, 4'000'000);
    }
    const auto alice = house.restore_mail({.account = "alice@a.example", .into = "Back"});
    REQUIRE(alice);
    CHECK(alice->messages == 10);
    CHECK(alice->lost.count == 0);
    CHECK(house.texts(house.alice, "Back/INBOX") == alices);
    const auto bob = house.restore_mail({.account = "bob@a.example", .into = "Back"});
    REQUIRE(bob);
    CHECK(bob->messages == 0);
    REQUIRE(bob->lost.count == 1);
    CHECK(bob->lost.sentences[0].starts_with("INBOX, UID 1"));

    const auto whole = backup::restore(house.target, "", house.new_folder("new"), {}, {});
    REQUIRE(whole);
    CHECK(whole->lost.count == 2);
    CHECK(whole->lost.sentences[1].find("bob@a.example, INBOX, UID 1") != std::string::npos);
    CHECK(BackupStore::texts(*open_at(house.new_folder("new")), house.alice, "INBOX") == alices);
}
