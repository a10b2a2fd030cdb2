#include "storage/tokens.h"

#include "protocols/crypto/crypto.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

constexpr Time kNow = Time(Milliseconds(1'800'000'123'456));

class FixedClock final : public Clock {
 public:
    Time now() const override { return kNow; }
};
const FixedClock kClock;

struct Fixture {
    test::TempStore store{[](StoreOptions& options) { options.clock = &kClock; }};
    Fixture() { REQUIRE(crypto::init()); }

    Result<NewApiToken> create(std::string_view name, std::optional<AccountId> account = {},
                               std::optional<Time> expires = {}) {
        return store->write_value({}, [&](Tx& tx) { return TokenTx(tx).create(name, account, expires); });
    }
    std::optional<ApiToken> find(std::string_view secret, Time now = kNow) {
        const auto found = store->read([&](const Snapshot& s) { return TokenView(s).find_secret(secret, now); });
        if (!found) FAIL(found.error().context);
        return *found;
    }
    std::vector<ApiToken> list() {
        return store->read([](const Snapshot& s) { return TokenView(s).list(); }).value();
    }
};

}  // namespace

TEST_CASE("a token is found by its secret alone, and only its digest is kept") {
    Fixture f;
    const auto panel = f.create("panel");
    REQUIRE(panel);
    CHECK(panel->secret.size() == kTokenPrefix.size() + 64);
    const AccountId alice = f.store.add_account("alice@a.example");
    const auto hers = f.create("hers", alice);
    REQUIRE(hers);
    CHECK(hers->secret != panel->secret);

    CHECK(f.find(panel->secret).value().name == "panel");
    CHECK(!f.find(panel->secret).value().account);
    CHECK(f.find(hers->secret).value().account == alice);
    CHECK(f.find(hers->secret).value().address == "alice@a.example");
    for (const std::string& wrong : {std::string(), std::string("panel"), panel->secret.substr(1), panel->secret + "0",
                                     panel->secret.substr(0, panel->secret.size() - 1)}) {
        CAPTURE(wrong);
        CHECK(!f.find(wrong));
    }
    CHECK(f.list().size() == 2);
    CHECK(f.list().front().name == "hers");
}

TEST_CASE("a token is found again after the store was closed") {
    Fixture f;
    const auto made = f.create("panel");
    REQUIRE(made);
    f.store.reopen();
    CHECK(f.find(made->secret));
}

TEST_CASE("bad names, taken names and an end in the past are refused") {
    Fixture f;
    for (const std::string& name : {std::string(), std::string("a b"), std::string("a\n"), std::string("ä"),
                                    std::string(kTokenNameMax + 1, 'a')}) {
        CAPTURE(name);
        const auto made = f.create(name);
        REQUIRE(!made);
        CHECK(made.error().code == Errc::invalid);
    }
    REQUIRE(f.create(std::string(kTokenNameMax, 'a')));
    REQUIRE(f.create("panel"));
    CHECK(f.create("panel").error().code == Errc::already_exists);
    CHECK(f.create("late", {}, kNow).error().code == Errc::invalid);
    CHECK(f.create("foreign", static_cast<AccountId>(99)).error().code == Errc::not_found);
    CHECK(f.list().size() == 2);
}

TEST_CASE("a token ends by itself, by revocation, and with its account") {
    Fixture f;
    const Time end = kNow + std::chrono::hours(1);
    const auto brief = f.create("brief", {}, end);
    REQUIRE(brief);
    CHECK(f.find(brief->secret, end - Milliseconds(1)));
    CHECK(!f.find(brief->secret, end));
    REQUIRE(f.store->write({}, [](Tx& tx) { return TokenTx(tx).revoke("brief"); }));
    CHECK(!f.find(brief->secret));
    CHECK(f.store->write({}, [](Tx& tx) { return TokenTx(tx).revoke("brief"); }).error().code == Errc::not_found);

    const AccountId alice = f.store.add_account("alice@a.example");
    const auto hers = f.create("hers", alice);
    REQUIRE(hers);
    const auto disable = [&](bool disabled) {
        REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().set_disabled(alice, disabled); }));
    };
    disable(true);
    CHECK(!f.find(hers->secret));
    disable(false);
    CHECK(f.find(hers->secret));
    REQUIRE(f.store->write({}, [&](Tx& tx) { return tx.catalog().remove_account(alice); }));
    CHECK(!f.find(hers->secret));
    CHECK(f.list().empty());
}

TEST_CASE("the last use is kept to the hour and is news once an hour") {
    Fixture f;
    const auto made = f.create("panel");
    REQUIRE(made);
    const auto use = [&](Time now) {
        REQUIRE(f.store->write({}, [&](Tx& tx) { return TokenTx(tx).note_use(made->id, now); }));
    };
    CHECK(use_is_news(f.list().front(), kNow));
    use(kNow);
    const ApiToken token = f.list().front();
    CHECK(token.used == std::chrono::floor<std::chrono::hours>(kNow));
    CHECK(!use_is_news(token, kNow));
    CHECK(!use_is_news(token, *token.used + std::chrono::minutes(59)));
    CHECK(use_is_news(token, *token.used + std::chrono::hours(1)));
    CHECK(!use_is_news(token, *token.used - std::chrono::hours(1)));  // the clock went back
}
