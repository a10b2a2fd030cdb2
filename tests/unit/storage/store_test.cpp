// The store as a whole: creation and opening, rights of the directory, bodies, snapshots, two processes, notices.
#include "storage/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include "storage/schema.h"
#include "storage/sqlite.h"
#include "tests/support/hand_queue.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::HandQueue;
using posthouse::test::TempDirectory;
using posthouse::test::TempStore;

namespace {

StoreOptions options_in(const std::string& directory) {
    StoreOptions options;
    options.directory = directory;
    options.free_octets_min = 1024;
    return options;
}

mode_t mode_of(const std::string& path) {
    struct stat facts{};
    REQUIRE(::lstat(path.c_str(), &facts) == 0);
    return facts.st_mode & 07777U;
}

std::string body_of(Store& store, AccountId account, const std::string& name, Uid uid) {
    auto text = store.read([&](const Snapshot& s) -> Result<std::string> {
        TRY(const Mailbox box, s.mail(account).mailbox(name));
        TRY(const BodyReader body, s.mail(account).body(box.id, uid));
        return body.read_all();
    });
    if (!text) FAIL(text.error().context);
    return *text;
}

}  // namespace

TEST_CASE("create makes a private directory with a key; twice is refused; what is not there is not opened") {
    TempDirectory temp;
    const StoreOptions options = options_in(temp.path() + "/data");
    CHECK(Store::open(options).error().code == Errc::not_found);
    std::string key;
    {
        auto store = Store::create(options);
        REQUIRE(store);
        key = (*store)->sealing_key();
        CHECK(key.size() == 32);
        CHECK((*store)->health() == Health::good);
    }
    CHECK(mode_of(options.directory) == 0700);
    CHECK(mode_of(options.directory + "/seal.key") == 0600);
    CHECK(mode_of(options.directory + "/mail.db") == 0600);
    CHECK(mode_of(options.directory + "/segments") == 0700);
    CHECK(Store::create(options).error().code == Errc::already_exists);
    auto again = Store::open(options);
    REQUIRE(again);
    CHECK((*again)->sealing_key() == key);
}

TEST_CASE("a directory that others may enter, or reached through a link, is refused") {
    TempDirectory temp;
    const StoreOptions options = options_in(temp.path() + "/data");
    REQUIRE(Store::create(options));
    SUBCASE("wide directory") {
        REQUIRE(::chmod(options.directory.c_str(), 0750) == 0);
        CHECK(Store::open(options).error().code == Errc::denied);
    }
    SUBCASE("wide database") {
        REQUIRE(::chmod((options.directory + "/mail.db").c_str(), 0644) == 0);
        CHECK(Store::open(options).error().code == Errc::denied);
    }
    SUBCASE("wide key") {
        REQUIRE(::chmod((options.directory + "/seal.key").c_str(), 0640) == 0);
        CHECK(Store::open(options).error().code == Errc::denied);
    }
    SUBCASE("link to the directory") {
        const std::string link = temp.path() + "/link";
        REQUIRE(::symlink(options.directory.c_str(), link.c_str()) == 0);
        CHECK_FALSE(Store::open(options_in(link)));
    }
    SUBCASE("link to the database") {
        const std::string real = options.directory + "/mail.db";
        REQUIRE(::rename(real.c_str(), (options.directory + "/other.db").c_str()) == 0);
        REQUIRE(::symlink((options.directory + "/other.db").c_str(), real.c_str()) == 0);
        CHECK_FALSE(Store::open(options));
    }
    SUBCASE("a key of the wrong length") {
        std::ofstream(options.directory + "/seal.key") << "short";
        CHECK(Store::open(options).error().code == Errc::corrupt);
    }
}

TEST_CASE("a creation that was cut short is finished by the next one") {
    TempDirectory temp;
    const StoreOptions options = options_in(temp.path() + "/data");
    REQUIRE(Store::create(options));
    REQUIRE(::unlink((options.directory + "/mail.db").c_str()) == 0);
    std::ofstream(options.directory + "/mail.db.new") << "half";
    CHECK(Store::open(options).error().code == Errc::not_found);
    CHECK(Store::create(options));
}

TEST_CASE("a database of a later schema is refused with a sentence, one that is not ours as corrupt") {
    TempStore store;
    store.close();
    const std::string path = store.path() + "/mail.db";
    const auto set_version = [&](const char* pragma) {
        auto db = Connection::open(path, Connection::Mode::write, 1 << 20);
        REQUIRE(db);
        REQUIRE((*db)->exec_text(pragma));
    };
    set_version("PRAGMA user_version=99");
    const auto newer = Store::open(store.options());
    REQUIRE_FALSE(newer);
    CHECK(newer.error().code == Errc::unsupported);
    CHECK(newer.error().context.find("newer Posthouse") != std::string::npos);
    set_version("PRAGMA user_version=0");
    CHECK(Store::open(store.options()).error().code == Errc::corrupt);
}

TEST_CASE("the database has the settings that the promise rests on") {
    TempStore store;
    auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::write, 1 << 20);
    REQUIRE(db);
    CHECK((*db)->value("PRAGMA page_size").value() == 4096);
    CHECK((*db)->value("PRAGMA synchronous").value() == 2);
    CHECK((*db)->value("PRAGMA trusted_schema").value() == 0);
    CHECK((*db)->value("PRAGMA mmap_size").value() == 0);
    CHECK((*db)->value("PRAGMA user_version").value() == kSchemaVersion);
    CHECK_FALSE((*db)->exec("PRAGMA writable_schema=1; UPDATE sqlite_schema SET sql='' WHERE 1"));
}

TEST_CASE("bodies come back octet for octet, at once and after opening again") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    std::vector<std::string> bodies = {"",
                                       "x",
                                       std::string("\0\r\n.\xff", 5),
                                       std::string(70'000, 'a'),
                                       std::string(300'000, 'b'),
                                       std::string(kSpoolOctets, 'c'),
                                       std::string(kSpoolOctets + 1, 'd'),
                                       std::string(9'000'000, 'e')};
    bodies[7][8'999'999] = 'z';
    for (const std::string& body : bodies) REQUIRE(store.deliver(alice, body));
    for (int round = 0; round < 2; ++round) {
        CAPTURE(round);
        const auto entries = store.entries(alice, "INBOX");
        REQUIRE(entries.size() == bodies.size());
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            CHECK(entries[i].size_octets == bodies[i].size());
            CHECK((body_of(*store, alice, "INBOX", entries[i].uid) == bodies[i]));
        }
        store.reopen();
    }
}

TEST_CASE("a body can be read in pieces, and reading past its end gives what is there") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    for (const std::size_t size : {std::size_t{100}, std::size_t{200'000}}) {
        std::string text(size, '-');
        for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
        REQUIRE(store.deliver(alice, text));
        const Uid uid = store.entries(alice, "INBOX").back().uid;
        auto checked = store->read([&](const Snapshot& s) -> Result<> {
            TRY(const Mailbox box, s.mail(alice).mailbox("INBOX"));
            TRY(const BodyReader body, s.mail(alice).body(box.id, uid));
            CHECK(body.read(10, 20).value() == text.substr(10, 20));
            CHECK(body.read(size - 5, 50).value() == text.substr(size - 5));
            CHECK(body.read(size, 1).value().empty());
            return {};
        });
        CHECK(checked);
    }
}

TEST_CASE("a large body that is not committed leaves nothing behind") {
    TempStore store;
    {
        const StagedBodyPtr body = store.stage(std::string(kSpoolOctets + 10, 'x'));
        CHECK_FALSE(std::filesystem::is_empty(store.path() + "/tmp"));
        CHECK(body->view().size() == kSpoolOctets + 10);
    }
    CHECK(std::filesystem::is_empty(store.path() + "/tmp"));
    auto writer = store->stage();
    REQUIRE(writer->append(std::string(kSpoolOctets + 10, 'x')));
    writer.reset();
    CHECK(std::filesystem::is_empty(store.path() + "/tmp"));
}

TEST_CASE("DATA/tmp is emptied by the first process and left alone by the second") {
    TempStore store;
    const std::string leftover = store.path() + "/tmp/left";
    std::ofstream(leftover) << "x";
    auto second = store.open_another();
    CHECK(std::filesystem::exists(leftover));
    second.reset();
    store.reopen();
    CHECK_FALSE(std::filesystem::exists(leftover));
}

TEST_CASE("a write that fails changes nothing, its neighbours in the batch go through (savepoints)") {
    TempStore store;
    HandQueue queue;
    std::atomic<bool> go = false;
    std::vector<Errc> failed;
    int good = 0;
    // The first write keeps the commit thread busy so that the others fall into one batch.
    const auto count = [&](Result<> done) { done ? void(++good) : failed.push_back(done.error().code); };
    store->submit(
        {},
        [&](Tx&) -> Result<> {
            while (!go) std::this_thread::yield();
            return {};
        },
        queue, count);
    for (int i = 0; i < 9; ++i) {
        store->submit(
            {},
            [i](Tx& tx) -> Result<> {
                TRY_VOID(tx.catalog().set_setting("key" + std::to_string(i), "v"));
                if (i % 3 == 1) return Error(Errc::conflict, "no");
                if (i % 3 == 2) throw std::runtime_error("a bug");
                return {};
            },
            queue, count);
    }
    go = true;
    while (good + static_cast<int>(failed.size()) < 10) queue.run(1);
    CHECK(good == 4);
    CHECK(failed.size() == 6);
    CHECK(queue.batches <= 4);
    for (int i = 0; i < 9; ++i) {
        const auto value =
            store->read([i](const Snapshot& s) { return s.catalog().setting("key" + std::to_string(i)); });
        REQUIRE(value);
        CHECK(value->has_value() == (i % 3 == 0));
    }
    CHECK(store->health() == Health::good);
    CHECK(store->statistics().writes_failed == 6);
}

TEST_CASE("a snapshot is one picture: what is committed meanwhile does not show in it") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    auto seen = store->read([&](const Snapshot& s) -> Result<std::size_t> {
        std::thread other([&] { static_cast<void>(store.deliver(alice, "later")); });
        other.join();
        TRY(const Mailbox box, s.mail(alice).mailbox("INBOX"));
        return static_cast<std::size_t>(box.messages);
    });
    CHECK(seen.value() == 0);
    CHECK(store.mailbox(alice, "INBOX").messages == 1);
}

TEST_CASE("reads wait for a free connection when all are taken") {
    TempStore store([](StoreOptions& options) { options.readers_max = 2; });
    std::vector<std::thread> threads;
    std::atomic<int> done = 0;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 50; ++n) {
                if (store->read([](const Snapshot& s) { return s.catalog().domains(); })) ++done;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(done == 400);
}

TEST_CASE("two processes write the same store: no message, UID or MODSEQ is lost or given twice") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    auto second = store.open_another();
    std::atomic<int> good = 0;
    const auto work = [&](Store& mine) {
        for (int i = 0; i < 40; ++i) {
            if (TempStore::deliver_in(mine, alice, "body " + std::to_string(i))) ++good;
        }
    };
    std::thread one([&] { work(*store); });
    std::thread two([&] { work(*second); });
    one.join();
    two.join();
    CHECK(good == 80);
    const auto entries = store.entries(alice, "INBOX");
    REQUIRE(entries.size() == 80);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        CHECK(entries[i].uid == i + 1);
        if (i > 0) CHECK(entries[i].modseq > entries[i - 1].modseq);
        CHECK(body_of(*second, alice, "INBOX", entries[i].uid).starts_with("body "));
    }
    // Each appended to a segment of its own.
    CHECK(std::filesystem::exists(store.path() + "/segments/000001.seg"));
    CHECK(std::filesystem::exists(store.path() + "/segments/000002.seg"));
}

TEST_CASE("another process's write is noticed") {
    TempStore store([](StoreOptions& options) { options.watch_other_processes = true; });
    std::mutex mutex;
    std::condition_variable told;
    bool external = false;
    store->subscribe([&](const CommitNotice& notice) {
        const std::lock_guard lock(mutex);
        external = external || notice.external;
        told.notify_all();
    });
    StoreOptions other = store.options();
    other.watch_other_processes = false;  // as a command does
    auto opened = Store::open(other);
    REQUIRE(opened);
    Store* const second = opened->get();
    REQUIRE(second->write({}, [](Tx& tx) { return tx.catalog().set_setting("a", "b"); }));
    std::unique_lock lock(mutex);
    CHECK(told.wait_for(lock, std::chrono::seconds(20), [&] { return external; }));
    lock.unlock();
    // Many in a row: it rings, where a look a second would take half a minute.
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < 30; ++i) {
        lock.lock();
        external = false;
        lock.unlock();
        REQUIRE(second->write({}, [&](Tx& tx) { return tx.catalog().set_setting("a", std::to_string(i)); }));
        lock.lock();
        REQUIRE(told.wait_for(lock, std::chrono::seconds(20), [&] { return external; }));
        lock.unlock();
    }
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10));
}

TEST_CASE("notices name the mailboxes of successful writes only, after they are durable") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    std::mutex mutex;
    std::vector<CommitNotice> notices;
    store->subscribe([&](const CommitNotice& notice) {
        const std::lock_guard lock(mutex);
        notices.push_back(notice);
    });
    REQUIRE(store.deliver(alice, "one"));
    CHECK_FALSE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.mail(alice).create("New", SpecialUse::none));
        return Error(Errc::conflict, "no");
    }));
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("a", "b"); }));
    store.close();  // the commit thread has ended: every notice is there
    REQUIRE(notices.size() == 2);
    REQUIRE(notices[0].mailboxes.size() == 1);
    CHECK(notices[0].mailboxes[0].account == alice);
    CHECK(notices[0].mailboxes[0].modseq > 0);
    CHECK_FALSE(notices[0].catalog);
    CHECK(notices[1].catalog);
    CHECK(notices[1].mailboxes.empty());
}

TEST_CASE("what was acknowledged is there when the files are taken as a crash would leave them") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    for (int i = 0; i < 20; ++i) REQUIRE(store.deliver(alice, "body " + std::to_string(i)));
    REQUIRE(store.deliver(alice, std::string(kSpoolOctets + 1, 'L')));
    TempDirectory copy;
    std::filesystem::copy(store.path(), copy.path() + "/data", std::filesystem::copy_options::recursive);
    std::filesystem::permissions(copy.path() + "/data", std::filesystem::perms::owner_all);
    auto opened = Store::open(options_in(copy.path() + "/data"));
    REQUIRE(opened);
    for (Uid uid = 1; uid <= 20; ++uid) {
        CHECK(body_of(**opened, alice, "INBOX", uid) == "body " + std::to_string(uid - 1));
    }
    CHECK(body_of(**opened, alice, "INBOX", 21).size() == kSpoolOctets + 1);
    REQUIRE(TempStore::deliver_in(**opened, alice, "after"));
    CHECK(body_of(**opened, alice, "INBOX", 22) == "after");
}

TEST_CASE("a message that everybody gets in octets of his own does not stay behind without a reader") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    auto own = std::make_shared<OwnOctets>();
    own->body = store.stage("for alice alone");
    own->facts = test::plain_facts("for alice alone");
    const StagedBodyPtr body = store.stage("for the list");
    REQUIRE(store->write({body, own->body}, [&](Tx& tx) -> Result<> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts = test::plain_facts("for the list");
        delivery.sender = "bob@b.example";
        LocalCopy copy;
        copy.account = alice;
        copy.recipient = "list@a.example";
        copy.own = own;
        delivery.local.push_back(copy);
        TRY_VOID(tx.deliver(delivery));
        return {};
    }));
    CHECK(body_of(*store, alice, "INBOX", store.entries(alice, "INBOX").front().uid) == "for alice alone");
    auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
    REQUIRE(db);
    CHECK((*db)->value("SELECT count(*) FROM messages").value() == 1);
    CHECK((*db)->value("SELECT sum(dead_octets) FROM segments").value() > 0);
}
