// One idempotency key over several SMTP transactions whose recipients overlap; copies of a list for people who are
// here.
#include <doctest/doctest.h>

#include <algorithm>

#include "server/delivery/suppressed.h"
#include "storage/streams.h"
#include "storage/suppression.h"
#include "tests/support/door_house.h"

using namespace posthouse;
using namespace posthouse::server;

namespace {

std::vector<std::string> recipients_of(DoorHouse& f, storage::QueueId id) {
    const auto rows = f.store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value();
    std::vector<std::string> out;
    for (const storage::QueueRecipient& row : rows) out.push_back(row.address);
    return out;
}

std::string newest(DoorHouse& f, storage::AccountId account) {
    auto text = f.store->read([&](const storage::Snapshot& s) -> Result<std::string> {
        const storage::MailView& mail = s.mail(account);
        TRY(const storage::Mailbox box, mail.mailbox("INBOX"));
        TRY(const storage::BodyReader body, mail.body(box.id, box.uid_next - 1));
        return body.read_all();
    });
    REQUIRE(text);
    return *text;
}

std::string field_of(const std::string& text, const std::string& name) {
    const std::size_t at = text.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const std::size_t from = at + name.size() + 4;
    return text.substr(from, text.find("\r\n", from) - from);
}

}  // namespace

TEST_CASE("under one key known recipients among new ones get nothing a second time; the new ones do") {
    DoorHouse f;
    REQUIRE(f.by_smtp({"a@c.example", "bob@a.example"}, "k"));
    const auto mixed = f.by_smtp({"A@c.example", "new@c.example", "bob@a.example"}, "k");
    REQUIRE(mixed);
    CHECK_FALSE(mixed->repeated);
    REQUIRE(f.queue().size() == 2);
    CHECK(recipients_of(f, f.queue().back().id) == std::vector<std::string>{"new@c.example"});
    CHECK(f.store.entries(f.bob, "INBOX").size() == 1);
    // And so is the new one from then on.
    const auto again = f.by_smtp({"new@c.example", "a@c.example"}, "k");
    REQUIRE(again);
    CHECK(again->repeated);
    const auto third = f.by_smtp({"new@c.example", "bob@a.example", "third@c.example", "alice@a.example"}, "k");
    REQUIRE(third);
    CHECK_FALSE(third->repeated);
    CHECK(recipients_of(f, f.queue().back().id) == std::vector<std::string>{"third@c.example"});
    CHECK(f.store.entries(f.bob, "INBOX").size() == 1);
    CHECK(f.store.entries(f.alice, "INBOX").size() == 1);
    CHECK(f.queue().size() == 3);
}

TEST_CASE("who is here and on a list gets a copy with his own way to unsubscribe, and none once he has") {
    DoorHouse f;
    storage::Stream news;
    news.name = "news";
    news.owner = "a.example";
    news.is_list = true;
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return storage::StreamTx(tx).add(news); }));
    REQUIRE(f.by_smtp({"alice@a.example", "bob@a.example", "x@c.example"}, "", "news"));
    const std::string alices = newest(f, f.alice);
    const std::string bobs = newest(f, f.bob);
    CHECK(field_of(alices, "List-Unsubscribe-Post") == "List-Unsubscribe=One-Click");
    CHECK(field_of(bobs, "List-Unsubscribe").starts_with("<https://mail.a.example/unsubscribe/"));
    CHECK(field_of(alices, "List-Unsubscribe") != field_of(bobs, "List-Unsubscribe"));
    CHECK(alices.ends_with("\r\n\r\nx\r\n"));
    CHECK_FALSE(f.queued_octets(f.queue().front().id).contains("List-Unsubscribe"));  // the relay puts it on each copy
    const auto entry = f.store.entries(f.bob, "INBOX").front();
    CHECK(entry.size_octets == bobs.size());
    // The token in it is his.
    const std::string value = field_of(bobs, "List-Unsubscribe");
    const std::size_t at = value.find("unsubscribe/") + 12;
    const std::string token = value.substr(at, value.find('>') - at);
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const auto who, storage::StreamTx(tx).unsubscribe(token, f.store->sealing_key(), "by hand"));
        CHECK(who->address == "bob@a.example");
        return {};
    }));
    REQUIRE(f.by_smtp({"alice@a.example", "bob@a.example"}, "", "news"));
    CHECK(f.store.entries(f.alice, "INBOX").size() == 2);
    CHECK(f.store.entries(f.bob, "INBOX").size() == 1);
    const auto refused = f.by_smtp({"bob@a.example"}, "", "news");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::refused);
    // What is no list is one message for all.
    news.is_list = false;
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return storage::StreamTx(tx).set(news); }));
    REQUIRE(f.by_smtp({"alice@a.example"}, "", "news"));
    CHECK(field_of(newest(f, f.alice), "List-Unsubscribe").empty());
}

TEST_CASE("recipients that are turned away are written down together, and none is forgotten") {
    DoorHouse f;
    storage::Suppression gone;
    gone.address = "gone@c.example";
    gone.reply = "550 5.1.1 No such user";
    const auto writes = f.store->statistics().writes;
    constexpr std::size_t kMany = 1'200;
    std::promise<void> done;
    std::unique_ptr<SuppressionNotes> notes;  // the loop's
    f.loop.post([&] {
        notes = std::make_unique<SuppressionNotes>(*f.store, f.loop);
        for (std::size_t i = 0; i < kMany; ++i) {
            notes->add("alice@a.example", "gone@c.example", gone, system_clock().now());
        }
        notes.reset();  // what is under way ends all the same
        done.set_value();
    });
    done.get_future().wait();
    const auto events = [&] {
        return f.store->read([](const storage::Snapshot& s) { return s.events().by_address("gone@c.example", 5'000); })
            .value()
            .size();
    };
    while (events() < kMany) std::this_thread::yield();
    CHECK(events() == kMany);
    CHECK(f.store->statistics().writes - writes <= 5);
}
