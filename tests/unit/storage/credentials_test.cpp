#include "storage/credentials.h"

#include "protocols/crypto/crypto.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

struct Fixture {
    test::TempStore store;
    AccountId alice;
    Fixture() : alice((static_cast<void>(crypto::init()), store.add_account("alice@a.example"))) {}

    Result<std::string> add(AccountId account, std::string_view name) {
        const auto made = make_app_password(scram_salt(store->sealing_key(), "alice@a.example"));
        const auto added = store->write_value({}, [&](Tx& tx) { return CredentialTx(tx).add(account, name, made); });
        if (!added) return Error(added.error());
        return made.secret;
    }
    std::optional<AppPassword> find(AccountId account, std::string_view secret) {
        return store->read([&](const Snapshot& s) { return CredentialView(s).find_secret(account, secret); }).value();
    }
    std::vector<ProvableKeys> keys(AccountId account) {
        return store->read([&](const Snapshot& s) { return CredentialView(s).scram_keys(account); }).value();
    }
    bool any_without_keys() {
        return store->read([&](const Snapshot& s) { return CredentialView(s).any_without_keys(); }).value();
    }
};

}  // namespace

TEST_CASE("an app password is found by its secret and account, and only its digest is kept") {
    Fixture f;
    const AccountId bob = f.store.add_account("bob@a.example");
    const auto phone = f.add(f.alice, "phone");
    REQUIRE(phone);
    CHECK(phone->size() == 26);
    CHECK(f.find(f.alice, *phone).value().name == "phone");
    CHECK(!f.find(bob, *phone));
    CHECK(!f.find(f.alice, phone->substr(1)));
    CHECK(!f.find(f.alice, ""));
    CHECK(f.add(f.alice, "phone").error().code == Errc::already_exists);
    CHECK(f.add(bob, "phone"));
    for (const std::string& name : {std::string(), std::string(" a"), std::string("a\n"), std::string(65, 'a')}) {
        CHECK(f.add(f.alice, name).error().code == Errc::invalid);
    }
    f.store.reopen();
    CHECK(f.find(f.alice, *phone));
    REQUIRE(f.store->write({}, [&](Tx& tx) { return CredentialTx(tx).revoke(f.alice, "phone"); }));
    CHECK(!f.find(f.alice, *phone));
    CHECK(f.store->write({}, [&](Tx& tx) { return CredentialTx(tx).revoke(f.alice, "phone"); }).error().code ==
          Errc::not_found);
}

TEST_CASE("the last use is kept to the hour") {
    Fixture f;
    const auto phone = f.add(f.alice, "phone");
    const AppPassword made = *f.find(f.alice, *phone);
    const Time now = from_unix_ms(1'800'000'123'456);
    CHECK(use_is_news(made, now));
    REQUIRE(f.store->write({}, [&](Tx& tx) { return CredentialTx(tx).note_use(made.id, now); }));
    const AppPassword used = *f.find(f.alice, *phone);
    CHECK(to_unix_ms(*used.used) % 3'600'000 == 0);
    CHECK(!use_is_news(used, now + std::chrono::minutes(20)));
    CHECK(use_is_news(used, now + std::chrono::hours(1)));
}

TEST_CASE("SCRAM keys belong to one password, and all of an account have one salt") {
    Fixture f;
    CHECK(f.any_without_keys());
    CHECK(f.keys(f.alice).empty());
    const std::string salt = scram_salt(f.store->sealing_key(), "alice@a.example");
    CHECK(salt.size() == 16);
    CHECK(salt != scram_salt(f.store->sealing_key(), "bob@a.example"));
    const auto keys = crypto::derive_scram_keys("secret", salt, crypto::kScramIterations);
    const auto set = [&](std::string_view hash) {
        return f.store->write({}, [&](Tx& tx) { return CredentialTx(tx).set_scram_keys(f.alice, hash, keys); });
    };
    REQUIRE(set("another hash"));  // the password was changed meanwhile
    CHECK(f.keys(f.alice).empty());
    REQUIRE(set("hash"));
    REQUIRE(f.add(f.alice, "phone"));
    CHECK(!f.any_without_keys());
    const auto found = f.keys(f.alice);
    REQUIRE(found.size() == 2);
    CHECK(!found[0].program);
    CHECK(found[1].program);
    CHECK(found[0].keys.salt == found[1].keys.salt);
    CHECK(found[0].keys.stored_key == keys.stored_key);
    // A new password leaves no keys of the old one behind; those of programs stay.
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().set_password_hash(f.alice, "new"); }));
    CHECK(f.any_without_keys());
    REQUIRE(f.keys(f.alice).size() == 1);
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(f.alice); }));
    CHECK(f.keys(f.alice).empty());
}
