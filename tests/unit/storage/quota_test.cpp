// Limits of accounts and of domains: what is refused, and what was promised at RCPT and is taken all the same.
#include "storage/catalog.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::plain_facts;
using posthouse::test::TempStore;

namespace {

struct Fixture {
    void limit_domain(std::uint64_t octets, std::uint64_t messages) {
        REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
            TRY(const Domain domain, tx.catalog().domain("a.example"));
            return tx.catalog().set_domain_quota(domain.id, octets, messages);
        }));
    }
    Result<Accepted> deliver(const std::vector<AccountId>& to, QuotaRule quota) {
        const StagedBodyPtr body = store.stage("0123456789");
        return store->write_value({body}, [&](Tx& tx) {
            Delivery delivery;
            delivery.body = body;
            delivery.facts = plain_facts("0123456789");
            delivery.quota = quota;
            for (const AccountId account : to) {
                LocalCopy copy;
                copy.account = account;
                delivery.local.push_back(copy);
            }
            return tx.deliver(delivery);
        });
    }
    std::uint64_t used(AccountId id) {
        return store->read([&](const Snapshot& s) { return s.catalog().account(id); })->used_messages;
    }
    TempStore store;
    AccountId alice = store.add_account("alice@a.example");
    AccountId bob = store.add_account("bob@a.example");
    AccountId carol = store.add_account("carol@c.example");
};

}  // namespace

TEST_CASE("the accounts of a domain share its quota of messages") {
    Fixture f;
    f.limit_domain(0, 2);
    REQUIRE(f.store.deliver(f.alice, "0123456789"));
    REQUIRE(f.store.deliver(f.bob, "0123456789"));
    const auto third = f.store.deliver(f.alice, "0123456789");
    REQUIRE(!third);
    CHECK(third.error().code == Errc::over_quota);
    CHECK(third.error().context == "the mailboxes of a.example together are full");
    REQUIRE(f.store.deliver(f.carol, "0123456789"));  // another domain
    f.limit_domain(0, 0);
    REQUIRE(f.store.deliver(f.alice, "0123456789"));
}

TEST_CASE("a domain's quota of octets bounds copies too, and moves are free") {
    Fixture f;
    f.limit_domain(25, 0);
    REQUIRE(f.store.deliver(f.alice, "0123456789"));
    REQUIRE(f.store.deliver(f.bob, "0123456789"));
    const MailboxId inbox = f.store.mailbox(f.alice, "INBOX").id;
    const MailboxId trash = f.store.mailbox(f.alice, "Trash").id;
    const std::vector<Uid> one = {1};
    const auto copied = f.store->write_value({}, [&](Tx& tx) { return tx.mail(f.alice).copy(inbox, one, trash); });
    CHECK(copied.error().code == Errc::over_quota);
    CHECK(f.store->write_value({}, [&](Tx& tx) { return tx.mail(f.alice).move(inbox, one, trash); }));
}

TEST_CASE("what could never fit into a domain is too large, not only refused for now") {
    Fixture f;
    f.limit_domain(25, 0);
    const std::vector<AccountId> accounts = {f.alice};
    const auto check = [&](std::uint64_t octets) {
        return f.store->read([&](const Snapshot& s) { return check_quota(s.catalog(), accounts, octets); });
    };
    CHECK(check(25));
    CHECK(check(26).error().code == Errc::too_large);
    REQUIRE(f.store.deliver(f.bob, "0123456789"));
    CHECK(check(25).error().code == Errc::over_quota);
    CHECK(check(26).error().code == Errc::too_large);
}

TEST_CASE("what was promised is taken over the quota, for every recipient") {
    Fixture f;
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().set_quota(f.alice, 0, 1); }));
    REQUIRE(f.store.deliver(f.alice, "0123456789"));
    CHECK(f.deliver({f.alice, f.bob}, QuotaRule::keep).error().code == Errc::over_quota);
    CHECK(f.used(f.bob) == 0);
    REQUIRE(f.deliver({f.alice, f.bob}, QuotaRule::promised));
    CHECK(f.used(f.alice) == 2);
    CHECK(f.used(f.bob) == 1);
}

TEST_CASE("retention rules are checked, replaced and removed") {
    Fixture f;
    const auto set = [&](std::string scope, std::string mailbox, std::int64_t days) {
        const RetentionRule rule{std::move(scope), std::move(mailbox), days};
        return f.store->write({}, [&](Tx& tx) { return tx.catalog().set_retention(rule); });
    };
    CHECK(set("", "\\trash", 30));
    CHECK(set("", "\\Trash", 40));
    CHECK(set("a.example", "Old/Stuff", 7));
    CHECK(set("alice@a.example", "\\Junk", 0));
    CHECK(set("", "\\Nothing", 1).error().code == Errc::invalid);
    CHECK(set("x.example", "\\Junk", 1).error().code == Errc::not_found);
    CHECK(set("", "", 1).error().code == Errc::invalid);
    const auto rules = f.store->read([](const Snapshot& s) { return s.catalog().retention_rules(); });
    REQUIRE(rules->size() == 3);
    CHECK(rules->at(0).mailbox == "\\Trash");
    CHECK(rules->at(0).days == 40);
    REQUIRE(f.store->write({}, [](Tx& tx) { return tx.catalog().remove_retention("", "\\trash"); }));
    const auto again = f.store->write({}, [](Tx& tx) { return tx.catalog().remove_retention("", "\\trash"); });
    CHECK(again.error().code == Errc::not_found);
}
