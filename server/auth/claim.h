#pragma once
/// server/auth/claim: what the store says of a claim. Blocking; for the pool. Threads: any.
#include <optional>
#include <string>

#include "protocols/crypto/scram_keys.h"
#include "server/auth/authenticator.h"

namespace posthouse::server {

/// What was found out about a login and a password.
struct ClaimCheck {
    bool right = false;
    Identity identity;
    std::optional<storage::AppPasswordId> note_use;  ///< its hour is to be noted
    std::optional<crypto::ScramKeys> new_keys;       ///< the account had none: the password is known now
    std::string password_hash;                       ///< that `new_keys` belong to
};

Result<ClaimCheck> check_password(storage::Store& store, const std::string& login, const std::string& password,
                                  Time now);
/// `decoy`: what a login that nobody has is offered.
Result<ProofOffer> find_keys(storage::Store& store, const std::string& login);
/// The identity behind an address that a token stands for. Errc::unauthenticated.
Result<Identity> find_token_account(storage::Store& store, const std::string& address);

/// What is offered besides passwords.
struct Offers {
    bool scram = false;
    bool tokens = false;
};
Result<Offers> read_offers(storage::Store& store);

}  // namespace posthouse::server
