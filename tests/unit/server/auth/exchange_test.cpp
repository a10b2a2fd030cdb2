#include "server/auth/exchange.h"

#include "protocols/crypto/crypto.h"
#include "protocols/sasl/scram.h"
#include "storage/credentials.h"
#include "tests/support/loop_runner.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using server::LoginExchange;

namespace {

class HandClock final : public Clock {
 public:
    Time now() const override { return time; }
    Time time = from_unix_ms(1'800'000'000'000);
};

constexpr std::string_view kAlice = "alice@a.example";
const net::IpAddress kHome = *net::IpAddress::parse("192.0.2.1");

// A store with one account, and an authenticator on it.
struct Fixture {
    net::Loop loop;
    test::TempStore store;
    storage::AccountId alice;
    HandClock clock;
    Metrics metrics;
    net::ThreadPool pool{"crypto", 1};
    server::AuthenticatorOptions options;
    std::unique_ptr<server::Authenticator> authenticator;

    Fixture() : alice((static_cast<void>(crypto::init()), store.add_account(std::string(kAlice)))) {
        set_password("secret");
        options.token_pool = &pool;
        open();
    }
    void open() { authenticator = server::make_authenticator(*store, loop, pool, clock, metrics, options); }

    void set_password(const std::string& password) {
        const std::string hash = crypto::hash_password(password).value();
        const auto keys = crypto::derive_scram_keys(password, storage::scram_salt(store->sealing_key(), kAlice),
                                                    crypto::kScramIterations);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY_VOID(tx.catalog().set_password_hash(alice, hash));
            return storage::CredentialTx(tx).set_scram_keys(alice, hash, keys);
        }));
    }
    std::string add_app_password() {
        const auto made = storage::make_app_password(storage::scram_salt(store->sealing_key(), kAlice));
        REQUIRE(store->write_value(
            {}, [&](storage::Tx& tx) { return storage::CredentialTx(tx).add(alice, "phone", made); }));
        return made.secret;
    }

    Result<server::Identity> plain(const std::string& login, const std::string& password, net::IpAddress from = kHome) {
        return test::run_task(loop, authenticator->authenticate(login, password, from, "test"));
    }
    Result<server::LoginStep> start(LoginExchange& exchange, std::optional<std::string> initial) {
        return test::run_task(loop, exchange.start(std::move(initial)));
    }
    Result<server::LoginStep> answer(LoginExchange& exchange, std::string response) {
        return test::run_task(loop, exchange.answer(std::move(response)));
    }
    // A whole SCRAM dialogue; the identity, or the error.
    Result<server::Identity> scram(const std::string& login, const std::string& password, net::TlsBinding binding = {},
                                   net::IpAddress from = kHome) {
        sasl::ChannelBinding bound;
        bound.exporter = binding.exporter;
        const bool plus = !binding.exporter.empty();
        sasl::ScramClient client(login, password, bound, plus, "abcdef");
        const auto exchange =
            LoginExchange::begin(*authenticator, client.mechanism(), std::move(binding), from, "test");
        REQUIRE(exchange);
        auto step = start(*exchange, client.first());
        if (!step) return Error(step.error());
        TRY(std::string proof, client.answer(step->challenge));
        step = answer(*exchange, std::move(proof));
        if (!step) return Error(step.error());
        CHECK(!step->identity);
        CHECK(client.check(step->challenge));
        step = answer(*exchange, "");
        REQUIRE(step);
        REQUIRE(step->identity);
        return *step->identity;
    }
    // PLAIN or LOGIN as a client speaks them.
    Result<server::Identity> by_mechanism(const std::string& mechanism, const std::string& login,
                                          const std::string& password) {
        const auto exchange = LoginExchange::begin(*authenticator, mechanism, {}, kHome, "test");
        REQUIRE(exchange);
        if (mechanism == "PLAIN") {
            auto step = start(*exchange, sasl::plain_response(login, password).value());
            if (!step) return Error(step.error());
            return *step->identity;
        }
        auto step = start(*exchange, login);
        if (step) step = answer(*exchange, password);
        if (!step) return Error(step.error());
        return *step->identity;
    }
    std::string challenge(const std::string& login) {
        const auto exchange = LoginExchange::begin(*authenticator, "SCRAM-SHA-256", {}, kHome, "test");
        const auto step = start(*exchange, "n,,n=" + login + ",r=abc");
        REQUIRE(step);
        return step->challenge.substr(step->challenge.find(",s="));
    }
};

}  // namespace

TEST_CASE("the account's password and those of its programs log in, in every way") {
    Fixture f;
    const std::string app = f.add_app_password();
    CHECK(f.plain("Alice@A.example", "secret")->account == f.alice);
    CHECK(f.plain(std::string(kAlice), app)->credential.kind == server::Credential::Kind::app_password);
    CHECK(f.scram(std::string(kAlice), "secret")->address == kAlice);
    const auto by_app = f.scram(std::string(kAlice), app);
    REQUIRE(by_app);
    CHECK(by_app->credential.kind == server::Credential::Kind::app_password);
    net::TlsBinding binding;
    binding.exporter = std::string(32, 'e');
    CHECK(f.scram(std::string(kAlice), "secret", binding));
    CHECK(f.plain(std::string(kAlice), "wrong").error().code == Errc::unauthenticated);
    CHECK(f.scram(std::string(kAlice), "wrong").error().code == Errc::unauthenticated);
    const auto programs =
        f.store->read([&](const storage::Snapshot& s) { return storage::CredentialView(s).app_passwords(f.alice); });
    REQUIRE(programs->size() == 1);
    CHECK(programs->front().used);
}

TEST_CASE("one password and one name, however they are spelt, RFC 4013, 8265") {
    constexpr const char* kComposed = "p\u00e4ssw\u00f6rt";
    constexpr const char* kDecomposed = "pa\u0308sswo\u0308rt";
    Fixture f;
    f.set_password(sasl::prepare_password(kDecomposed).value());
    for (const char* spelling : {kComposed, kDecomposed, "p\u00e4ssw\u00f6\u00adrt"}) {
        CAPTURE(spelling);
        CHECK(f.plain(std::string(kAlice), spelling));
        CHECK(f.scram(std::string(kAlice), spelling));
        CHECK(f.by_mechanism("PLAIN", std::string(kAlice), spelling));
        CHECK(f.by_mechanism("LOGIN", std::string(kAlice), spelling));
    }
    CHECK(f.plain(std::string(kAlice), "passwort").error().code == Errc::unauthenticated);
    // Full-width letters of the name.
    CHECK(f.plain("\uff21lice@a.example", kComposed)->account == f.alice);
    CHECK(f.by_mechanism("PLAIN", "\uff21lice@a.example", kDecomposed));
    // What SASLprep has no table for, or refuses for the direction of its letters.
    for (const char* odd : {"\U0001f511 key", "\u05e9\u05dc\u05d5\u05dd1"}) {
        CAPTURE(odd);
        f.set_password(sasl::prepare_password(odd).value());
        f.authenticator->refresh();
        CHECK(f.plain(std::string(kAlice), odd));
        CHECK(f.scram(std::string(kAlice), odd));
    }
}

TEST_CASE("a password that was hashed before passwords were prepared still logs in as it is typed") {
    constexpr const char* kDecomposed = "pa\u0308ss\u00a0wort";
    Fixture f;
    f.set_password(kDecomposed);
    CHECK(f.plain(std::string(kAlice), kDecomposed));
    CHECK(f.plain(std::string(kAlice), "p\u00e4ss wort").error().code == Errc::unauthenticated);
    f.set_password("tab\tbed");  // none may be set any more
    f.authenticator->refresh();
    CHECK(f.plain(std::string(kAlice), "tab\tbed"));
}

TEST_CASE("what a login is offered does not tell whether it exists") {
    Fixture f;
    const std::string nobody = f.challenge("nobody@a.example");
    CHECK(nobody == f.challenge("nobody@a.example"));
    CHECK(nobody != f.challenge("somebody@a.example"));
    CHECK(nobody.substr(nobody.rfind(',')) == f.challenge(std::string(kAlice)).substr(nobody.rfind(',')));
    CHECK(f.scram("nobody@a.example", "secret").error().context == f.scram(std::string(kAlice), "x").error().context);
    const std::string before = f.challenge(std::string(kAlice));
    f.set_password("another");
    CHECK(f.challenge(std::string(kAlice)) == before);
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_disabled(f.alice, true); }));
    CHECK(f.challenge(std::string(kAlice)) == before);
    CHECK(f.scram(std::string(kAlice), "another").error().code == Errc::unauthenticated);
}

TEST_CASE("SCRAM is offered once everybody has keys, and a plain login makes them") {
    Fixture f;
    const auto offers = [&f] { return server::offered_mechanisms(*f.authenticator, {}); };
    CHECK(offers() == std::vector<std::string>{"SCRAM-SHA-256", "PLAIN", "LOGIN"});
    net::TlsBinding binding;
    binding.server_end_point = "x";
    CHECK(server::offered_mechanisms(*f.authenticator, binding).front() == "SCRAM-SHA-256-PLUS");
    const std::string hash = crypto::hash_password("older").value();
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_password_hash(f.alice, hash); }));
    f.open();
    CHECK(offers() == std::vector<std::string>{"PLAIN", "LOGIN"});
    CHECK(LoginExchange::begin(*f.authenticator, "SCRAM-SHA-256", {}, kHome, "test") == nullptr);
    CHECK(f.plain(std::string(kAlice), "older"));
    REQUIRE(f.store->write({}, [](storage::Tx&) { return Result<>(); }));  // behind the write of the keys
    f.open();
    CHECK(f.scram(std::string(kAlice), "older"));
    REQUIRE(f.store->write({}, [](storage::Tx& tx) { return tx.catalog().set_setting("auth.scram", "off"); }));
    f.open();
    CHECK(offers().front() == "PLAIN");
}

TEST_CASE("a revoked app password and a changed password end what logged in with them") {
    Fixture f;
    auto by_app = f.plain(std::string(kAlice), f.add_app_password());
    auto by_password = f.plain(std::string(kAlice), "secret");
    REQUIRE(by_app);
    const auto good = [&f](server::Identity& who) {
        f.authenticator->refresh();
        return test::run_task(f.loop, f.authenticator->recheck(who)).has_value();
    };
    CHECK(good(*by_app));
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) { return storage::CredentialTx(tx).revoke(f.alice, "phone"); }));
    CHECK_FALSE(good(*by_app));
    CHECK(good(*by_password));
    f.set_password("another");
    CHECK_FALSE(good(*by_password));
    CHECK(f.plain(std::string(kAlice), "secret").error().code == Errc::unauthenticated);
}

TEST_CASE("wrong proofs are guesses like wrong passwords, and the limit is the same for both") {
    Fixture f;
    for (int i = 0; i < 10; ++i) CHECK(f.scram("a@a.example", "x").error().code == Errc::unauthenticated);
    CHECK(f.scram(std::string(kAlice), "secret").error().code == Errc::limit);
    CHECK(f.plain(std::string(kAlice), "secret").error().code == Errc::limit);
    f.clock.time += std::chrono::minutes(1);
    CHECK(f.scram(std::string(kAlice), "secret"));
    // 20 an hour against the account, from everywhere; its owner's network stays open to him.
    for (int i = 0; i < 20; ++i) {
        const auto from = *net::IpAddress::parse("198.51.100." + std::to_string(i + 1));
        CHECK(f.scram(std::string(kAlice), "x", {}, from).error().code == Errc::unauthenticated);
    }
    CHECK(f.scram(std::string(kAlice), "secret", {}, *net::IpAddress::parse("203.0.113.1")).error().code ==
          Errc::limit);
    CHECK(f.scram(std::string(kAlice), "secret"));
}

TEST_CASE("tokens stand for the account that their judge names, and only for it") {
    Fixture f;
    f.options.judge_token = [](const std::string& token) -> Result<std::string> {
        if (token == "hers") return std::string("Alice@a.example");
        if (token == "strangers") return std::string("mallory@a.example");
        if (token == "later") return Error(Errc::unavailable, "the provider does not answer");
        return Error(Errc::unauthenticated, "not good");
    };
    f.open();
    CHECK(LoginExchange::begin(*f.authenticator, "OAUTHBEARER", {}, kHome, "test") == nullptr);
    REQUIRE(f.store->write(
        {}, [](storage::Tx& tx) { return tx.catalog().set_setting("oidc.issuer", "https://id.example"); }));
    f.open();
    const auto run = [&f](const std::string& login, const std::string& token) {
        const auto exchange = LoginExchange::begin(*f.authenticator, "XOAUTH2", {}, kHome, "test");
        REQUIRE(exchange);
        auto step = f.start(*exchange, "user=" + login + "\1auth=Bearer " + token + "\1\1");
        if (!step || step->identity) return step;
        CHECK(step->challenge.contains("401"));
        return f.answer(*exchange, "");
    };
    CHECK(run("alice@a.example", "hers")->identity->credential.kind == server::Credential::Kind::token);
    CHECK(run("bob@a.example", "hers").error().code == Errc::unauthenticated);
    CHECK(run("mallory@a.example", "strangers").error().code == Errc::unauthenticated);
    CHECK(run("alice@a.example", "forged").error().code == Errc::unauthenticated);
    CHECK(run("alice@a.example", "later").error().code == Errc::unavailable);
}
