// What a long queue costs, counted in steps of the database: they are the same on every machine.
#include "storage/context.h"
#include "storage/incidents.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

constexpr std::size_t kFew = 50;
constexpr std::size_t kMany = 1'000;

/// So far, of all statements that are kept for use again.
std::int64_t steps_of(const Connection& db) {
    std::int64_t sum = 0;
    for (sqlite3_stmt* one = sqlite3_next_stmt(db.handle(), nullptr); one != nullptr;
         one = sqlite3_next_stmt(db.handle(), one)) {
        sum += sqlite3_stmt_status(one, SQLITE_STMTSTATUS_VM_STEP, 0);
    }
    return sum;
}

/// One message to so many.
std::vector<QueueRecipient> add(test::TempStore& store, std::size_t count) {
    const StagedBodyPtr body = store.stage("queued body");
    const auto accepted = store->write_value({body}, [&](Tx& tx) -> Result<Accepted> {
        Delivery delivery;
        delivery.body = body;
        delivery.facts = test::plain_facts("queued body");
        delivery.sender = "alice@a.example";
        delivery.outgoing.emplace();
        delivery.outgoing->reverse_path = "alice@a.example";
        for (std::size_t i = 0; i < count; ++i) {
            NewRecipient recipient;
            recipient.address = "r" + std::to_string(i) + "@b.example";
            delivery.outgoing->recipients.push_back(recipient);
        }
        return tx.deliver(delivery);
    });
    REQUIRE(accepted);
    return store->read([&](const Snapshot& s) { return s.queue().recipients(*accepted->queue); }).value();
}

std::int64_t steps_of_an_outcome(std::size_t done_before) {
    test::TempStore store;
    const auto all = add(store, done_before + 3);
    const RecipientId next = all[done_before].id;
    REQUIRE(store->write({}, [&](Tx& tx) {
        return context_of(tx).db.query("UPDATE queue_recipients SET state = 2 WHERE id < ?1").bind(next).run();
    }));
    std::int64_t before = 0;
    REQUIRE(store->write({}, [&](Tx& tx) {
        before = steps_of(context_of(tx).db);
        Outcome outcome;
        outcome.state = RecipientState::delivered;
        return tx.queue().finish(next, outcome);
    }));
    std::int64_t after = 0;
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        after = steps_of(context_of(tx).db);
        return {};
    }));
    return after - before;
}

struct Looks {
    std::int64_t overdue = 0;
    std::int64_t untold = 0;
    std::int64_t stranded = 0;
    bool operator==(const Looks&) const = default;
};

// Two are held, one of them under an incident that is over.
Looks steps_of_looks(std::size_t waiting) {
    test::TempStore store;
    add(store, waiting);
    const auto held = add(store, 2);
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        IncidentKey key;
        key.kind = IncidentKind::ip_blocked;
        Refusal refusal;
        for (const QueueRecipient& one : held) {
            key.way = one.address;
            TRY(const Incident incident, IncidentTx(tx).note(key, refusal));
            const std::vector<RecipientId> ids{one.id};
            TRY_VOID(IncidentTx(tx).hold(ids, incident));
        }
        return context_of(tx).db.query("UPDATE incidents SET state = 1 WHERE way = ?1").bind(key.way).run();
    }));
    return store
        ->read([&](const Snapshot& s) -> Result<Looks> {
            const Connection& db = context_of(s).db;
            const Time later = system_clock().now() + std::chrono::hours(1);
            const std::int64_t begin = steps_of(db);
            TRY(const auto overdue, IncidentView(s).overdue(later, 100));
            const std::int64_t second = steps_of(db);
            TRY(const auto untold, IncidentView(s).untold(later, 100));
            const std::int64_t third = steps_of(db);
            TRY(const auto stranded, IncidentView(s).stranded(100));
            CHECK(overdue == std::vector{held[0].id, held[1].id});
            CHECK(untold == overdue);
            CHECK(stranded == std::vector{held[1].id});
            return Looks{second - begin, third - second, steps_of(db) - third};
        })
        .value();
}

}  // namespace

TEST_CASE("an outcome reads as much behind a thousand others of its message as behind a few") {
    CHECK(steps_of_an_outcome(kMany) == steps_of_an_outcome(kFew));
}

TEST_CASE("a look at what is held reads as much beside a thousand that wait as beside a few") {
    const Looks few = steps_of_looks(kFew);
    const Looks many = steps_of_looks(kMany);
    CHECK(few.overdue > 0);
    CHECK(many.overdue == few.overdue);
    CHECK(many.untold == few.untold);
    CHECK(many.stranded == few.stranded);
}
