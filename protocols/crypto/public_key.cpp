#include "protocols/crypto/public_key.h"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <sodium.h>

#include <array>
#include <utility>
#include <vector>

#include "protocols/crypto/openssl_ptr.h"

namespace posthouse::crypto {

namespace {

constexpr int kRsaBitsMin = 2048;
constexpr int kRsaBitsMax = 8192;  // bounds what one check can cost
constexpr std::size_t kNumberOctetsMax = 1024;
constexpr std::size_t kCurveOctets = 32;
constexpr std::size_t kTextOctetsMax = 64UL * 1024;

using NumberPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using ParametersPtr = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;
using EcSignaturePtr = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;

NumberPtr number_of(std::string_view octets) {
    return NumberPtr(BN_bin2bn(octets_of(octets), static_cast<int>(octets.size()), nullptr));
}

KeyPtr key_from(const char* type, OSSL_PARAM* parameters) {
    const KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    EVP_PKEY* key = nullptr;
    const bool made = context && parameters != nullptr && EVP_PKEY_fromdata_init(context.get()) == 1 &&
                      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters) == 1;
    return KeyPtr(made ? key : nullptr);
}

// r and s as two numbers of 32 octets (RFC 7518 3.4) -> the DER that OpenSSL reads.
std::string der_of(std::string_view signature) {
    EcSignaturePtr pair(ECDSA_SIG_new());
    NumberPtr r = number_of(signature.substr(0, kCurveOctets));
    NumberPtr s = number_of(signature.substr(kCurveOctets));
    if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return {};
    static_cast<void>(r.release());  // they belong to the pair now
    static_cast<void>(s.release());
    unsigned char* der = nullptr;
    const int length = i2d_ECDSA_SIG(pair.get(), &der);
    if (length <= 0) return {};
    std::string out(reinterpret_cast<const char*>(der), static_cast<std::size_t>(length));
    OPENSSL_free(der);
    return out;
}

}  // namespace

struct PublicKey::Impl {
    enum class Kind { rsa, p256, ed25519 };
    Kind kind = Kind::rsa;
    KeyPtr key;
};

PublicKey::PublicKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PublicKey::PublicKey(PublicKey&&) noexcept = default;
PublicKey& PublicKey::operator=(PublicKey&&) noexcept = default;
PublicKey::~PublicKey() = default;

Result<PublicKey> PublicKey::rsa(std::string_view modulus, std::string_view exponent) {
    if (modulus.size() > kNumberOctetsMax || exponent.empty() || exponent.size() > 8) {
        return Error(Errc::invalid, "the numbers of an RSA key are of an odd size");
    }
    const NumberPtr n = number_of(modulus);
    const NumberPtr e = number_of(exponent);
    const BuilderPtr builder(OSSL_PARAM_BLD_new());
    auto impl = std::make_unique<Impl>();
    impl->kind = Impl::Kind::rsa;
    if (n && e && builder && OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) == 1) {
        const ParametersPtr parameters(OSSL_PARAM_BLD_to_param(builder.get()));
        impl->key = key_from("RSA", parameters.get());
    }
    if (!impl->key) return openssl_error(Errc::invalid, "the RSA key cannot be read");
    const int bits = EVP_PKEY_get_bits(impl->key.get());
    if (bits < kRsaBitsMin || bits > kRsaBitsMax) {
        return Error(Errc::invalid, fmt::format("an RSA key of {} bits is not accepted", bits));
    }
    return PublicKey(std::move(impl));
}

Result<PublicKey> PublicKey::p256(std::string_view x, std::string_view y) {
    if (x.size() != kCurveOctets || y.size() != kCurveOctets) {
        return Error(Errc::invalid, "the numbers of a P-256 key have 32 octets each (RFC 7518 6.2.1.2)");
    }
    std::string point(1, '\x04');  // uncompressed
    point += x;
    point += y;
    std::string group = "P-256";
    const std::array<OSSL_PARAM, 3> parameters = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group.data(), 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
        OSSL_PARAM_construct_end()};
    std::array<OSSL_PARAM, 3> given = parameters;
    auto impl = std::make_unique<Impl>();
    impl->kind = Impl::Kind::p256;
    impl->key = key_from("EC", given.data());
    const KeyContextPtr check(impl->key ? EVP_PKEY_CTX_new(impl->key.get(), nullptr) : nullptr);
    if (!check || EVP_PKEY_public_check(check.get()) != 1) {
        return openssl_error(Errc::invalid, "the P-256 key cannot be read");
    }
    return PublicKey(std::move(impl));
}

Result<PublicKey> PublicKey::ed25519(std::string_view x) {
    if (x.size() != kCurveOctets) return Error(Errc::invalid, "an Ed25519 key has 32 octets (RFC 8037 2)");
    auto impl = std::make_unique<Impl>();
    impl->kind = Impl::Kind::ed25519;
    impl->key.reset(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, octets_of(x), x.size()));
    if (!impl->key) return openssl_error(Errc::invalid, "the Ed25519 key cannot be read");
    return PublicKey(std::move(impl));
}

bool PublicKey::verify(std::string_view octets, std::string_view signature) const {
    std::string der;
    if (impl_->kind == Impl::Kind::p256) {
        if (signature.size() != 2 * kCurveOctets) return false;
        der = der_of(signature);
        signature = der;
    }
    const EVP_MD* digest = impl_->kind == Impl::Kind::ed25519 ? nullptr : EVP_sha256();
    const DigestContextPtr context(EVP_MD_CTX_new());
    const bool good =
        context && EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, impl_->key.get()) == 1 &&
        EVP_DigestVerify(context.get(), octets_of(signature), signature.size(), octets_of(octets), octets.size()) == 1;
    ERR_clear_error();  // a wrong signature leaves its reasons in the queue
    return good;
}

Result<std::string> base64url_decode(std::string_view text) {
    if (text.size() > kTextOctetsMax) return Error(Errc::too_large, "the text is too long to be decoded");
    std::string out(text.size() / 4 * 3 + 3, '\0');
    std::size_t length = 0;
    const int outcome =
        sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), text.data(), text.size(), nullptr,
                          &length, nullptr, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    if (outcome != 0) return Error(Errc::invalid, "this is not base64url");
    out.resize(length);
    return out;
}

std::string base64url_encode(std::string_view octets) {
    std::string out(sodium_base64_encoded_len(octets.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
    sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(octets.data()), octets.size(),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out.pop_back();
    return out;
}

}  // namespace posthouse::crypto
