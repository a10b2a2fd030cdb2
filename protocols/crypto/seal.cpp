#include <sodium.h>

#include "protocols/crypto/crypto.h"

namespace posthouse::crypto {

namespace {

// box = version(1) nonce(24) ciphertext tag(16)
constexpr char kVersion = 1;
constexpr std::size_t kNonceOctets = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTagOctets = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t kKeyOctets = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
static_assert(kKeyOctets == 32);

const unsigned char* octets_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

std::string seal(std::string_view key32, std::string_view purpose, std::string_view secret) {
    ASSERT(key32.size() == kKeyOctets);
    std::string box(1, kVersion);
    box += random_octets(kNonceOctets);
    const std::size_t head = box.size();
    box.resize(head + secret.size() + kTagOctets);
    unsigned long long written = 0;
    crypto_aead_xchacha20poly1305_ietf_encrypt(reinterpret_cast<unsigned char*>(box.data() + head), &written,
                                               octets_of(secret), secret.size(), octets_of(purpose), purpose.size(),
                                               nullptr, octets_of(box) + 1, octets_of(key32));
    ASSERT(head + written == box.size());
    return box;
}

Result<std::string> unseal(std::string_view key32, std::string_view purpose, std::string_view box) {
    if (key32.size() != kKeyOctets) return Error(Errc::invalid, "the sealing key does not have 32 octets");
    if (box.size() < 1 + kNonceOctets + kTagOctets || box.front() != kVersion) {
        return Error(Errc::corrupt, "this is not a sealed secret");
    }
    const std::string_view nonce = box.substr(1, kNonceOctets);
    const std::string_view sealed = box.substr(1 + kNonceOctets);
    std::string secret(sealed.size() - kTagOctets, '\0');
    unsigned long long written = 0;
    const int outcome = crypto_aead_xchacha20poly1305_ietf_decrypt(
        reinterpret_cast<unsigned char*>(secret.data()), &written, nullptr, octets_of(sealed), sealed.size(),
        octets_of(purpose), purpose.size(), octets_of(nonce), octets_of(key32));
    if (outcome != 0) return Error(Errc::corrupt, "a sealed secret does not open: wrong key, purpose or octets");
    return secret;
}

}  // namespace posthouse::crypto
