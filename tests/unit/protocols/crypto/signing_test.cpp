#include <doctest/doctest.h>

#include "protocols/crypto/crypto.h"

using namespace posthouse;
using crypto::SigningAlgorithm;
using crypto::SigningKey;

namespace {

// RFC 8463 appendix A: the keys, and the header hash input of its signed message by hand (relaxed, RFC 6376 3.7).
constexpr const char* kRsaPem = R"(-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
-----END RSA PRIVATE KEY-----
)";
constexpr const char* kRsaPublic =
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91"
    "y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
constexpr const char* kRsaSignature =
    "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz"
    "dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=";
constexpr const char* kEd25519Secret = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
constexpr const char* kEd25519Public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
constexpr const char* kEd25519Signature =
    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
constexpr const char* kBody = "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";
constexpr const char* kBodyHash = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

crypto::Sha256Digest header_digest(const std::string& algorithm, const std::string& selector) {
    return crypto::sha256(
        "from:Joe SixPack <joe@football.example.com>\r\nto:Suzie Q <suzie@shopping.example.net>\r\n"
        "subject:Is dinner ready?\r\ndate:Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
        "message-id:<20030712040037.46341.5F8J@football.example.com>\r\n"
        "dkim-signature:v=1; a=" +
        algorithm +
        "; c=relaxed/relaxed; d=football.example.com; i=@football.example.com; "
        "q=dns/txt; s=" +
        selector +
        "; t=1528637909; h=from : to : subject : date : message-id : from : subject : date; "
        "bh=" +
        kBodyHash + "; b=");
}

std::string decoded(const char* text) { return crypto::base64_decode(text).value(); }

std::string ed25519_pem() {
    // PKCS#8 of RFC 8410 7: a fixed head and the 32 octets of the seed.
    const std::string head("\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", 16);
    return "-----BEGIN PRIVATE KEY-----\n" + crypto::base64_encode(head + decoded(kEd25519Secret)) +
           "\n-----END PRIVATE KEY-----\n";
}

}  // namespace

TEST_CASE("RFC 8463 A.3: both signatures of the example verify, and ours are the same octets") {
    const auto digest_octets = crypto::sha256(kBody);
    CHECK(crypto::base64_encode({reinterpret_cast<const char*>(digest_octets.data()), 32}) == kBodyHash);

    const auto ed25519 = SigningKey::from_pem(SigningAlgorithm::ed25519_sha256, ed25519_pem());
    REQUIRE(ed25519);
    CHECK(ed25519->dns_public_key() == kEd25519Public);
    const auto ed_digest = header_digest("ed25519-sha256", "brisbane");
    CHECK(crypto::base64_encode(ed25519->sign_digest(ed_digest).value()) == kEd25519Signature);
    CHECK(crypto::verify_digest(SigningAlgorithm::ed25519_sha256, kEd25519Public, ed_digest, decoded(kEd25519Signature))
              .value());

    const auto rsa = SigningKey::from_pem(SigningAlgorithm::rsa_sha256, kRsaPem);
    REQUIRE(rsa);
    CHECK(rsa->dns_public_key() == kRsaPublic);
    const auto rsa_digest = header_digest("rsa-sha256", "test");
    CHECK(crypto::base64_encode(rsa->sign_digest(rsa_digest).value()) == kRsaSignature);
    CHECK(crypto::verify_digest(SigningAlgorithm::rsa_sha256, kRsaPublic, rsa_digest, decoded(kRsaSignature)).value());
}

TEST_CASE("keys that are made sign, verify, and come back from PEM") {
    for (const auto algorithm : {SigningAlgorithm::rsa_sha256, SigningAlgorithm::ed25519_sha256}) {
        CAPTURE(static_cast<int>(algorithm));
        const auto key = SigningKey::generate(algorithm);
        REQUIRE(key);
        CHECK(key->algorithm() == algorithm);
        CHECK(key->to_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        const auto again = SigningKey::from_pem(algorithm, key->to_pem());
        REQUIRE(again);
        CHECK(again->dns_public_key() == key->dns_public_key());

        const auto digest = crypto::sha256("headers");
        const std::string signature = again->sign_digest(digest).value();
        CHECK(crypto::verify_digest(algorithm, key->dns_public_key(), digest, signature).value());
        CHECK_FALSE(
            crypto::verify_digest(algorithm, key->dns_public_key(), crypto::sha256("other"), signature).value());
        std::string bent = signature;
        bent[5] = static_cast<char>(bent[5] ^ 0x40);
        CHECK_FALSE(crypto::verify_digest(algorithm, key->dns_public_key(), digest, bent).value());
        CHECK_FALSE(crypto::verify_digest(algorithm, key->dns_public_key(), digest, "").value());
        CHECK_FALSE(crypto::verify_digest(algorithm, key->dns_public_key(), digest, signature + "x").value());
    }
}

TEST_CASE("RFC 6376 3.6.1: a bare RSAPublicKey is read as well") {
    const std::string info = decoded(kRsaPublic);
    const std::string bare = crypto::base64_encode(info.substr(22));  // behind AlgorithmIdentifier and BIT STRING head
    CHECK(crypto::verify_digest(SigningAlgorithm::rsa_sha256, bare, header_digest("rsa-sha256", "test"),
                                decoded(kRsaSignature))
              .value());
}

TEST_CASE("public keys that are not acceptable are told apart from wrong signatures") {
    const auto digest = crypto::sha256("");
    // 512 bits: RFC 8301 3.2.
    const char* weak =
        "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKjzXkwLHv+KbYHrWNVDGDZn2Zjd4iFB3xMdWxRbmA8fpRkqO1yEn+o8SBtVk8sVq08s/"
        "MhVd+3k7D5TRxyPUM8CAwEAAQ==";
    for (const char* bad : {"", "!!!", "AAAA", weak, kEd25519Public}) {
        CAPTURE(bad);
        const auto verdict = crypto::verify_digest(SigningAlgorithm::rsa_sha256, bad, digest, std::string(128, 'x'));
        REQUIRE_FALSE(verdict);
        CHECK(verdict.error().code == Errc::invalid);
    }
    CHECK_FALSE(crypto::verify_digest(SigningAlgorithm::ed25519_sha256, kRsaPublic, digest, std::string(64, 'x')));
}

TEST_CASE("private keys: the algorithm must fit, and garbage is refused") {
    CHECK_FALSE(SigningKey::from_pem(SigningAlgorithm::ed25519_sha256, kRsaPem));
    CHECK_FALSE(SigningKey::from_pem(SigningAlgorithm::rsa_sha256, ed25519_pem()));
    CHECK_FALSE(SigningKey::from_pem(SigningAlgorithm::rsa_sha256, ""));
    CHECK_FALSE(SigningKey::from_pem(SigningAlgorithm::rsa_sha256,
                                     "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
}
