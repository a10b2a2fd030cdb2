#pragma once
/// server/auth: who is it? One room for submission and IMAP; identity comes from nowhere else.
///   authenticator.h  passwords, proofs and tokens against the accounts    exchange.h  a SASL dialogue on top of it
///   credential.h     what a session logged in with                        failures.h  who has guessed how often
///
/// A password is checked against the account's app passwords and then its argon2id hash, on the crypto pool; an unknown
/// login costs one decoy hash and gets the same answer. A verified password may be remembered in memory as a keyed hash
/// (dropped when the catalog changes). SCRAM proves the same passwords (storage/credentials.h); a login without keys is
/// offered a salt all the same. A token is judged by whoever the composition root connects.
/// Limits (per address /32 or /64 and per account; reference figures of the project's limits table): failures a minute
/// and a day per network, failures an hour per account from networks that have not logged in before.
/// Errors: unauthenticated (wrong, unknown or disabled: one text), limit (too many failures: try later), unavailable.
/// Threads: the loop's.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/metrics.h"
#include "protocols/base/result.h"
#include "protocols/crypto/scram_keys.h"
#include "protocols/net/address.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "server/auth/credential.h"
#include "storage/store.h"

namespace posthouse::server {

struct Identity {
    storage::AccountId account{};
    std::string address;  ///< the account's own address, as stored
    Credential credential;
    std::uint64_t generation = 0;  ///< of the catalog in which it was good
};

/// Keys that a client may prove to know, and who it is then. Of a login that nobody has: keys that nothing proves.
struct ProofOffer {
    std::string login;
    std::vector<crypto::ScramKeys> keys;
    std::vector<Identity> identities;  ///< one for each of the keys; none where nobody has the login

    ProofOffer() = default;
};

class Authenticator {
 public:
    virtual ~Authenticator() = default;
    /// `service` is "submission" or "imap", for the log.
    virtual net::Task<Result<Identity>> authenticate(std::string login, std::string password, net::IpAddress peer,
                                                     std::string service) = 0;
    /// Before and after a proof: judge_proof() counts what came of it. `proven`: the index of the keys.
    virtual net::Task<Result<ProofOffer>> offer_proof(std::string login, net::IpAddress peer, std::string service);
    virtual net::Task<Result<Identity>> judge_proof(ProofOffer offer, std::optional<std::size_t> proven,
                                                    net::IpAddress peer, std::string service);
    /// `login`: whose it is meant to be; "" where the client does not say.
    virtual net::Task<Result<Identity>> authenticate_token(std::string login, std::string token, net::IpAddress peer,
                                                           std::string service);
    /// Errc::unauthenticated: what it logged in with is not good any more.
    virtual net::Task<Result<>> recheck(Identity& identity);
    /// What can be tried now, in the order in which it is offered; channel binding apart.
    virtual std::vector<std::string_view> mechanisms() const { return {"PLAIN", "LOGIN"}; }
    /// The catalog changed: forget remembered passwords, and look again at what is offered.
    virtual void refresh() = 0;
};

/// Says which account a token stands for, by address. May block. Errc::unauthenticated: it is not good; anything else:
/// that could not be found out now.
using TokenJudge = std::function<Result<std::string>(const std::string& token)>;

struct AuthenticatorOptions {
    TokenJudge judge_token;                 ///< null: tokens are not offered
    net::ThreadPool* token_pool = nullptr;  ///< where it blocks

    AuthenticatorOptions() = default;
    AuthenticatorOptions(TokenJudge judge, net::ThreadPool& pool) : judge_token(std::move(judge)), token_pool(&pool) {}
};

std::unique_ptr<Authenticator> make_authenticator(storage::Store& store, net::Loop& loop, net::ThreadPool& crypto_pool,
                                                  const Clock& clock, Metrics& metrics,
                                                  AuthenticatorOptions options = AuthenticatorOptions());

}  // namespace posthouse::server
