#include <openssl/crypto.h>
#include <sodium.h>

#include "protocols/crypto/crypto.h"

namespace posthouse::crypto {

Result<> init() {
    if (sodium_init() < 0) return Error(Errc::internal, "libsodium refuses to start");
    if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr) != 1) {
        return Error(Errc::internal, "OpenSSL refuses to start");
    }
    return {};
}

std::string random_octets(std::size_t count) {
    std::string out(count, '\0');
    randombytes_buf(out.data(), out.size());
    return out;
}

Result<std::string> hash_password(std::string_view password) {
    std::array<char, crypto_pwhash_STRBYTES> text{};
    const int outcome = crypto_pwhash_str(text.data(), password.data(), password.size(),
                                          crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE);
    if (outcome != 0) return Error(Errc::unavailable, "there is not enough memory to hash a password");
    return std::string(text.data());
}

bool verify_password(std::string_view hash, std::string_view password) {
    if (hash.size() >= crypto_pwhash_STRBYTES) return false;
    std::array<char, crypto_pwhash_STRBYTES> text{};  // NUL behind the end, as libsodium wants it
    hash.copy(text.data(), hash.size());
    return crypto_pwhash_str_verify(text.data(), password.data(), password.size()) == 0;
}

const std::string& decoy_password_hash() {
    // Of a password that nobody knows; made at the first call, with the costs of every other hash.
    static const std::string decoy = hash_password(random_octets(32)).value_or(std::string());
    return decoy;
}

}  // namespace posthouse::crypto
