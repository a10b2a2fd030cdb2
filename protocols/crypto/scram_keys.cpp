#include "protocols/crypto/scram_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "protocols/crypto/openssl_ptr.h"

namespace posthouse::crypto {

namespace {

std::string_view text_of(const Sha256Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

Sha256Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations) {
    ASSERT(iterations > 0);
    Sha256Digest out{};
    const int done = PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), octets_of(salt),
                                       static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                                       static_cast<int>(out.size()), out.data());
    ASSERT(done == 1);
    return out;
}

ScramKeys derive_scram_keys(std::string_view password, std::string salt, std::uint32_t iterations) {
    Sha256Digest salted = pbkdf2_sha256(password, salt, iterations);
    Sha256Digest client_key = hmac_sha256(text_of(salted), "Client Key");
    ScramKeys out;
    out.salt = std::move(salt);
    out.iterations = iterations;
    out.stored_key = text_of(sha256(text_of(client_key)));
    out.server_key = text_of(hmac_sha256(text_of(salted), "Server Key"));
    OPENSSL_cleanse(salted.data(), salted.size());
    OPENSSL_cleanse(client_key.data(), client_key.size());
    return out;
}

}  // namespace posthouse::crypto
