#include "storage/imports.h"

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

ImportFolder folder_of(test::TempStore& store, AccountId account, std::uint64_t uid_validity) {
    ImportFolder out;
    out.account = account;
    out.source = "imap://u@old.example";
    out.name = "Sent";
    out.uid_validity = uid_validity;
    out.mailbox = store.mailbox(account, "Sent").id;
    return out;
}

ImportFolderId set(test::TempStore& store, const ImportFolder& folder) {
    const auto id = store->write_value({}, [&](Tx& tx) { return tx.imports().set_folder(folder); });
    if (!id) FAIL(id.error().context);
    return *id;
}

std::size_t known(test::TempStore& store, ImportFolderId id) {
    return store->read([&](const Snapshot& s) { return s.imports().imported(id, "", 100); }).value().size();
}

}  // namespace

TEST_CASE("an import remembers its keys over repetitions and forgets them with the UIDVALIDITY") {
    test::TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const ImportFolderId id = set(store, folder_of(store, alice, 7));
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        for (const char* key : {"1", "2", "10"}) TRY_VOID(tx.imports().remember(id, key, 5));
        return tx.imports().forget(id, "2");
    }));
    CHECK(known(store, id) == 2);
    CHECK(store->read([&](const Snapshot& s) { return s.imports().has(id, "10"); }).value());
    CHECK(!store->read([&](const Snapshot& s) { return s.imports().has(id, "2"); }).value());

    CHECK(set(store, folder_of(store, alice, 7)) == id);
    CHECK(known(store, id) == 2);
    CHECK(set(store, folder_of(store, alice, 8)) == id);
    CHECK(known(store, id) == 0);
}

TEST_CASE("the folders of one account are not another's") {
    test::TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const AccountId bob = store.add_account("bob@a.example");
    set(store, folder_of(store, alice, 7));
    const auto seen = [&](AccountId account) {
        return store
            ->read([&](const Snapshot& s) { return s.imports().folder(account, "imap://u@old.example", "Sent"); })
            .value()
            .has_value();
    };
    CHECK(seen(alice));
    CHECK(!seen(bob));
}
