#include "storage/checkpointer.h"

#include <filesystem>
#include <thread>

#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

Result<> outcome_of(Checkpointer& checkpointer) {
    for (;;) {
        if (auto outcome = checkpointer.take()) return *std::move(outcome);
        std::this_thread::yield();
    }
}

}  // namespace

TEST_CASE("a checkpoint beside the commit thread puts what was committed into mail.db itself") {
    test::TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "Subject: x\r\n\r\nhello\r\n"));
    Checkpointer checkpointer(store.path() + "/mail.db");
    CHECK(!checkpointer.take());
    REQUIRE(checkpointer.ask());
    CHECK(outcome_of(checkpointer));
    // The database without its WAL.
    const std::string copy = store.path() + "/../copy.db";
    std::filesystem::copy_file(store.path() + "/mail.db", copy);
    auto db = Connection::open(copy, Connection::Mode::write, 1024 * 1024);
    REQUIRE(db);
    CHECK((*db)->value("SELECT count(*) FROM entries").value() == 1);
    CHECK(checkpointer.ask());
    CHECK(outcome_of(checkpointer));
}

TEST_CASE("a checkpoint that cannot be made is told") {
    Checkpointer checkpointer("/nonexistent/mail.db");
    REQUIRE(checkpointer.ask());
    CHECK(!outcome_of(checkpointer));
}
