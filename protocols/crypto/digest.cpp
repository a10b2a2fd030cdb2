#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "protocols/crypto/crypto.h"
#include "protocols/crypto/openssl_ptr.h"

namespace posthouse::crypto {

namespace {

// Fetched once: looking an algorithm up by name costs more than hashing a short text.
const EVP_MD* sha256_algorithm() {
    static const EVP_MD* const algorithm = [] {
        const EVP_MD* fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
        return fetched == nullptr ? EVP_sha256() : fetched;
    }();
    return algorithm;
}

}  // namespace

Sha256Digest sha256(std::string_view octets) {
    Sha256Digest out{};
    const int done = EVP_Digest(octets.data(), octets.size(), out.data(), nullptr, sha256_algorithm(), nullptr);
    ASSERT(done == 1);
    return out;
}

struct Sha256::Impl {
    DigestContextPtr context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
    ASSERT(impl_->context != nullptr);
    const int done = EVP_DigestInit_ex(impl_->context.get(), sha256_algorithm(), nullptr);
    ASSERT(done == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view octets) {
    const int done = EVP_DigestUpdate(impl_->context.get(), octets.data(), octets.size());
    ASSERT(done == 1);
}

Sha256Digest Sha256::finish() {
    Sha256Digest out{};
    const int done = EVP_DigestFinal_ex(impl_->context.get(), out.data(), nullptr);
    ASSERT(done == 1);
    return out;
}

Sha256Digest hmac_sha256(std::string_view key, std::string_view octets) {
    Sha256Digest out{};
    // An empty key is all right (RFC 2104 2), a null pointer means something else to OpenSSL.
    const void* key_octets = key.empty() ? "" : key.data();
    const unsigned char* done = HMAC(sha256_algorithm(), key_octets, static_cast<int>(key.size()), octets_of(octets),
                                     octets.size(), out.data(), nullptr);
    ASSERT(done != nullptr);
    return out;
}

std::string hex(std::span<const std::uint8_t> octets) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    out.reserve(octets.size() * 2);
    for (const std::uint8_t octet : octets) {
        out += kDigits[octet >> 4U];
        out += kDigits[octet & 0xfU];
    }
    return out;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace posthouse::crypto
