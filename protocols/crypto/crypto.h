#pragma once
/// protocols/crypto: digests, signatures, password hashing, sealing and base64; the only EVP and libsodium calls.
///
/// Keys and secrets are wiped when their holder dies. Nothing here reads a file.
/// Threads: all functions are reentrant; call init() once at start.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::crypto {

/// Starts libsodium and OpenSSL; Errc::internal where they refuse.
Result<> init();

using Sha256Digest = std::array<std::uint8_t, 32>;
Sha256Digest sha256(std::string_view octets);
/// Incremental, for bodies that come in pieces.
class Sha256 {
 public:
    Sha256();
    ~Sha256();
    Sha256(Sha256&&) noexcept;
    Sha256& operator=(Sha256&&) noexcept;
    void update(std::string_view octets);
    Sha256Digest finish();

 private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};
Sha256Digest hmac_sha256(std::string_view key, std::string_view octets);
std::string hex(std::span<const std::uint8_t> octets);
bool equal_constant_time(std::string_view a, std::string_view b);

/// RFC 4648 base64 with padding, no line breaks; decode is strict (Errc::invalid).
std::string base64_encode(std::string_view octets);
Result<std::string> base64_decode(std::string_view text);

/// argon2id with libsodium's interactive limits; the string holds salt and cost ("$argon2id$...").
/// Costs tens of milliseconds and 64 MiB: through net::offload only.
Result<std::string> hash_password(std::string_view password);
bool verify_password(std::string_view hash, std::string_view password);
/// A hash that matches nothing: an unknown user costs as much as a wrong password.
const std::string& decoy_password_hash();

/// Seals a secret for the database with a 32-octet key kept outside it (XChaCha20-Poly1305, random nonce).
/// `purpose` is bound to the box: what was sealed as a DKIM key does not open as a relay password.
std::string seal(std::string_view key32, std::string_view purpose, std::string_view secret);
Result<std::string> unseal(std::string_view key32, std::string_view purpose, std::string_view box);
/// `count` random octets.
std::string random_octets(std::size_t count);

enum class SigningAlgorithm { rsa_sha256, ed25519_sha256 };

/// A private signing key (DKIM). Made once, used often: it keeps the parsed key.
class SigningKey {
 public:
    static Result<SigningKey> generate(SigningAlgorithm algorithm);  ///< RSA is 2048 bit
    /// PEM (PKCS#8) for RSA and Ed25519 alike.
    static Result<SigningKey> from_pem(SigningAlgorithm algorithm, std::string_view pem);
    SigningKey(SigningKey&&) noexcept;
    SigningKey& operator=(SigningKey&&) noexcept;
    ~SigningKey();

    SigningAlgorithm algorithm() const;
    std::string to_pem() const;
    /// The p= value of the DNS record: base64 of SubjectPublicKeyInfo (RSA), of the 32 raw octets (Ed25519, RFC 8463
    /// 4.2).
    std::string dns_public_key() const;
    /// RSA: PKCS#1 v1.5 over the digest; Ed25519: over the digest octets (RFC 8463 3).
    Result<std::string> sign_digest(const Sha256Digest& digest) const;

 private:
    struct Impl;
    explicit SigningKey(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// `dns_public_key` as in a DKIM record's p= (base64). Errc::invalid for a key that cannot be read or is too weak.
Result<bool> verify_digest(SigningAlgorithm algorithm, std::string_view dns_public_key, const Sha256Digest& digest,
                           std::string_view signature);

/// A self-signed certificate (ECDSA P-256) and its key as PEM, for the first start. `days` of validity.
struct SelfSigned {
    std::string certificate_pem;
    std::string key_pem;
};
Result<SelfSigned> make_self_signed(std::span<const std::string> dns_names, int days);

/// What the first certificate of a PEM file says, for `doctor`. Errc::invalid where there is none.
struct CertificateFacts {
    std::vector<std::string> dns_names;  ///< subjectAltName (RFC 9525 3)
    std::int64_t not_before_unix = 0;    ///< seconds, UTC
    std::int64_t not_after_unix = 0;
    bool self_signed = false;            ///< issuer and subject are the same
};
Result<CertificateFacts> read_certificate(std::string_view pem);

}  // namespace posthouse::crypto
