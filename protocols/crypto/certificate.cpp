#include <fmt/format.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include "protocols/crypto/crypto.h"
#include "protocols/crypto/openssl_ptr.h"

namespace posthouse::crypto {

namespace {

using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
using SerialPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;

constexpr int kSerialBits = 127;            // positive and at most 20 octets (RFC 5280 4.1.2.2)
constexpr long kSecondsBefore = 60 * 60;    // valid an hour back: clocks differ
constexpr std::size_t kCommonNameMax = 64;  // ub-common-name

bool add_extension(X509* certificate, int nid, const char* value) {
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// RFC 5280 4.2.1.6. Built from values, not from OpenSSL's "DNS:a,DNS:b" text: a comma in a name stays a comma.
bool add_names(X509* certificate, std::span<const std::string> dns_names) {
    const NamesPtr names(sk_GENERAL_NAME_new_null());
    if (!names) return false;
    for (const std::string& name : dns_names) {
        GENERAL_NAME* entry = GENERAL_NAME_new();
        ASN1_OCTET_STRING* address = a2i_IPADDRESS(name.c_str());
        ASN1_IA5STRING* text = address == nullptr ? ASN1_IA5STRING_new() : nullptr;
        if (entry == nullptr || (address == nullptr && text == nullptr)) {
            GENERAL_NAME_free(entry);
            ASN1_OCTET_STRING_free(address);
            return false;
        }
        if (address != nullptr) {
            GENERAL_NAME_set0_value(entry, GEN_IPADD, address);
        } else {
            ASN1_STRING_set(text, name.data(), static_cast<int>(name.size()));
            GENERAL_NAME_set0_value(entry, GEN_DNS, text);
        }
        if (sk_GENERAL_NAME_push(names.get(), entry) == 0) {
            GENERAL_NAME_free(entry);
            return false;
        }
    }
    return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

bool set_serial(X509* certificate) {
    const SerialPtr serial(BN_new());
    return serial && BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
           BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool fill(X509* certificate, EVP_PKEY* key, std::span<const std::string> dns_names, int days) {
    const std::string common_name = dns_names.front().substr(0, kCommonNameMax);
    X509_NAME* name = X509_get_subject_name(certificate);
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -kSecondsBefore) != nullptr &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, nullptr) != nullptr &&
           X509_set_pubkey(certificate, key) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, octets_of(common_name),
                                      static_cast<int>(common_name.size()), -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 && add_names(certificate, dns_names) &&
           add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
           add_extension(certificate, NID_ext_key_usage, "serverAuth") && X509_sign(certificate, key, EVP_sha256()) > 0;
}

}  // namespace

Result<SelfSigned> make_self_signed(std::span<const std::string> dns_names, int days) {
    if (dns_names.empty() || days <= 0) {
        return Error(Errc::invalid, "a certificate needs a name and at least a day of validity");
    }
    const KeyPtr key(EVP_EC_gen("P-256"));
    const CertificatePtr certificate(X509_new());
    const BioPtr certificate_text(BIO_new(BIO_s_mem()));
    const BioPtr key_text(BIO_new(BIO_s_secmem()));
    if (!key || !certificate || !certificate_text || !key_text) {
        return openssl_error(Errc::internal, "no certificate could be made");
    }
    if (!fill(certificate.get(), key.get(), dns_names, days) ||
        PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return openssl_error(Errc::internal, "no certificate could be made");
    }
    SelfSigned out;
    out.certificate_pem = text_of(certificate_text.get());
    out.key_pem = text_of(key_text.get());
    return out;
}

Result<CertificateFacts> read_certificate(std::string_view pem) {
    const BioPtr text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    const CertificatePtr certificate(text ? PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr) : nullptr);
    if (!certificate) return openssl_error(Errc::invalid, "there is no certificate in the text");
    CertificateFacts out;
    tm parts{};
    if (ASN1_TIME_to_tm(X509_get0_notBefore(certificate.get()), &parts) == 1) out.not_before_unix = timegm(&parts);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &parts) == 1) out.not_after_unix = timegm(&parts);
    out.self_signed =
        X509_NAME_cmp(X509_get_subject_name(certificate.get()), X509_get_issuer_name(certificate.get())) == 0;
    const NamesPtr names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        int kind = 0;
        const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &kind);
        if (kind != GEN_DNS) continue;
        const auto* name = static_cast<const ASN1_IA5STRING*>(value);
        out.dns_names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)),
                                   static_cast<std::size_t>(ASN1_STRING_length(name)));
    }
    return out;
}

}  // namespace posthouse::crypto
