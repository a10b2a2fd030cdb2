#include "server/delivery/directory.h"

#include <doctest/doctest.h>

#include "tests/support/temp_store.h"

using namespace posthouse;
using Kind = server::Resolution::Kind;

namespace {

struct Fixture {
    Fixture() {
        alice = store.add_account("alice@a.example");
        bob = store.add_account("bob@a.example");
        carol = store.add_account("carol@b.example");
        REQUIRE(store->write({}, [](storage::Tx& tx) -> Result<> {
            TRY_VOID(
                tx.catalog().add_alias("sales@a.example", {"alice@a.example", "x@far.example", "bob+s@a.example"}));
            TRY_VOID(tx.catalog().add_alias("loop1@a.example", {"loop2@a.example"}));
            TRY_VOID(tx.catalog().add_alias("loop2@a.example", {"loop1@a.example"}));
            TRY_VOID(tx.catalog().add_alias("@b.example", {"carol@b.example"}));
            TRY_VOID(tx.catalog().add_alias("many@a.example", {"most@a.example", "more@a.example"}));
            for (const std::string name : {"most", "more"}) {
                std::vector<std::string> targets;
                for (int i = 0; i < 600; ++i) targets.push_back(name + std::to_string(i) + "@far.example");
                TRY_VOID(tx.catalog().add_alias(name + "@a.example", targets));
            }
            for (int i = 0; i < 12; ++i) {
                TRY_VOID(tx.catalog().add_alias("deep" + std::to_string(i) + "@a.example",
                                                {"deep" + std::to_string(i + 1) + "@a.example"}));
            }
            return {};
        }));
        auto loaded =
            store->read([](const storage::Snapshot& s) { return server::DirectoryPicture::load(s.catalog()); });
        REQUIRE(loaded);
        picture = *loaded;
    }
    server::Resolution resolve(std::string_view address) const {
        const smtp::Path path = *smtp::parse_mailbox(address);
        const server::Resolution out = picture->resolve(path);
        // What reports about mail that went out go by, over the tables, says the same.
        const auto by_tables =
            store->read([&](const storage::Snapshot& s) { return storage::AddressView(s).resolve(path); });
        REQUIRE(by_tables);
        CHECK(by_tables->kind == out.kind);
        CHECK(by_tables->accounts == out.accounts);
        CHECK(by_tables->remote == out.remote);
        return out;
    }
    mutable test::TempStore store;
    storage::AccountId alice{}, bob{}, carol{};
    std::shared_ptr<const server::DirectoryPicture> picture;
};

}  // namespace

TEST_CASE("addresses lead to accounts, aliases, catch-alls, roles, or nowhere") {
    const Fixture f;
    CHECK(f.resolve("Alice@A.example").accounts == std::vector{f.alice});
    CHECK(f.resolve("alice+tag+more@a.example").accounts == std::vector{f.alice});
    CHECK(f.resolve("+tag@a.example").kind == Kind::unknown);
    CHECK(f.resolve("nobody@a.example").kind == Kind::unknown);
    CHECK(f.resolve("x@far.example").kind == Kind::not_ours);
    CHECK(f.resolve("anything@b.example").accounts == std::vector{f.carol});
    CHECK(f.resolve("postmaster@a.example").accounts == std::vector{f.alice});
    CHECK(f.resolve("ABUSE@b.example").accounts == std::vector{f.carol});
    CHECK(f.picture->resolve(smtp::Path("postmaster", "")).accounts == std::vector{f.alice});
    const auto sales = f.resolve("sales+x@a.example");
    CHECK(sales.accounts == std::vector{f.alice, f.bob});
    CHECK(sales.remote == std::vector<std::string>{"x@far.example"});
    CHECK(f.resolve("loop1@a.example").kind == Kind::unknown);
    CHECK(f.resolve("many@a.example").kind == Kind::too_many);
    CHECK(f.resolve("deep0@a.example").kind == Kind::too_many);
}

TEST_CASE("the roles of a domain: whom the settings name, else its first account, else the first of the house") {
    Fixture f;
    const auto read_again = [&] {
        const auto loaded =
            f.store->read([](const storage::Snapshot& s) { return server::DirectoryPicture::load(s.catalog()); });
        REQUIRE(loaded);
        f.picture = *loaded;
    };
    const auto set = [&](const std::string& key, const std::string& value) {
        REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
        read_again();
    };
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("aliases.example"));
        TRY_VOID(tx.catalog().add_alias("me@aliases.example", {"bob@a.example"}));
        return {};
    }));
    read_again();
    CHECK(f.resolve("abuse@a.example").accounts == std::vector{f.alice});
    CHECK(f.resolve("abuse@aliases.example").accounts == std::vector{f.alice});
    set("postmaster", "carol@b.example");
    CHECK(f.resolve("abuse@a.example").accounts == std::vector{f.carol});
    CHECK(f.resolve("postmaster@aliases.example").accounts == std::vector{f.carol});
    set("postmaster.a.example", "bob@a.example");
    CHECK(f.resolve("Postmaster@A.example").accounts == std::vector{f.bob});
    set("postmaster.a.example", "gone@a.example");  // no account: as if it were not set
    CHECK(f.resolve("postmaster@a.example").accounts == std::vector{f.carol});
}

TEST_CASE("mail to a domain that only signs goes out, as to a stranger's; it is nobody's first domain") {
    Fixture f;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("c.example"));
        TRY_VOID(tx.catalog().set_hosted("c.example", false));
        TRY_VOID(tx.catalog().add_alias("away@a.example", {"carol@c.example"}));
        return {};
    }));
    const auto read_again = [&] {
        f.picture =
            *f.store->read([](const storage::Snapshot& s) { return server::DirectoryPicture::load(s.catalog()); });
    };
    read_again();
    CHECK(f.resolve("carol@c.example").kind == Kind::not_ours);
    CHECK(f.resolve("postmaster@c.example").kind == Kind::not_ours);
    CHECK(f.resolve("away@a.example").remote == std::vector<std::string>{"carol@c.example"});
    CHECK_FALSE(f.picture->is_ours("C.example"));
    REQUIRE(f.store->write({}, [](storage::Tx& tx) { return tx.catalog().set_hosted("c.example", true); }));
    read_again();
    CHECK(f.resolve("postmaster@c.example").accounts == std::vector{f.alice});
    CHECK(f.resolve("carol@c.example").kind == Kind::unknown);
}

TEST_CASE("who may write as whom") {
    const Fixture f;
    const auto owns = [&](storage::AccountId who, std::string_view address) {
        return f.picture->owns(who, *smtp::parse_mailbox(address));
    };
    CHECK(owns(f.alice, "alice@a.example"));
    CHECK(owns(f.alice, "ALICE+shop@a.example"));
    CHECK(owns(f.alice, "sales@a.example"));
    CHECK_FALSE(owns(f.alice, "bob@a.example"));
    CHECK_FALSE(owns(f.alice, "alice@b.example"));
    CHECK_FALSE(owns(f.alice, "x@far.example"));
    CHECK_FALSE(owns(f.carol, "sales@a.example"));
    CHECK(owns(f.carol, "info@b.example"));
}

TEST_CASE("a disabled account writes as nobody, and still receives") {
    Fixture f;
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_disabled(f.alice, true); }));
    const auto loaded =
        f.store->read([](const storage::Snapshot& s) { return server::DirectoryPicture::load(s.catalog()); });
    REQUIRE(loaded);
    CHECK_FALSE((*loaded)->owns(f.alice, *smtp::parse_mailbox("alice@a.example")));
    CHECK((*loaded)->owns(f.bob, *smtp::parse_mailbox("bob@a.example")));
    CHECK((*loaded)->resolve(*smtp::parse_mailbox("alice@a.example")).accounts == std::vector{f.alice});
}
