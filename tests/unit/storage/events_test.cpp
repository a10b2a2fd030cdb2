// The log: what is written at delivery, and finding it again.
#include "storage/events.h"

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

std::vector<Event> by_address(TempStore& store, std::string_view address, std::size_t count_max = 100) {
    return *store->read([&](const Snapshot& s) { return s.events().by_address(address, count_max); });
}

std::vector<Event> by_message_id(TempStore& store, std::string_view id) {
    return *store->read([&](const Snapshot& s) { return s.events().by_message_id(id); });
}

}  // namespace

TEST_CASE("a delivery is received once and stored once a copy; every event knows sender and Message-ID") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const auto accepted = store.deliver(alice, "text", "INBOX", "<id.1@b.example>");
    REQUIRE(accepted);
    const auto events = store->read([&](const Snapshot& s) { return s.events().by_message(accepted->message); });
    REQUIRE(events->size() == 2);
    CHECK((*events)[0].kind == EventKind::received);
    CHECK((*events)[0].detail == "from a test");
    CHECK((*events)[1].kind == EventKind::stored);
    CHECK((*events)[1].recipient == "alice@a.example");
    for (const Event& event : *events) {
        CHECK(event.message_id == "id.1@b.example");
        CHECK(event.sender == "sender@b.example");
        CHECK(event.id > 0);
        CHECK(to_unix_ms(event.at) > 0);
    }
}

TEST_CASE("events are found by Message-ID with or without brackets, and by either address in any case") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "one", "INBOX", "<one@b.example>"));
    REQUIRE(store.deliver(alice, "two", "INBOX", "<two@b.example>"));
    CHECK(by_message_id(store, "<one@b.example>").size() == 2);
    CHECK(by_message_id(store, "one@b.example").size() == 2);
    CHECK(by_message_id(store, "none@b.example").empty());
    CHECK(by_message_id(store, "").empty());
    const auto found = by_address(store, "ALICE@a.example");
    REQUIRE(found.size() == 4);
    CHECK(found[0].message_id == "two@b.example");
    CHECK(found[0].kind == EventKind::received);
    CHECK(found[3].message_id == "one@b.example");
    CHECK(by_address(store, "sender@b.example").size() == 4);
    CHECK(by_address(store, "sender@b.example", 3).size() == 3);
    CHECK(by_address(store, "nobody@b.example").empty());
}

TEST_CASE("events about the server itself are found apart from what was refused, newest first") {
    TempStore store;
    for (const auto& [kind, detail] : {std::pair(EventKind::system, "first"), std::pair(EventKind::refused, "550 no"),
                                       std::pair(EventKind::system, "second")}) {
        REQUIRE(store->write({}, [&](Tx& tx) {
            Event event;
            event.kind = kind;
            event.detail = detail;
            return tx.events().append(event);
        }));
    }
    const auto found = store->read([](const Snapshot& s) { return s.events().about_server(10); });
    REQUIRE(found);
    REQUIRE(found->size() == 2);
    CHECK(found->at(0).detail == "second");
    CHECK(found->at(1).detail == "first");
    CHECK(store->read([](const Snapshot& s) { return s.events().about_server(1); })->size() == 1);
}

TEST_CASE("events about no stored message are kept and found one by one") {
    TempStore store;
    for (int i = 0; i < 3; ++i) {
        REQUIRE(store->write({}, [i](Tx& tx) {
            Event event;
            event.kind = EventKind::refused;
            event.message_id = "<r" + std::to_string(i) + "@x>";
            event.sender = "spam@x.example";
            event.recipient = "alice@a.example";
            event.detail = "550 no";
            return tx.events().append(event);
        }));
    }
    const auto found = by_address(store, "spam@x.example");
    REQUIRE(found.size() == 3);
    CHECK(found[0].message_id == "r2@x");
    CHECK(found[2].message_id == "r0@x");
    const auto one = by_message_id(store, "r1@x");
    REQUIRE(one.size() == 1);
    CHECK(one[0].kind == EventKind::refused);
    CHECK(one[0].detail == "550 no");
}

TEST_CASE("an appended event hangs off its message and takes sender and Message-ID from it") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const auto accepted = store.deliver(alice, "text");
    REQUIRE(store->write({}, [&](Tx& tx) {
        Event event;
        event.kind = EventKind::delayed;
        event.message = accepted->message;
        event.recipient = "later@c.example";
        event.detail = "told the sender";
        event.at = from_unix_ms(5000);
        return tx.events().append(event);
    }));
    const auto found = by_address(store, "later@c.example");
    REQUIRE(found.size() == 2);  // the message as a whole, and its own
    CHECK(found[1].kind == EventKind::delayed);
    CHECK(found[1].sender == "sender@b.example");
    CHECK(to_unix_ms(found[1].at) == 5000);
}

TEST_CASE("finding works over many buckets of keys") {
    TempStore store;
    REQUIRE(store->write({}, [](Tx& tx) -> Result<> {
        for (int i = 0; i < 10'000; ++i) {
            Event event;
            event.kind = EventKind::refused;
            event.sender = i % 5000 == 0 ? "rare@x.example" : "common@x.example";
            event.detail = std::to_string(i);
            TRY_VOID(tx.events().append(event));
        }
        return {};
    }));
    const auto rare = by_address(store, "rare@x.example");
    REQUIRE(rare.size() == 2);
    CHECK(rare[0].detail == "5000");
    CHECK(rare[1].detail == "0");
    CHECK(by_address(store, "common@x.example", 10).at(0).detail == "9999");
}

TEST_CASE("every kind has its name") {
    CHECK(to_string(EventKind::received) == "received");
    CHECK(to_string(EventKind::stored) == "stored");
    CHECK(to_string(EventKind::queued) == "queued");
    CHECK(to_string(EventKind::attempted) == "attempted");
    CHECK(to_string(EventKind::delayed) == "delayed");
    CHECK(to_string(EventKind::delivered) == "delivered");
    CHECK(to_string(EventKind::bounced) == "bounced");
    CHECK(to_string(EventKind::held) == "held");
    CHECK(to_string(EventKind::released) == "released");
    CHECK(to_string(EventKind::cancelled) == "cancelled");
    CHECK(to_string(EventKind::expired) == "expired");
    CHECK(to_string(EventKind::refused) == "refused");
    CHECK(to_string(EventKind::system) == "system");
    CHECK(to_string(EventKind::complained) == "complained");
    CHECK(to_string(EventKind::suppressed) == "suppressed");
    CHECK(to_string(EventKind::stopped) == "stopped");
    CHECK(to_string(EventKind::resumed) == "resumed");
    CHECK(to_string(EventKind::ping) == "ping");
    CHECK(to_string(EventKind::noted) == "noted");
}
