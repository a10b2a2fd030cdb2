#pragma once
/// protocols/crypto/public_key: keys that others sign with, given by their numbers (RFC 7518 6, RFC 8037 2), and the
/// check of such a signature. Weak keys are refused. Threads: pure.
#include <memory>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::crypto {

class PublicKey {
 public:
    /// Modulus and exponent, big endian. Errc::invalid below 2048 or above 8192 bits (RFC 7518 3.3).
    static Result<PublicKey> rsa(std::string_view modulus, std::string_view exponent);
    /// A point of P-256, 32 octets each. Errc::invalid where it is not on the curve.
    static Result<PublicKey> p256(std::string_view x, std::string_view y);
    /// 32 octets.
    static Result<PublicKey> ed25519(std::string_view x);
    PublicKey(PublicKey&&) noexcept;
    PublicKey& operator=(PublicKey&&) noexcept;
    ~PublicKey();

    /// RSA: PKCS#1 v1.5 with SHA-256; P-256: ECDSA with SHA-256, r and s of 32 octets each; Ed25519: pure.
    bool verify(std::string_view octets, std::string_view signature) const;

 private:
    struct Impl;
    explicit PublicKey(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// RFC 4648 5 without padding, as RFC 7515 2 wants it. Errc::invalid.
Result<std::string> base64url_decode(std::string_view text);
std::string base64url_encode(std::string_view octets);

}  // namespace posthouse::crypto
