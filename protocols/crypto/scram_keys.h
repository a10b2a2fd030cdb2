#pragma once
/// protocols/crypto/scram_keys: what a server keeps of a password so that SCRAM can prove it (RFC 5802 3, RFC 7677).
/// Who reads it learns nothing that logs in; it only lets him guess, at the price of one derivation a guess.
/// Threads: pure.
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/crypto/crypto.h"

namespace posthouse::crypto {

/// For new keys. RFC 7677 4 asks for 4,096 at least; some clients refuse more than 65,536.
inline constexpr std::uint32_t kScramIterations = 32'768;

struct ScramKeys {
    std::string salt;
    std::uint32_t iterations = 0;
    std::string stored_key;  ///< H(ClientKey), 32 octets
    std::string server_key;  ///< HMAC(SaltedPassword, "Server Key"), 32 octets

    ScramKeys() = default;
};

/// Hi() of RFC 5802 2.2: PBKDF2 with HMAC-SHA-256. Costs some ten milliseconds at kScramIterations.
Sha256Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations);
/// `password` has been prepared (sasl::prepare).
ScramKeys derive_scram_keys(std::string_view password, std::string salt, std::uint32_t iterations);

}  // namespace posthouse::crypto
