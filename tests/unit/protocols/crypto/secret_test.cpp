#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "protocols/crypto/crypto.h"

using namespace posthouse;

TEST_CASE("argon2id: a hash verifies its own password only") {
    REQUIRE(crypto::init());
    const auto hash = crypto::hash_password("correct horse");
    REQUIRE(hash);
    CHECK(hash->starts_with("$argon2id$"));
    CHECK(crypto::verify_password(*hash, "correct horse"));
    CHECK_FALSE(crypto::verify_password(*hash, "correct horsE"));
    CHECK_FALSE(crypto::verify_password(*hash, ""));
    CHECK_FALSE(crypto::verify_password("", "correct horse"));
    CHECK_FALSE(crypto::verify_password("$argon2id$nonsense", "correct horse"));
    CHECK_FALSE(crypto::verify_password(std::string(500, 'x'), "correct horse"));
    CHECK(crypto::decoy_password_hash().starts_with("$argon2id$"));
    CHECK_FALSE(crypto::verify_password(crypto::decoy_password_hash(), ""));
}

TEST_CASE("seal: opens with the same key, purpose and octets, and with nothing else") {
    const std::string key = crypto::random_octets(32);
    const std::string secret("relay \0 password", 16);
    const std::string box = crypto::seal(key, "route", secret);
    CHECK(box.find("password") == std::string::npos);
    CHECK(crypto::seal(key, "route", secret) != box);  // a nonce is never used twice
    const auto opened = crypto::unseal(key, "route", box);
    REQUIRE(opened);
    CHECK(*opened == secret);
    CHECK_FALSE(crypto::unseal(key, "dkim", box));
    CHECK_FALSE(crypto::unseal(crypto::random_octets(32), "route", box));
    CHECK_FALSE(crypto::unseal("short", "route", box));
    for (std::size_t at = 0; at < box.size(); ++at) {
        std::string changed = box;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        CHECK_FALSE(crypto::unseal(key, "route", changed));
        CHECK_FALSE(crypto::unseal(key, "route", box.substr(0, at)));
    }
    CHECK(crypto::unseal(key, "", crypto::seal(key, "", "")).value_or("?").empty());
}

TEST_CASE("random_octets are as many as asked for and differ") {
    CHECK(crypto::random_octets(0).empty());
    CHECK(crypto::random_octets(33).size() == 33);
    CHECK(crypto::random_octets(16) != crypto::random_octets(16));
}

TEST_CASE("make_self_signed: a certificate that OpenSSL reads, with every name in it") {
    const std::string names[] = {"mail.example.org", "*.example.net", "a,DNS:evil.example", "127.0.0.1"};
    const auto made = crypto::make_self_signed(names, 30);
    REQUIRE(made);
    BIO* text = BIO_new_mem_buf(made->certificate_pem.data(), -1);
    X509* certificate = PEM_read_bio_X509(text, nullptr, nullptr, nullptr);
    BIO_free(text);
    text = BIO_new_mem_buf(made->key_pem.data(), -1);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(text, nullptr, nullptr, nullptr);
    BIO_free(text);
    REQUIRE(certificate != nullptr);
    REQUIRE(key != nullptr);
    CHECK(X509_check_private_key(certificate, key) == 1);
    CHECK(X509_check_host(certificate, "mail.example.org", 0, 0, nullptr) == 1);
    CHECK(X509_check_host(certificate, "imap.example.net", 0, 0, nullptr) == 1);
    CHECK(X509_check_host(certificate, "evil.example", 0, 0, nullptr) == 0);
    CHECK(X509_check_ip_asc(certificate, "127.0.0.1", 0) == 1);
    CHECK(X509_verify(certificate, key) == 1);
    CHECK(X509_cmp_current_time(X509_get0_notBefore(certificate)) == -1);
    CHECK(X509_cmp_current_time(X509_get0_notAfter(certificate)) == 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    CHECK_FALSE(crypto::make_self_signed({}, 30));
    CHECK_FALSE(crypto::make_self_signed(names, 0));
}
