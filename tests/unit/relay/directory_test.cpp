// A receiver whose directory is out of order: mail to who took some before waits for its end instead of coming back.
#include <fmt/format.h>

#include "storage/incidents.h"
#include "storage/queue_text.h"
#include "storage/report.h"
#include "storage/suppression.h"
#include "storage/takers.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using storage::IncidentKind;
using storage::IncidentTx;
using storage::IncidentView;
using storage::RecipientState;
using storage::WaitCause;

constexpr std::string_view kUnknown = "550 5.1.1 User unknown in virtual mailbox table";
constexpr int kUsers = 20;

struct DirectoryHouse : House {
    static std::string user(int i) { return fmt::format("user{}@b.example", i); }
    // All of them took a letter two days ago; now the site knows nobody.
    DirectoryHouse() {
        std::vector<std::string> all;
        for (int i = 0; i < kUsers; ++i) all.push_back(user(i));
        submit(all);
        settle();
        clock.advance(hours(48));
        remote.always("RCPT", std::string(kUnknown));
    }
    // One letter each, over some minutes.
    std::vector<storage::QueueId> write_to_all() {
        std::vector<storage::QueueId> out;
        for (int i = 0; i < kUsers; ++i) {
            out.push_back(submit({user(i)}));
            settle();
            clock.advance(std::chrono::seconds(10));
        }
        return out;
    }
    std::vector<storage::QueueRecipient> rows(storage::QueueId id) {
        return store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value();
    }
    std::string why(storage::QueueId id) {
        return store
            ->read([&](const storage::Snapshot& s) -> Result<std::string> {
                TRY(const auto lanes, storage::read_lanes(s));
                TRY(const auto all, s.queue().recipients(id));
                return storage::waiting_because(all.front(), lanes);
            })
            .value();
    }
    std::vector<storage::Incident> incidents() {
        return store->read([](const storage::Snapshot& s) { return IncidentView(s).list(true, 9); }).value();
    }
    std::size_t inbox_with(std::string_view text) {
        std::size_t count = 0;
        for (const std::string& mail : inbox()) count += mail.contains(text) ? 1 : 0;
        return count;
    }
    std::size_t of_all(const std::vector<storage::QueueId>& ids, EventKind kind) {
        std::size_t count = 0;
        for (const storage::QueueId id : ids) count += events(id, kind);
        return count;
    }
    void wait(minutes span) {
        for (auto gone = minutes(0); gone < span; gone += minutes(20)) settle_after(minutes(20));
    }
};

}  // namespace

TEST_CASE("a directory out of order: who took mail before waits and gets it; strangers come back; told once") {
    DirectoryHouse house;
    const auto ids = house.write_to_all();
    // Until it was seen nobody could know: the first seven came back.
    CHECK(house.of_all(ids, EventKind::bounced) == 7);
    REQUIRE(house.waiting() == kUsers - 7);
    const auto row = house.rows(ids.back()).front();
    CHECK(row.state == RecipientState::waiting);
    CHECK(row.cause == WaitCause::directory);
    CHECK(row.last_reply == kUnknown);
    CHECK(row.next_attempt > house.clock.now());
    REQUIRE(house.incidents().size() == 1);
    CHECK(house.incidents().front().key.kind == IncidentKind::directory);
    CHECK(house.why(ids.back()).contains("directory is probably out of order (incident 1)"));
    const auto stranger = house.submit({"nobody@b.example"});
    house.settle();
    CHECK(house.events(stranger, EventKind::bounced) == 1);

    // Few try again within an hour, and it goes on for a day.
    house.wait(hours(24));
    CHECK(house.of_all(ids, EventKind::bounced) == 7);
    CHECK(house.waiting() == kUsers - 7);
    CHECK(house.inbox_with("Action: delayed") == kUsers - 7);  // once each
    CHECK(house.inbox_with("Subject: Incident 1: ") == 1);
    const auto rebuilt = storage::report_rebuild(*house.store);
    CHECK(rebuilt->differed == 0);
    CHECK(rebuilt->queue_differs == 0);

    house.remote.always("RCPT", "250 2.1.5 ok");
    house.wait(hours(5));
    CHECK(house.of_all(ids, EventKind::delivered) == kUsers - 7);
    CHECK(house.waiting() == 0);
    house.wait(hours(7));
    REQUIRE(house.incidents().size() == 1);
    CHECK_FALSE(house.incidents().front().open);
}

TEST_CASE("a directory that does not come back: after three days it is believed, and nobody waits for it any more") {
    DirectoryHouse house;
    const auto ids = house.write_to_all();
    CHECK(house.inbox_with("Action: failed") == 7);
    house.wait(storage::kOutageMost - hours(1));
    CHECK(house.waiting() == kUsers - 7);
    house.wait(hours(6));
    CHECK(house.waiting() == 0);
    CHECK(house.of_all(ids, EventKind::bounced) == kUsers);
    CHECK(house.of_all(ids, EventKind::expired) == 0);
    CHECK(house.inbox_with("Action: failed") == kUsers);
    CHECK(house.inbox_with(std::string(kUnknown)) >= kUsers);
    // Nor does what is written now, to any of them.
    const auto late = house.write_to_all();
    CHECK(house.of_all(late, EventKind::bounced) == kUsers);
    house.wait(hours(13));
    REQUIRE(house.incidents().size() == 1);
    CHECK_FALSE(house.incidents().front().open);
    CHECK(house.store->read([&](const storage::Snapshot& s) {
                          storage::SuppressionView::Wanted wanted;
                          wanted.now = house.clock.now();
                          return storage::SuppressionView(s).list(wanted);
                      })
              .value()
              .empty());
}

TEST_CASE("a directory that does not come back: nor is it waited for where what it says is no evidence") {
    DirectoryHouse house;
    const auto ids = house.write_to_all();
    house.wait(storage::kOutageMost - minutes(20));
    house.remote.always("RCPT", "250 2.1.5 ok");
    house.remote.always(".", std::string(kUnknown));  // behind the message: a filter may have said it
    house.wait(minutes(20));
    REQUIRE(house.incidents().front().open);
    house.wait(hours(5));  // who was tried just before is tried again within four and a half hours
    CHECK(house.waiting() == 0);
    CHECK(house.of_all(ids, EventKind::bounced) == kUsers);
}

TEST_CASE("a directory out of order: \"fixed\" tries all that waits; where it goes on the incident is open again") {
    DirectoryHouse house;
    const auto ids = house.write_to_all();
    const std::size_t asked = house.remote.count("RCPT");
    const auto fixed = [&] {
        return house.store->write_value({}, [](storage::Tx& tx) {
            return IncidentTx(tx).mended(storage::IncidentId{1}, "somebody says that it is mended");
        });
    };
    CHECK(fixed()->released == kUsers - 7);
    house.settle();
    CHECK(house.remote.count("RCPT") == asked + kUsers - 7);
    CHECK(house.waiting() == kUsers - 7);
    REQUIRE(house.incidents().size() == 1);
    CHECK(house.incidents().front().open);

    house.remote.always("RCPT", "250 2.1.5 ok");
    CHECK(fixed()->released == kUsers - 7);
    house.settle();
    CHECK(house.of_all(ids, EventKind::delivered) == kUsers - 7);
    CHECK_FALSE(house.incidents().front().open);
}

TEST_CASE("a directory out of order, seen by one message to many: nobody of it comes back but who is a stranger") {
    DirectoryHouse house;
    std::vector<std::string> all{"nobody@b.example"};
    for (int i = 0; i < kUsers; ++i) all.push_back(DirectoryHouse::user(i));
    const auto id = house.submit(all);
    house.settle();
    CHECK(house.events(id, EventKind::bounced) == 1);
    REQUIRE(house.inbox().size() >= 1);
    CHECK(house.inbox_with("nobody@b.example") == 1);
    CHECK(house.inbox_with("user3@b.example") == 0);
    CHECK(house.waiting() == kUsers);
}

TEST_CASE("a few who really left do not keep a directory out of order") {
    DirectoryHouse house;
    const auto ids = house.write_to_all();
    house.remote.always("RCPT", "250 2.1.5 ok");
    for (const int gone : {9, 10, 11, 12}) {
        house.remote.always(fmt::format("RCPT TO:<user{}@", gone), std::string(kUnknown));
    }
    house.wait(hours(24));
    CHECK(house.of_all(ids, EventKind::delivered) == kUsers - 7 - 4);
    CHECK(house.of_all(ids, EventKind::bounced) == 7 + 4);
    CHECK(house.waiting() == 0);
    CHECK_FALSE(house.incidents().front().open);
}

TEST_CASE("what is held by hand while it waits for a directory is let go by hand alone") {
    DirectoryHouse house;
    const auto ids = house.write_to_all();
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.queue().hold(ids.back()); }));
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(IncidentTx(tx).mended(storage::IncidentId{1}, "fixed"));
        return {};
    }));
    house.wait(hours(1));
    CHECK(house.rows(ids.back()).front().state == RecipientState::held);
}

}  // namespace posthouse::relay
