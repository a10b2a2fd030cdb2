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

/// A login: prepared, under which it is looked up and counted; and in lower case as it was typed, which finds accounts
/// that were named before names were prepared.
struct LoginName {
    std::string name;
    std::string typed;

    explicit LoginName(const std::string& as_typed);
};

/// The password is tried as prepared, and as typed: hashes may be older than the preparation (RFC 8265 4.2).
Result<ClaimCheck> check_password(storage::Store& store, const LoginName& login, const std::string& password, Time now);
/// What a login that nobody has is offered looks alike.
Result<ProofOffer> find_keys(storage::Store& store, const LoginName& login);
/// The identity behind an address that a token stands for. Errc::unauthenticated.
Result<Identity> find_token_account(storage::Store& store, const std::string& address);

/// What is offered besides passwords.
struct Offers {
    bool scram = false;
    bool tokens = false;
};
Result<Offers> read_offers(storage::Store& store);

}  // namespace posthouse::server
