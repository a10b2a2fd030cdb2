#include "protocols/crypto/public_key.h"

#include <doctest/doctest.h>

#include <string>

#include "protocols/crypto/scram_keys.h"

using namespace posthouse;

namespace {
std::string raw(std::string_view text) { return crypto::base64url_decode(text).value(); }
}  // namespace

TEST_CASE("Ed25519, the example of RFC 8037 A.4") {
    auto key = crypto::PublicKey::ed25519(raw("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    REQUIRE(key);
    const std::string signature =
        raw("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    CHECK(key->verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", signature));
    CHECK_FALSE(key->verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmd", signature));
    CHECK_FALSE(key->verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", ""));
}

TEST_CASE("ES256, the example of RFC 7515 A.3") {
    auto key = crypto::PublicKey::p256(raw("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
                                       raw("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"));
    REQUIRE(key);
    const std::string what =
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ";
    const std::string signature =
        raw("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    CHECK(key->verify(what, signature));
    CHECK_FALSE(key->verify(what + "x", signature));
    CHECK_FALSE(key->verify(what, signature.substr(1)));
    CHECK_FALSE(key->verify(what, std::string(64, '\0')));
    CHECK_FALSE(crypto::PublicKey::p256(std::string(32, '\1'), std::string(32, '\1')));  // not on the curve
}

TEST_CASE("keys that are too weak or none") {
    CHECK(crypto::PublicKey::rsa(std::string(128, '\xff'), "\1\0\1").error().code == Errc::invalid);
    CHECK(crypto::PublicKey::rsa("", "").error().code == Errc::invalid);
    CHECK(crypto::PublicKey::rsa(std::string(4096, '\xff'), std::string("\1\0\1", 3)).error().code == Errc::invalid);
    CHECK(crypto::PublicKey::ed25519("short").error().code == Errc::invalid);
    CHECK_FALSE(crypto::base64url_decode("a+b"));
    CHECK_FALSE(crypto::base64url_decode("ab=="));
    CHECK(crypto::base64url_encode(raw("x_FEzRu9m36HLA")) == "x_FEzRu9m36HLA");
}
