#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "protocols/crypto/crypto.h"
#include "protocols/crypto/openssl_ptr.h"

namespace posthouse::crypto {

namespace {

constexpr unsigned kRsaBitsMade = 2048;
constexpr int kRsaBitsMin = 1024;  // RFC 8301 3.2: verifiers MUST NOT consider shorter ones valid
constexpr int kRsaBitsMax = 8192;  // bounds what one signature can cost us
constexpr std::size_t kEd25519KeyOctets = 32;
constexpr std::size_t kPublicKeyTextMax = 4096;

int key_type(SigningAlgorithm algorithm) {
    return algorithm == SigningAlgorithm::rsa_sha256 ? EVP_PKEY_RSA : EVP_PKEY_ED25519;
}

// Never asks the terminal for a pass phrase.
int no_pass_phrase(char*, int, int, void*) { return 0; }

Result<> check_rsa_size(EVP_PKEY* key) {
    const int bits = EVP_PKEY_get_bits(key);
    if (bits >= kRsaBitsMin && bits <= kRsaBitsMax) return {};
    return Error(Errc::invalid, fmt::format("an RSA key of {} bits is not accepted", bits));
}

Result<KeyPtr> read_public_rsa(std::string_view der) {
    const unsigned char* at = octets_of(der);
    KeyPtr key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
    if (!key) {
        // RFC 6376 3.6.1 says RSAPublicKey where everyone publishes SubjectPublicKeyInfo (errata 3017): both are read.
        at = octets_of(der);
        key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, static_cast<long>(der.size())));
    }
    ERR_clear_error();
    if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) {
        return Error(Errc::invalid, "the public key is not an RSA key");
    }
    TRY_VOID(check_rsa_size(key.get()));
    return key;
}

Result<KeyPtr> read_public_ed25519(std::string_view raw) {
    if (raw.size() != kEd25519KeyOctets) {
        return Error(Errc::invalid, "an Ed25519 public key has 32 octets (RFC 8463 4.2)");
    }
    KeyPtr key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, octets_of(raw), raw.size()));
    if (!key) return openssl_error(Errc::invalid, "the Ed25519 public key cannot be read");
    return key;
}

bool verify_rsa(EVP_PKEY* key, const Sha256Digest& digest, std::string_view signature) {
    const KeyContextPtr context(EVP_PKEY_CTX_new(key, nullptr));
    return context && EVP_PKEY_verify_init(context.get()) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1 &&
           EVP_PKEY_verify(context.get(), octets_of(signature), signature.size(), digest.data(), digest.size()) == 1;
}

bool verify_ed25519(EVP_PKEY* key, const Sha256Digest& digest, std::string_view signature) {
    const DigestContextPtr context(EVP_MD_CTX_new());
    return context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
           EVP_DigestVerify(context.get(), octets_of(signature), signature.size(), digest.data(), digest.size()) == 1;
}

}  // namespace

struct SigningKey::Impl {
    SigningAlgorithm algorithm = SigningAlgorithm::rsa_sha256;
    KeyPtr key;
};

SigningKey::SigningKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

Result<SigningKey> SigningKey::generate(SigningAlgorithm algorithm) {
    auto impl = std::make_unique<Impl>();
    impl->algorithm = algorithm;
    impl->key.reset(algorithm == SigningAlgorithm::rsa_sha256
                        ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(kRsaBitsMade))
                        : EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    if (!impl->key) return openssl_error(Errc::internal, "no signing key could be made");
    return SigningKey(std::move(impl));
}

Result<SigningKey> SigningKey::from_pem(SigningAlgorithm algorithm, std::string_view pem) {
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    auto impl = std::make_unique<Impl>();
    impl->algorithm = algorithm;
    if (bio) impl->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
    if (!impl->key) return openssl_error(Errc::invalid, "the private key cannot be read as PEM");
    if (EVP_PKEY_get_base_id(impl->key.get()) != key_type(algorithm)) {
        return Error(Errc::invalid, "the private key is of another algorithm");
    }
    if (algorithm == SigningAlgorithm::rsa_sha256) TRY_VOID(check_rsa_size(impl->key.get()));
    return SigningKey(std::move(impl));
}

SigningAlgorithm SigningKey::algorithm() const { return impl_->algorithm; }

std::string SigningKey::to_pem() const {
    const BioPtr bio(BIO_new(BIO_s_secmem()));
    ASSERT(bio != nullptr);
    const int done = PEM_write_bio_PKCS8PrivateKey(bio.get(), impl_->key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    ASSERT(done == 1);
    return text_of(bio.get());
}

std::string SigningKey::dns_public_key() const {
    if (impl_->algorithm == SigningAlgorithm::ed25519_sha256) {
        std::string raw(kEd25519KeyOctets, '\0');
        std::size_t length = raw.size();
        const int done =
            EVP_PKEY_get_raw_public_key(impl_->key.get(), reinterpret_cast<unsigned char*>(raw.data()), &length);
        ASSERT(done == 1 && length == raw.size());
        return base64_encode(raw);
    }
    unsigned char* der = nullptr;
    const int length = i2d_PUBKEY(impl_->key.get(), &der);
    ASSERT(length > 0);
    const std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(length));
    OPENSSL_free(der);
    return base64_encode(out);
}

Result<std::string> SigningKey::sign_digest(const Sha256Digest& digest) const {
    std::string out(static_cast<std::size_t>(EVP_PKEY_get_size(impl_->key.get())), '\0');
    auto* const into = reinterpret_cast<unsigned char*>(out.data());
    std::size_t length = out.size();
    bool done = false;
    if (impl_->algorithm == SigningAlgorithm::ed25519_sha256) {
        const DigestContextPtr context(EVP_MD_CTX_new());
        done = context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, impl_->key.get()) == 1 &&
               EVP_DigestSign(context.get(), into, &length, digest.data(), digest.size()) == 1;
    } else {
        const KeyContextPtr context(EVP_PKEY_CTX_new(impl_->key.get(), nullptr));
        done = context && EVP_PKEY_sign_init(context.get()) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1 &&
               EVP_PKEY_sign(context.get(), into, &length, digest.data(), digest.size()) == 1;
    }
    if (!done) return openssl_error(Errc::internal, "signing failed");
    out.resize(length);
    return out;
}

Result<bool> verify_digest(SigningAlgorithm algorithm, std::string_view dns_public_key, const Sha256Digest& digest,
                           std::string_view signature) {
    if (dns_public_key.size() > kPublicKeyTextMax) return Error(Errc::invalid, "the public key is too long");
    TRY(const std::string octets, base64_decode(dns_public_key));
    const bool rsa = algorithm == SigningAlgorithm::rsa_sha256;
    TRY(const KeyPtr key, rsa ? read_public_rsa(octets) : read_public_ed25519(octets));
    const bool good = rsa ? verify_rsa(key.get(), digest, signature) : verify_ed25519(key.get(), digest, signature);
    ERR_clear_error();  // a wrong signature leaves its reasons in the queue
    return good;
}

}  // namespace posthouse::crypto
