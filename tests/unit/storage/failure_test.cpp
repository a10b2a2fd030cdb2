// What happens when the disk says no: nobody is told of a success that is none, and the store comes back by itself.
#include <cerrno>
#include <latch>
#include <mutex>
#include <string>
#include <vector>

#include "storage/fail_point.h"
#include "storage/sqlite.h"
#include "tests/support/hand_queue.h"
#include "tests/support/temp_store.h"

#ifdef POSTHOUSE_FAIL_POINTS

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::HandQueue;
using posthouse::test::TempStore;

namespace {

/// Disarmed on every way out, a failed REQUIRE included.
struct Disarm {
    ~Disarm() { fail_point::disarm(); }
};

Errc deliver_code(TempStore& store, AccountId account) {
    const auto done = store.deliver(account, "0123456789");
    return done ? Errc::internal : done.error().code;
}

void check_whole(TempStore& store, AccountId account, std::size_t messages) {
    const auto entries = store.entries(account, "INBOX");
    REQUIRE(entries.size() == messages);
    for (const Entry& entry : entries) {
        const auto text = store->read([&](const Snapshot& s) -> Result<std::string> {
            TRY(const Mailbox box, s.mail(account).mailbox("INBOX"));
            TRY(const BodyReader body, s.mail(account).body(box.id, entry.uid));
            return body.read_all();
        });
        CHECK(text.value() == "0123456789");
    }
    auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
    REQUIRE(db);
    Query check = (*db)->query("PRAGMA integrity_check");
    REQUIRE(check.row());
    CHECK(check.text(0) == "ok");
}

}  // namespace

TEST_CASE("a write, sync or commit that fails once is told to the waiter; the store verifies itself and goes on") {
    const Disarm disarm;
    for (const char* place : {"write", "sync", "commit"}) {
        CAPTURE(place);
        TempStore store;
        const AccountId alice = store.add_account("alice@a.example");
        REQUIRE(store.deliver(alice, "0123456789"));
        fail_point::arm_errno(place, EIO, 1, 1);
        CHECK(deliver_code(store, alice) == Errc::io);
        CHECK(store->health() == Health::suspect);
        CHECK(deliver_code(store, alice) == Errc::internal);
        CHECK(store->health() == Health::good);
        fail_point::disarm();
        check_whole(store, alice, 2);
        // The segment that failed is not written again.
        CHECK(std::filesystem::exists(store.path() + "/segments/000002.seg"));
        store.reopen();
        REQUIRE(store.deliver(alice, "0123456789"));
        check_whole(store, alice, 3);
    }
}

TEST_CASE("when it keeps failing the store is failed for good, and reading goes on") {
    const Disarm disarm;
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "0123456789"));
    fail_point::arm_errno("sync", EIO, 1, 1'000'000);
    for (int i = 0; i < 3; ++i) CHECK(deliver_code(store, alice) == Errc::io);
    CHECK(store->health() == Health::failed);
    fail_point::disarm();
    CHECK(deliver_code(store, alice) == Errc::io);
    CHECK(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("a", "b"); }).error().code == Errc::io);
    check_whole(store, alice, 1);
    store.reopen();
    CHECK(store->health() == Health::good);
    REQUIRE(store.deliver(alice, "0123456789"));
    check_whole(store, alice, 2);
}

TEST_CASE("commits that need no octets on the disk do not hide that those with octets keep failing") {
    const Disarm disarm;
    TempStore store;
    HandQueue queue;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "0123456789"));
    int count = 0;
    const auto put = [&](Tx& tx) { return tx.catalog().set_setting("a", std::to_string(++count)); };
    fail_point::arm_errno("sync", EIO, 1, 1'000'000);
    for (int i = 0; i < 3; ++i) {
        CHECK(store->health() == Health::good);
        CHECK(deliver_code(store, alice) == Errc::io);
        if (i == 2) break;
        std::optional<Result<>> ordered;
        store->submit_ordered(put, queue, [&](Result<> done) { ordered.emplace(std::move(done)); });
        while (!ordered) queue.run(1);
        CHECK(*ordered);
        CHECK(store->write({}, put));
    }
    CHECK(store->health() == Health::failed);
}

TEST_CASE("ids for messages are taken with a sync, whatever the commit before did without") {
    const Disarm disarm;
    TempStore store;
    HandQueue queue;
    const AccountId alice = store.add_account("alice@a.example");
    std::optional<Result<>> ordered;
    store->submit_ordered([](Tx& tx) { return tx.catalog().set_setting("a", "b"); }, queue,
                          [&](Result<> done) { ordered.emplace(std::move(done)); });
    while (!ordered) queue.run(1);
    CHECK(*ordered);
    fail_point::arm_errno("db-sync", EIO, 2, 1);  // the first is that of the ids, the second that of the message
    CHECK(deliver_code(store, alice) == Errc::io);
}

// Store::submit_ordered: the promise needs no sync for it, but what comes after is as sure as ever.
TEST_CASE("an ordered write waits for no disk, two in a row are synced, and a durable one syncs what was before it") {
    const Disarm disarm;
    TempStore store;
    HandQueue queue;
    int count = 0;  // a row that stays the same is not written
    const auto put = [&](Tx& tx) { return tx.catalog().set_setting("a", std::to_string(++count)); };
    const auto ordered = [&] {
        std::optional<Result<>> out;
        store->submit_ordered(put, queue, [&](Result<> done) { out.emplace(std::move(done)); });
        while (!out) queue.run(1);
        return out->has_value();
    };
    const auto durable = [&] { return store->write({}, put).has_value(); };
    REQUIRE(durable());
    // Every sync of the database's files fails from here on.
    fail_point::arm_errno("db-sync", EIO, 1, 1'000'000);
    CHECK(ordered());
    CHECK(store->health() == Health::good);
    CHECK(store->read([](const Snapshot& s) { return s.catalog().setting("a"); }).value() == "2");
    SUBCASE("a second one") { CHECK_FALSE(ordered()); }
    SUBCASE("a durable one") { CHECK_FALSE(durable()); }
    CHECK(store->health() == Health::suspect);
    fail_point::disarm();
    CHECK(durable());
    CHECK(ordered());
    CHECK(store->health() == Health::good);
}

TEST_CASE("ordered writes overtake durable ones that wait, and those come with the next commit all the same") {
    TempStore store;
    HandQueue queue;
    std::latch begun(1);
    std::latch all_submitted(1);
    std::mutex mutex;
    std::vector<std::string> order;
    std::vector<std::uint64_t> commits_before;
    const auto note = [&](const std::string& what) {
        return [&, what](Tx&) -> Result<> {
            const std::lock_guard lock(mutex);
            order.push_back(what);
            commits_before.push_back(store->statistics().commits);
            return {};
        };
    };
    std::size_t answered = 0;
    const auto count = [&](Result<> done) {
        CHECK(done);
        ++answered;
    };
    const auto first = [&](Tx&) -> Result<> {
        begun.count_down();
        all_submitted.wait();
        return {};
    };
    store->submit({}, first, queue, count);
    begun.wait();  // the commit thread is at work: what comes now waits
    store->submit({}, note("durable 1"), queue, count);
    store->submit({}, note("durable 2"), queue, count);
    store->submit_ordered(
        [&](Tx& tx) {
            store->submit_ordered(note("ordered 3"), queue, count);  // they may never end
            return note("ordered 1")(tx);
        },
        queue, count);
    store->submit_ordered(note("ordered 2"), queue, count);
    all_submitted.count_down();
    while (answered < 6) queue.run(1);
    CHECK(order == std::vector<std::string>{"ordered 1", "ordered 2", "durable 1", "durable 2", "ordered 3"});
    CHECK(commits_before[1] == commits_before[0]);      // one commit for both
    CHECK(commits_before[2] == commits_before[0] + 1);  // and the next is everybody's
    CHECK(commits_before[4] == commits_before[0] + 1);
}

TEST_CASE("a full disk refuses what adds, is no damage, and ends by itself") {
    const Disarm disarm;
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    for (const char* place : {"write", "sync", "commit"}) {
        CAPTURE(place);
        fail_point::arm_errno(place, ENOSPC, 1, 1);
        CHECK(deliver_code(store, alice) == Errc::no_space);
        CHECK(store->health() == Health::low_disk);
        CHECK(deliver_code(store, alice) == Errc::internal);
        CHECK(store->health() == Health::good);
        fail_point::disarm();
    }
    check_whole(store, alice, 3);
}

TEST_CASE("a full disk under the bodies does not stop a write without one") {
    TempStore store([](StoreOptions& options) { options.free_octets_min = 1ULL << 60U; });
    const AccountId alice = store.add_account("alice@a.example");
    CHECK(deliver_code(store, alice) == Errc::no_space);
    CHECK(store->health() == Health::low_disk);
    CHECK(store->check_room(0).error().code == Errc::no_space);
    CHECK(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("a", "b"); }));
    auto writer = store->stage();
    CHECK(writer->append(std::string(kSpoolOctets + 1, 'x')).error().code == Errc::no_space);
}

TEST_CASE("every N-th operation failing: no false success, nothing broken") {
    const Disarm disarm;
    for (const char* place : {"write", "sync", "commit"}) {
        for (int nth = 1; nth <= 6; ++nth) {
            CAPTURE(place);
            CAPTURE(nth);
            TempStore store([](StoreOptions& options) { options.segment_octets_max = 100; });
            const AccountId alice = store.add_account("alice@a.example");
            fail_point::arm_errno(place, EIO, nth, 1);
            std::size_t good = 0;
            for (int i = 0; i < 8; ++i) good += deliver_code(store, alice) == Errc::internal ? 1U : 0U;
            fail_point::disarm();
            check_whole(store, alice, good);
            CHECK(good >= 7);
        }
    }
}

#endif
