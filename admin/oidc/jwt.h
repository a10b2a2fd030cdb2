#pragma once
/// admin/oidc/jwt: JSON Web Tokens (RFC 7519) signed with RS256, ES256 or EdDSA (RFC 7518 3, RFC 8037 3.1), and the key
/// sets that go with them (RFC 7517 5).
/// Invariants  1. Nothing of a token's claims is looked at before its signature is right.
///             2. The key decides the algorithm, not the token: "none", HMAC and a mismatch are refused.
/// Threads: pure.   Limits: kJwtOctetsMax, kJwksKeysMax.
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/crypto/public_key.h"

namespace posthouse::admin {

inline constexpr std::size_t kJwtOctetsMax = 8UL * 1024;
inline constexpr std::size_t kJwksKeysMax = 32;
inline constexpr std::chrono::seconds kClockSkewMax{60};  ///< between the provider's clock and ours

/// A provider's key.
struct Jwk {
    std::string id;         ///< kid; "" where it has none
    std::string algorithm;  ///< "RS256", "ES256", "EdDSA": what its kind of key signs with
    crypto::PublicKey key;

    Jwk(std::string kid, std::string alg, crypto::PublicKey of)
        : id(std::move(kid)), algorithm(std::move(alg)), key(std::move(of)) {}
};

/// All keys of a set that we can use; others are passed over. Errc::invalid for what is no key set.
Result<std::vector<Jwk>> parse_jwks(const std::string& json);

/// What must be true of a token.
struct JwtRules {
    std::string issuer;
    std::string audience;
    Time now{};

    JwtRules() = default;
};

/// The claims of a JSON object that are strings, numbers or booleans, as text; those that are lists of strings too.
struct Claims {
    std::map<std::string, std::string, std::less<>> texts;
    std::map<std::string, std::vector<std::string>, std::less<>> lists;

    std::string_view text(std::string_view name) const;  ///< "" where there is none
    bool names(std::string_view claim, std::string_view value) const;
};
Result<Claims> parse_claims(const std::string& json);
/// exp, nbf, iss (where `rules` has one) and aud. Errc::unauthenticated says what is wrong.
Result<> check_claims(const Claims& claims, const JwtRules& rules);

/// The kid in a token's header, not to be believed yet. Errc::unauthenticated for what is no JWT.
Result<std::string> key_id_of(std::string_view token);
/// Errc::unauthenticated: not signed by any of these keys, or against the rules.
Result<Claims> open_jwt(std::string_view token, const std::vector<Jwk>& keys, const JwtRules& rules);

}  // namespace posthouse::admin
