#include "server/auth/authenticator.h"

#include <deque>
#include <unordered_map>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "server/auth/failures.h"

namespace posthouse::server {

namespace {

constexpr std::size_t kRememberedMax = 4096;
constexpr std::chrono::minutes kRememberedFor{10};
constexpr std::size_t kLoginOctetsMax = 320;  // local part, "@", domain
constexpr std::size_t kPasswordOctetsMax = 1024;

// What the pool found out about one claim.
struct Check {
    bool right = false;
    storage::AccountId account{};
    std::string address;
};

Result<Check> check_claim(storage::Store& store, const std::string& login, const std::string& password) {
    Check out;
    auto look = [&](const storage::Snapshot& snapshot) { return snapshot.catalog().account(login); };
    const Result<storage::Account> account = store.read(look);
    if (!account && account.error().code != Errc::not_found) return Error(account.error());
    // Unknown and disabled logins cost the same hash as known ones: the clock tells nobody who lives here.
    const bool usable = account && !account->disabled && !account->password_hash.empty();
    const std::string& hash = usable ? account->password_hash : crypto::decoy_password_hash();
    const bool matches = crypto::verify_password(hash, password);
    out.right = usable && matches;
    if (out.right) {
        out.account = account->id;
        out.address = account->address;
    }
    return out;
}

class StoreAuthenticator final : public Authenticator {
 public:
    StoreAuthenticator(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, const Clock& clock,
                       Metrics& metrics)
        : store_(store),
          loop_(loop),
          pool_(pool),
          clock_(clock),
          succeeded_(metrics.counter("auth_succeeded_total", "Logins that succeeded")),
          failed_(metrics.counter("auth_failed_total", "Logins with a wrong name or password")),
          limited_(metrics.counter("auth_limited_total", "Logins refused unseen after too many failures")),
          key_(crypto::random_octets(32)),
          settled_(loop) {}

    net::Task<Result<Identity>> authenticate(std::string login, std::string password, net::IpAddress peer,
                                             std::string service) override {
        login = ascii::to_lower(login);
        if (login.size() > kLoginOctetsMax || password.size() > kPasswordOctetsMax) {
            co_return Error(Errc::unauthenticated, "the login or the password is too long");
        }
        const std::string proof = make_proof(login, password);
        Time now = clock_.now();
        // A house full of clients that come back at once: whoever exceeds the limit only by guesses that are being
        // judged waits for them, and then his password may be remembered already.
        for (;;) {
            if (auto known = recall(login, proof, now)) {
                succeeded_.add();
                failures_.succeeded(login, peer, now);
                co_return *std::move(known);
            }
            if (failures_.judge(login, peer, now) != Failures::Verdict::wait) break;
            settled_.reset();
            co_await settled_.wait();
            now = clock_.now();
        }
        if (failures_.judge(login, peer, now) == Failures::Verdict::refused) {
            limited_.add();
            log::warn("auth", "{}: login {} from {} refused unseen: too many failures", service, login,
                      peer.to_string());
            co_return Error(Errc::limit, "too many failed logins");
        }
        const Failures::Charge charge = failures_.charge(login, peer, now);
        const std::uint64_t generation = generation_;
        auto job = [&store = store_, login, password = std::move(password)] {
            return check_claim(store, login, password);
        };
        auto check = co_await net::offload(pool_, loop_, std::move(job));
        if (check && !check->right)
            failures_.confirm(charge);
        else
            failures_.forgive(charge);
        Result<Identity> identity = Error(Errc::unauthenticated, "wrong login or password");
        if (!check) {
            identity = Error(check.error());
        } else if (!check->right) {
            failed_.add();
            log::warn("auth", "{}: login {} from {} failed", service, login, peer.to_string());
        } else {
            failures_.succeeded(login, peer, now);
            succeeded_.add();
            Identity who;
            who.account = check->account;
            who.address = std::move(check->address);
            if (generation == generation_) remember(login, proof, who, now);
            log::info("auth", "{}: login {} from {}", service, login, peer.to_string());
            identity = std::move(who);
        }
        settled_.set();  // what there is to know is known now
        co_return identity;
    }

    void refresh() override {
        // Which account changed is not told: all are asked again, at the cost of one hash each.
        ++generation_;
        remembered_.clear();
        order_.clear();
    }

 private:
    struct Remembered {
        std::string proof;
        Identity identity;
        Time until{};
    };

    // Tells nothing about the password to whoever reads this memory later: the key dies with the process.
    std::string make_proof(const std::string& login, const std::string& password) const {
        const auto digest = crypto::hmac_sha256(key_, login + '\0' + password);
        return std::string(digest.begin(), digest.end());
    }

    std::optional<Identity> recall(const std::string& login, const std::string& proof, Time now) const {
        const auto found = remembered_.find(login);
        if (found == remembered_.end() || found->second.until < now) return std::nullopt;
        if (!crypto::equal_constant_time(found->second.proof, proof)) return std::nullopt;
        return found->second.identity;
    }

    void remember(const std::string& login, std::string proof, const Identity& identity, Time now) {
        if (!remembered_.contains(login)) order_.push_back(login);
        Remembered& slot = remembered_[login];
        slot.proof = std::move(proof);
        slot.identity = identity;
        slot.until = now + kRememberedFor;
        while (order_.size() > kRememberedMax) {
            remembered_.erase(order_.front());
            order_.pop_front();
        }
    }

    storage::Store& store_;
    net::Loop& loop_;
    net::ThreadPool& pool_;
    const Clock& clock_;
    Metrics::Value& succeeded_;
    Metrics::Value& failed_;
    Metrics::Value& limited_;
    std::string key_;
    Failures failures_;
    net::Event settled_;  // set whenever a guess has been judged
    std::unordered_map<std::string, Remembered> remembered_;
    std::deque<std::string> order_;
    std::uint64_t generation_ = 0;
};

}  // namespace

std::unique_ptr<Authenticator> make_authenticator(storage::Store& store, net::Loop& loop, net::ThreadPool& crypto_pool,
                                                  const Clock& clock, Metrics& metrics) {
    return std::make_unique<StoreAuthenticator>(store, loop, crypto_pool, clock, metrics);
}

}  // namespace posthouse::server
