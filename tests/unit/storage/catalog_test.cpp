// Domains, accounts, aliases, keys and settings.
#include "storage/catalog.h"
#include "storage/transport.h"

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

Errc code_of(const Result<>& result) { return result ? Errc::internal : result.error().code; }

template <class F>
Errc try_write(TempStore& store, F fn) {
    return code_of(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(fn(tx.catalog()));
        return {};
    }));
}

}  // namespace

TEST_CASE("addresses and domains are checked and kept in lower case") {
    TempStore store;
    struct Case {
        const char* address;
        bool good;
    };
    constexpr Case kCases[] = {{"Alice@A.Example", true},  {"bob+tag@a.example", true},
                               {"o'hara@a.example", true}, {"jos\xc3\xa9@a.example", true},
                               {"plain", false},           {"@a.example", false},
                               {"a b@a.example", false},   {"a@", false},
                               {"a\r\n@a.example", false}, {"a@b@a.example", false},
                               {"\"q\"@a.example", false}, {"a@.example", false},
                               {"a\xff@a.example", false}, {"c@unknown.example", false}};
    REQUIRE(store->write({}, [](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("A.Example"));
        return {};
    }));
    for (const Case& c : kCases) {
        CAPTURE(c.address);
        const auto id = store->write_value({}, [&](Tx& tx) { return tx.catalog().add_account(c.address, "h", ""); });
        CHECK(id.has_value() == c.good);
    }
    const auto alice = store->read([](const Snapshot& s) { return s.catalog().account("ALICE@a.EXAMPLE"); });
    REQUIRE(alice);
    CHECK(alice->address == "alice@a.example");
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_domain("a.example"); }) == Errc::already_exists);
    for (const char* bad : {"", "a..b", ".a", "a.", "a b", "a@b", "a/b", "a_b.test", "it's.test"}) {
        CAPTURE(bad);
        CHECK(try_write(store, [bad](CatalogTx& c) { return c.add_domain(bad); }) == Errc::invalid);
    }
}

TEST_CASE("an account comes with its folders, all subscribed, each with its special use") {
    TempStore store;
    const AccountId id = store.add_account("alice@a.example");
    const auto boxes = store->read([id](const Snapshot& s) { return s.mail(id).mailboxes(); });
    REQUIRE(boxes);
    struct Case {
        const char* name;
        SpecialUse use;
    };
    constexpr Case kCases[] = {{"Archive", SpecialUse::archive}, {"Drafts", SpecialUse::drafts},
                               {"INBOX", SpecialUse::none},      {"Junk", SpecialUse::junk},
                               {"Sent", SpecialUse::sent},       {"Trash", SpecialUse::trash}};
    REQUIRE(boxes->size() == std::size(kCases));
    for (std::size_t i = 0; i < std::size(kCases); ++i) {
        CHECK((*boxes)[i].name == kCases[i].name);
        CHECK((*boxes)[i].special_use == kCases[i].use);
        CHECK((*boxes)[i].subscribed);
        CHECK((*boxes)[i].uid_next == 1);
        CHECK((*boxes)[i].highest_modseq >= 1);
    }
}

TEST_CASE("an address belongs to one account or one alias") {
    TempStore store;
    store.add_account("alice@a.example");
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_account("ALICE@a.example", "h", ""); }) ==
          Errc::already_exists);
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_alias("alice@a.example", {"x@y.example"}); }) ==
          Errc::already_exists);
    const std::vector<std::string> targets = {"alice@a.example", "Remote@Elsewhere.Example"};
    REQUIRE(store->write_value({}, [&](Tx& tx) { return tx.catalog().add_alias("Info@a.example", targets); }));
    REQUIRE(store->write_value({}, [&](Tx& tx) { return tx.catalog().add_alias("@a.example", {"alice@a.example"}); }));
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_account("info@a.example", "h", ""); }) ==
          Errc::already_exists);
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_alias("no@targets.example", {}); }) == Errc::not_found);
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_alias("no@a.example", {}); }) == Errc::invalid);
    const auto aliases = store->read([](const Snapshot& s) { return s.catalog().aliases(); });
    REQUIRE(aliases);
    REQUIRE(aliases->size() == 2);
    CHECK((*aliases)[0].address == "@a.example");
    CHECK((*aliases)[1].targets == std::vector<std::string>{"alice@a.example", "Remote@elsewhere.example"});
    CHECK(try_write(store, [](CatalogTx& c) { return c.remove_domain("a.example"); }) == Errc::conflict);
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().remove_alias("INFO@a.example"); }));
    CHECK(try_write(store, [](CatalogTx& c) { return c.remove_alias("info@a.example"); }) == Errc::not_found);
}

TEST_CASE("a removed account takes its mail along, gives back shared bodies, and its number is not used again") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "text"));
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(alice); }));
    CHECK_FALSE(store->read([&](const Snapshot& s) { return s.catalog().account(alice); }));
    CHECK(store->read([&](const Snapshot& s) { return s.mail(alice).mailboxes(); })->empty());
    const AccountId again = store.add_account("alice@a.example");
    CHECK(raw(again) > raw(alice));
    CHECK(store.entries(again, "INBOX").empty());
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(again); }));
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().remove_domain("a.example"); }));
    CHECK(try_write(store, [](CatalogTx& c) { return c.remove_domain("a.example"); }) == Errc::not_found);
}

TEST_CASE("keys and settings come back as they were given") {
    TempStore store;
    store.add_account("alice@a.example");
    DkimKey key;
    key.domain_name = "a.example";
    key.selector = "s1";
    key.algorithm = "rsa-sha256";
    key.sealed_pem = std::string("\x00\x01\x02", 3);
    key.dns_record = "v=DKIM1; p=x";
    const auto id = store->write_value({}, [&](Tx& tx) { return tx.catalog().add_dkim_key(key); });
    REQUIRE(id);
    CHECK(try_write(store, [&](CatalogTx& c) { return c.add_dkim_key(key); }) == Errc::already_exists);
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_dkim_active(*id, false); }));
    const auto keys = store->read([](const Snapshot& s) { return s.catalog().dkim_keys(); });
    REQUIRE(keys->size() == 1);
    CHECK((*keys)[0].domain_name == "a.example");
    CHECK((*keys)[0].sealed_pem == key.sealed_pem);
    CHECK_FALSE((*keys)[0].active);
    for (const char* value : {"one", "two", ""}) {
        REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_setting("a.b", value); }));
        CHECK(store->read([](const Snapshot& s) { return s.catalog().setting("a.b"); })->value() == value);
    }
    CHECK_FALSE(store->read([](const Snapshot& s) { return s.catalog().setting("none"); })->has_value());
}

TEST_CASE("a domain that only signs has keys, and takes no address, policy or rule until it is hosted") {
    TempStore store;
    store.add_account("alice@a.example");
    DkimKey key;
    key.domain_name = "b.example";
    key.selector = "s1";
    key.algorithm = "rsa-sha256";
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("b.example"));
        TRY_VOID(tx.catalog().set_hosted("B.example", false));
        TRY_VOID(tx.catalog().add_dkim_key(key));
        return {};
    }));
    const auto names = [&](bool hosted) {
        const auto found = store->read(
            [&](const Snapshot& s) { return hosted ? s.catalog().hosted_domains() : s.catalog().domains(); });
        std::vector<std::string> out;
        for (const Domain& one : found.value()) out.push_back(one.name);
        return out;
    };
    const auto serve = [](Tx& tx) { return TransportTx(tx).serve_sts("b.example", 1, {}); };
    const RetentionRule rule{"b.example", "\\Junk", 30};
    CHECK(names(true) == std::vector<std::string>{"a.example"});
    CHECK(names(false) == std::vector<std::string>{"a.example", "b.example"});
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_account("x@b.example", "h", ""); }) == Errc::invalid);
    CHECK(try_write(store, [](CatalogTx& c) { return c.add_alias("x@b.example", {"alice@a.example"}); }) ==
          Errc::invalid);
    CHECK(try_write(store, [&](CatalogTx& c) { return c.set_retention(rule); }) == Errc::invalid);
    CHECK(store->write_value({}, serve).error().code == Errc::invalid);
    CHECK(try_write(store, [](CatalogTx& c) { return c.set_hosted("c.example", true); }) == Errc::not_found);
    CHECK(try_write(store, [](CatalogTx& c) { return c.set_hosted("a.example", false); }) == Errc::conflict);

    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().set_hosted("b.example", true));
        TRY_VOID(tx.catalog().set_retention(rule));
        TRY_VOID(serve(tx));
        return tx.catalog().set_hosted("b.example", false);
    }));
    CHECK(store->read([](const Snapshot& s) { return s.catalog().retention_rules(); })->empty());
    CHECK_FALSE(store->read([](const Snapshot& s) { return TransportView(s).sts_served("b.example"); })->has_value());
    CHECK(store->read([](const Snapshot& s) { return s.catalog().dkim_keys(); })->size() == 1);
}

TEST_CASE("passwords, disabling and quotas change the account that is named") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().set_password_hash(alice, "$argon2id$new"));
        TRY_VOID(tx.catalog().set_disabled(alice, true));
        return tx.catalog().set_quota(alice, 1000, 10);
    }));
    const auto account = store->read([&](const Snapshot& s) { return s.catalog().account(alice); });
    REQUIRE(account);
    CHECK(account->password_hash == "$argon2id$new");
    CHECK(account->disabled);
    CHECK(account->quota_octets == 1000);
    CHECK(account->quota_messages == 10);
    const auto nobody = static_cast<AccountId>(99);
    CHECK(try_write(store, [&](CatalogTx& c) { return c.set_disabled(nobody, true); }) == Errc::not_found);
}
