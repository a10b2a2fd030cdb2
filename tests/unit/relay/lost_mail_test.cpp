// What nobody else would hear of: a report that cannot be made does not keep its outcome waiting, and the postmaster is
// told once a day of what was lost.
#include "relay/lost_mail.h"

#include <algorithm>

#include "storage/context.h"
#include "storage/lost_mail.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;

std::vector<storage::LostMail> lost(House& house) {
    return house.store
        ->read([&](const storage::Snapshot& s) {
            return storage::LostMailView(s).before(house.clock.now() + hours(1), 100);
        })
        .value();
}

std::size_t notices(House& house) {
    const auto mails = house.inbox();
    return static_cast<std::size_t>(std::ranges::count_if(
        mails, [](const std::string& one) { return one.contains("that nobody would hear of\r\n"); }));
}

void settle_days(House& house, int days) {
    for (int i = 0; i < days * 4; ++i) house.settle_after(hours(6));
}

}  // namespace

TEST_CASE("a report of ours that reaches nobody is told to the postmaster, once, the day after") {
    House house;
    house.remote.always("RCPT", "550 5.1.1 No such user");
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_alias("postmaster@home.example", {"alice@home.example"}));
        return {};
    }));
    // Mail of somebody elsewhere fails here: the report to him is refused too.
    const auto first = house.submit({"nobody@b.example"}, "stranger@b.example");
    house.settle();
    house.settle();
    CHECK(house.events(first, EventKind::bounced) == 1);
    REQUIRE(lost(house).size() == 1);
    CHECK(lost(house).front().recipient == "stranger@b.example");
    CHECK(lost(house).front().what.starts_with("delivery report about q"));
    CHECK(lost(house).front().reply.contains("550 5.1.1 No such user"));
    CHECK(notices(house) == 0);
    settle_days(house, 2);
    CHECK(notices(house) == 1);
    CHECK(lost(house).empty());
    const std::string mail = house.inbox().back();
    CHECK(mail.contains("stranger@b.example"));
    CHECK(mail.contains("550 5.1.1 No such user"));
    settle_days(house, 2);
    CHECK(notices(house) == 1);
}

TEST_CASE("a user's own mail without a sender is his business; the notice itself makes no notices") {
    House house;
    house.remote.always("RCPT", "550 5.1.1 No such user");
    house.submit({"bob@b.example"}, "", 0, house.alice);
    house.settle();
    CHECK(lost(house).empty());
    // The postmaster is elsewhere, and nobody there.
    REQUIRE(house.store->write(
        {}, [](storage::Tx& tx) { return tx.catalog().set_setting("alarm.address", "gone@b.example"); }));
    house.submit({"nobody@b.example"}, "stranger@b.example");
    house.settle();
    CHECK(lost(house).size() == 1);
    settle_days(house, 3);
    CHECK(lost(house).empty());
}

TEST_CASE("a notice to an address that is not ASCII goes as what it is (RFC 6531 3.4)") {
    House house;
    house.remote.keywords = {"8BITMIME", "SMTPUTF8"};
    house.remote.once("RCPT", "550 5.1.1 No such user");
    house.remote.once("RCPT", "550 5.1.1 No such user");
    REQUIRE(house.store->write(
        {}, [](storage::Tx& tx) { return tx.catalog().set_setting("alarm.address", "m\u00fcller@b.example"); }));
    house.submit({"nobody@b.example"}, "stranger@b.example");
    house.settle();
    house.settle();
    REQUIRE(lost(house).size() == 1);
    settle_days(house, 2);
    CHECK(house.remote.count("RCPT TO:<m\u00fcller@b.example>") == 1);
    CHECK(house.remote.messages.size() == 1);
    const auto declares = [](const std::string& line) { return line.contains(" SMTPUTF8"); };
    CHECK(std::ranges::count_if(house.remote.lines, declares) == 1);
}

TEST_CASE("a mailbox that never takes a report of that size: the outcome is settled, and the postmaster is told") {
    House house;
    const auto tiny = house.store.add_account("tiny@home.example");
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_quota(tiny, 100, 0); }));
    house.remote.always("RCPT", "550 5.7.1 We take nothing of this kind");
    const auto queue = house.submit({"bob@b.example"}, "tiny@home.example");
    house.settle();
    CHECK(house.events(queue, EventKind::bounced) == 1);
    CHECK(house.waiting() == 0);
    REQUIRE(lost(house).size() == 1);
    CHECK(lost(house).front().recipient == "tiny@home.example");
    CHECK(lost(house).front().what.contains("could not be made"));
}

TEST_CASE("a report that fails again and again, whatever the reason: after some tries it goes without") {
    House house([](RelayOptions& options) { options.write_again = Milliseconds(1); });
    // Nothing can be put into a mailbox; the queue can be written.
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::Connection& db = storage::context_of(tx).db;
        sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, nullptr);
        return db.exec("CREATE TRIGGER broken BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'broken'); END");
    }));
    house.remote.always("RCPT", "550 5.7.1 We take nothing of this kind");
    const auto queue = house.submit({"bob@b.example"});
    house.settle();
    CHECK(house.events(queue, EventKind::bounced) == 1);
    CHECK(house.waiting() == 0);
    CHECK(house.inbox().empty());
    REQUIRE(lost(house).size() == 1);
    CHECK(lost(house).front().reply.contains("broken"));
}

}  // namespace posthouse::relay
