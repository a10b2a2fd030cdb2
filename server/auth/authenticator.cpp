#include "server/auth/authenticator.h"

#include <atomic>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "server/auth/claim.h"
#include "server/auth/failures.h"
#include "server/auth/remembered.h"

namespace posthouse::server {

namespace {

constexpr std::size_t kLoginOctetsMax = 320;  // local part, "@", domain
constexpr std::size_t kPasswordOctetsMax = 1024;

Error wrong() { return Error(Errc::unauthenticated, "wrong login or password"); }

class StoreAuthenticator final : public Authenticator {
 public:
    StoreAuthenticator(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, const Clock& clock,
                       Metrics& metrics, AuthenticatorOptions options)
        : store_(store),
          loop_(loop),
          pool_(pool),
          clock_(clock),
          options_(std::move(options)),
          succeeded_(metrics.counter("auth_succeeded_total", "Logins that succeeded")),
          failed_(metrics.counter("auth_failed_total", "Logins with a wrong name or password")),
          limited_(metrics.counter("auth_limited_total", "Logins refused unseen after too many failures")),
          settled_(loop) {
        look_at_offers(store_, *offers_);
    }

    net::Task<Result<Identity>> authenticate(std::string login, std::string password, net::IpAddress peer,
                                             std::string service) override {
        if (login.size() > kLoginOctetsMax || password.size() > kPasswordOctetsMax) {
            co_return Error(Errc::unauthenticated, "the login or the password is too long");
        }
        const LoginName who_asks(login);
        login = who_asks.name;
        const std::string proof = remembered_.proof_of(login, password);
        Time now = clock_.now();
        // A house full of clients that come back at once: whoever exceeds the limit only by guesses that are being
        // judged waits for them, and then his password may be remembered already.
        for (;;) {
            if (auto known = remembered_.recall(proof, now)) {
                succeeded_.add();
                failures_.succeeded(login, peer, now);
                co_return *std::move(known);
            }
            if (failures_.judge(login, peer, now) != Failures::Verdict::wait) break;
            settled_.reset();
            co_await settled_.wait();
            now = clock_.now();
        }
        CO_TRY_VOID(admit(login, peer, service, now));
        const Failures::Charge charge = failures_.charge(login, peer, now);
        const std::uint64_t generation = generation_;
        auto job = [&store = store_, who_asks, password = std::move(password), now] {
            return check_password(store, who_asks, password, now);
        };
        auto check = co_await net::offload(pool_, loop_, std::move(job));
        if (check && !check->right)
            failures_.confirm(charge);
        else
            failures_.forgive(charge);
        Result<Identity> identity = wrong();
        if (!check) {
            identity = Error(check.error());
        } else if (!check->right) {
            note_failure(login, peer, service);
        } else {
            Identity who = std::move(check->identity);
            who.generation = generation;
            note_success(login, peer, service, now);
            if (generation == generation_) remembered_.keep(proof, who, now);
            note_in_store(*check, who, now);
            identity = std::move(who);
        }
        settled_.set();  // what there is to know is known now
        co_return identity;
    }

    net::Task<Result<ProofOffer>> offer_proof(std::string login, net::IpAddress peer, std::string service) override {
        if (login.size() > kLoginOctetsMax) co_return Error(Errc::unauthenticated, "the login is too long");
        const LoginName who_asks(login);
        CO_TRY_VOID(admit(who_asks.name, peer, service, clock_.now()));
        const std::uint64_t generation = generation_;
        auto job = [&store = store_, who_asks] { return find_keys(store, who_asks); };
        auto offer = co_await net::offload(pool_, loop_, std::move(job));
        if (offer) {
            for (Identity& identity : offer->identities) identity.generation = generation;
        }
        co_return offer;
    }

    // A proof is judged at once, so that no guess is under way while it is counted.
    net::Task<Result<Identity>> judge_proof(ProofOffer offer, std::optional<std::size_t> proven, net::IpAddress peer,
                                            std::string service) override {
        const Time now = clock_.now();
        CO_TRY_VOID(admit(offer.login, peer, service, now));
        bool right = proven && *proven < offer.identities.size();
        if (right) {
            const auto good = co_await recheck(offer.identities[*proven]);
            if (!good && good.error().code != Errc::unauthenticated) co_return Error(good.error());
            right = good.has_value();
        }
        if (!right) {
            failures_.confirm(failures_.charge(offer.login, peer, now));
            note_failure(offer.login, peer, service);
            co_return wrong();
        }
        const Identity& who = offer.identities[*proven];
        note_success(offer.login, peer, service, now);
        if (who.credential.kind == Credential::Kind::app_password) {
            ClaimCheck used;
            used.note_use = static_cast<storage::AppPasswordId>(who.credential.mark);
            note_in_store(used, who, now);
        }
        co_return who;
    }

    net::Task<Result<Identity>> authenticate_token(std::string login, std::string token, net::IpAddress peer,
                                                   std::string service) override {
        if (!offers_->tokens || !options_.judge_token) co_return wrong();
        login = ascii::to_lower(login);
        if (login.size() > kLoginOctetsMax) co_return Error(Errc::unauthenticated, "the login is too long");
        const Time now = clock_.now();
        CO_TRY_VOID(admit(login, peer, service, now));
        const Failures::Charge charge = failures_.charge(login, peer, now);
        const std::uint64_t generation = generation_;
        auto job = [&store = store_, judge = options_.judge_token, token = std::move(token),
                    login]() -> Result<Identity> {
            TRY(const std::string address, judge(token));
            TRY(Identity who, find_token_account(store, address));
            if (login.empty() || login == who.address) return who;
            return Error(Errc::unauthenticated, "the token stands for " + who.address + ", not for " + login);
        };
        auto identity = co_await net::offload(*options_.token_pool, loop_, std::move(job));
        const bool refused = !identity && identity.error().code == Errc::unauthenticated;
        if (refused)
            failures_.confirm(charge);
        else
            failures_.forgive(charge);
        settled_.set();
        if (identity) {
            identity->generation = generation;
            note_success(identity->address, peer, service, now);
        } else {
            log::warn("auth", "{}: a token was not taken: {}", service, identity.error().context);
            if (refused) note_failure(login, peer, service);
        }
        co_return identity;
    }

    net::Task<Result<>> recheck(Identity& identity) override {
        if (identity.generation == generation_) co_return Result<>();
        const std::uint64_t generation = generation_;
        auto job = [&store = store_, account = identity.account, credential = identity.credential] {
            return store.read(
                [&](const storage::Snapshot& snapshot) { return is_good(snapshot, account, credential); });
        };
        CO_TRY(const bool good, co_await net::offload(pool_, loop_, std::move(job)));
        if (!good) co_return Error(Errc::unauthenticated, "what it logged in with is not good any more");
        identity.generation = generation;
        co_return Result<>();
    }

    std::vector<std::string_view> mechanisms() const override {
        std::vector<std::string_view> out;
        if (offers_->scram) out.emplace_back("SCRAM-SHA-256");
        out.emplace_back("PLAIN");
        out.emplace_back("LOGIN");
        if (!offers_->tokens || !options_.judge_token) return out;
        out.emplace_back("OAUTHBEARER");
        out.emplace_back("XOAUTH2");
        return out;
    }

    void refresh() override {
        // Which account changed is not told: all are asked again, at the cost of one hash each.
        ++generation_;
        remembered_.clear();
        auto job = [&store = store_, offers = offers_] { look_at_offers(store, *offers); };
        if (!pool_.submit(std::move(job))) log::warn("auth", "what is offered stays as it was: too much work waits");
    }

 private:
    // Written on the pool, read on the loop.
    struct CurrentOffers {
        std::atomic<bool> scram = false;
        std::atomic<bool> tokens = false;
    };

    static void look_at_offers(storage::Store& store, CurrentOffers& into) {
        const auto offers = read_offers(store);
        if (!offers) return log::error("auth", "what is offered stays as it was: {}", offers.error().context);
        into.scram = offers->scram;
        into.tokens = offers->tokens;
    }

    Result<> admit(const std::string& login, net::IpAddress peer, const std::string& service, Time now) {
        if (failures_.judge(login, peer, now) != Failures::Verdict::refused) return {};
        limited_.add();
        log::warn("auth", "{}: login {} from {} refused unseen: too many failures", service, login, peer.to_string());
        return Error(Errc::limit, "too many failed logins");
    }
    void note_failure(const std::string& login, net::IpAddress peer, const std::string& service) {
        failed_.add();
        log::warn("auth", "{}: login {} from {} failed", service, login, peer.to_string());
    }
    void note_success(const std::string& login, net::IpAddress peer, const std::string& service, Time now) {
        failures_.succeeded(login, peer, now);
        succeeded_.add();
        log::info("auth", "{}: login {} from {}", service, login, peer.to_string());
    }

    // The login does not wait for it.
    void note_in_store(const ClaimCheck& check, const Identity& who, Time now) {
        if (!check.note_use && !check.new_keys) return;
        auto write = [use = check.note_use, keys = check.new_keys, hash = check.password_hash, account = who.account,
                      now](storage::Tx& tx) -> Result<> {
            storage::CredentialTx credentials(tx);
            if (use) TRY_VOID(credentials.note_use(*use, now));
            if (keys) TRY_VOID(credentials.set_scram_keys(account, hash, *keys));
            return {};
        };
        auto done = [](Result<> result) {
            if (!result) log::warn("auth", "a login could not be noted: {}", result.error().context);
        };
        store_.submit({}, std::move(write), loop_, std::move(done));
    }

    storage::Store& store_;
    net::Loop& loop_;
    net::ThreadPool& pool_;
    const Clock& clock_;
    AuthenticatorOptions options_;
    Metrics::Value& succeeded_;
    Metrics::Value& failed_;
    Metrics::Value& limited_;
    Failures failures_;
    net::Event settled_;  // set whenever a guess has been judged
    Remembered remembered_;
    std::uint64_t generation_ = 1;
    const std::shared_ptr<CurrentOffers> offers_ = std::make_shared<CurrentOffers>();
};

Error not_offered() { return Error(Errc::unauthenticated, "this way to log in is not offered"); }

}  // namespace

net::Task<Result<ProofOffer>> Authenticator::offer_proof(std::string, net::IpAddress, std::string) {
    co_return not_offered();
}
net::Task<Result<Identity>> Authenticator::judge_proof(ProofOffer, std::optional<std::size_t>, net::IpAddress,
                                                       std::string) {
    co_return not_offered();
}
net::Task<Result<Identity>> Authenticator::authenticate_token(std::string, std::string, net::IpAddress, std::string) {
    co_return not_offered();
}
net::Task<Result<>> Authenticator::recheck(Identity&) { co_return Result<>(); }

std::unique_ptr<Authenticator> make_authenticator(storage::Store& store, net::Loop& loop, net::ThreadPool& crypto_pool,
                                                  const Clock& clock, Metrics& metrics, AuthenticatorOptions options) {
    return std::make_unique<StoreAuthenticator>(store, loop, crypto_pool, clock, metrics, std::move(options));
}

}  // namespace posthouse::server
