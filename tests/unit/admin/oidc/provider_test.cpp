#include "admin/oidc/provider.h"

#include <openssl/evp.h>

#include <fstream>
#include <memory>

#include "protocols/crypto/crypto.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using admin::OidcProvider;
using admin::WebRequest;

namespace {

class HandClock final : public Clock {
 public:
    Time now() const override { return time; }
    Time time = from_unix_ms(1'800'000'000'000);
};

// A provider's signing key.
class Signer {
 public:
    Signer() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free) {}
    std::string jwk(const std::string& id) const {
        std::string raw(32, '\0');
        std::size_t length = raw.size();
        EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(raw.data()), &length);
        return R"({"kty":"OKP","crv":"Ed25519","kid":")" + id + R"(","x":")" + crypto::base64url_encode(raw) + R"("})";
    }
    std::string sign(const std::string& header, const std::string& claims) const {
        const std::string what = crypto::base64url_encode(header) + "." + crypto::base64url_encode(claims);
        std::string signature(64, '\0');
        std::size_t length = signature.size();
        const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
        EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get());
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &length,
                       reinterpret_cast<const unsigned char*>(what.data()), what.size());
        return what + "." + crypto::base64url_encode(signature);
    }

 private:
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

const std::string kHeader = R"({"alg":"EdDSA","kid":"one"})";

std::string claims(const std::string& more = "", const std::string& aud = "\"mail\"", long exp = 1'800'000'600) {
    return R"({"iss":"https://id.example","aud":)" + aud + R"(,"exp":)" + std::to_string(exp) +
           R"(,"email":"alice@a.example")" + more + "}";
}

struct Fixture {
    test::TempStore store;
    HandClock clock;
    Signer signer;
    std::string keys;
    std::string introspection;
    bool down = false;
    int fetched = 0;
    WebRequest last;
    OidcProvider provider;

    Fixture()
        : provider((static_cast<void>(crypto::init()), *store), clock,
                   [this](const WebRequest& r) { return fetch(r); }) {
        keys = R"({"keys":[)" + signer.jwk("one") + "]}";
        set("oidc.issuer", "https://id.example");
        set("oidc.audience", "mail");
    }
    void set(const std::string& key, const std::string& value) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    Result<std::string> fetch(const WebRequest& request) {
        ++fetched;
        last = request;
        if (down) return Error(Errc::unavailable, "down");
        if (request.url == "https://id.example/.well-known/openid-configuration") {
            return std::string(R"({"issuer":"https://id.example","jwks_uri":"https://id.example/keys"})");
        }
        if (request.url == "https://id.example/keys") return keys;
        if (request.url == "https://id.example/ask") return introspection;
        return Error(Errc::unavailable, "404");
    }
    Errc code(const std::string& token) {
        const auto judged = provider.judge(token);
        return judged ? Errc::internal : judged.error().code;
    }
};

}  // namespace

TEST_CASE("a token that the provider signed for us stands for the address in its claim") {
    Fixture f;
    CHECK(f.provider.judge(f.signer.sign(kHeader, claims())).value() == "alice@a.example");
    CHECK(f.fetched == 2);  // metadata and keys
    CHECK(f.provider.judge(f.signer.sign(kHeader, claims("", R"(["other","mail"])"))));
    CHECK(f.provider.judge(f.signer.sign(R"({"alg":"EdDSA"})", claims())));
    CHECK(f.fetched == 2);
    f.set("oidc.claim", "upn");
    CHECK(f.code(f.signer.sign(kHeader, claims())) == Errc::unauthenticated);
    CHECK(f.provider.judge(f.signer.sign(kHeader, claims(R"(,"upn":"bob@a.example")"))).value() == "bob@a.example");
}

TEST_CASE("everything that makes a token worth nothing") {
    Fixture f;
    const std::string good = f.signer.sign(kHeader, claims());
    REQUIRE(f.provider.judge(good));
    const Signer stranger;
    const std::string cases[] = {
        "",
        "a.b",
        "a.b.c",
        good + "x",
        good + ".x",
        good.substr(0, good.rfind('.') + 1),
        stranger.sign(kHeader, claims()),
        f.signer.sign(R"({"alg":"none","kid":"one"})", claims()),
        f.signer.sign(R"({"alg":"HS256","kid":"one"})", claims()),
        f.signer.sign(R"({"alg":"EdDSA","kid":"one","crit":["x"]})", claims()),
        f.signer.sign("no json", claims()),
        f.signer.sign(kHeader, "no json"),
        f.signer.sign(kHeader, claims("", "\"other\"")),
        f.signer.sign(kHeader, claims("", "[]")),
        f.signer.sign(kHeader, claims("", "\"mail\"", 1'799'999'900)),
        f.signer.sign(kHeader, claims(R"(,"nbf":1800000100)")),
        f.signer.sign(kHeader, claims(R"(,"email_verified":false)")),
        f.signer.sign(kHeader, claims(R"(,"email_verified":"False")")),
        f.signer.sign(kHeader, claims(R"(,"email_verified":0)")),
        f.signer.sign(kHeader, R"({"iss":"https://id.example","aud":"mail","email":"alice@a.example"})"),
        f.signer.sign(kHeader, R"({"iss":"https://evil.example","aud":"mail","exp":1800000600,"email":"a@a.example"})"),
        std::string(9000, 'a') + ".b.c",
    };
    for (const std::string& token : cases) {
        CAPTURE(token);
        CHECK(f.code(token) == Errc::unauthenticated);
    }
    // Who names no audience takes no tokens: they may have been made for anybody.
    f.set("oidc.audience", "");
    CHECK(f.code(good) == Errc::unauthenticated);
    f.set("oidc.client_id", "mail");
    CHECK(f.provider.judge(good));
}

TEST_CASE("keys are kept, and fetched again when a token names a new one") {
    Fixture f;
    REQUIRE(f.provider.judge(f.signer.sign(kHeader, claims())));
    const Signer next;
    const std::string header = R"({"alg":"EdDSA","kid":"two"})";
    CHECK(f.code(next.sign(header, claims())) == Errc::unauthenticated);
    CHECK(f.fetched == 2);  // not before the pause is over
    f.keys = R"({"keys":[)" + next.jwk("two") + R"(,{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AA"}]})";
    f.clock.time += std::chrono::minutes(2);
    CHECK(f.provider.judge(next.sign(header, claims())));
    // The provider is down for a while: what is known stays good.
    f.down = true;
    f.clock.time += std::chrono::hours(2);
    CHECK(f.provider.judge(next.sign(header, claims("", "\"mail\"", 1'800'010'000))));
    Fixture fresh;
    fresh.down = true;
    CHECK(fresh.code(fresh.signer.sign(kHeader, claims())) == Errc::unavailable);
    const int asked = fresh.fetched;
    CHECK(fresh.code(fresh.signer.sign(kHeader, claims())) == Errc::unavailable);
    CHECK(fresh.fetched == asked);  // a provider that is down is not asked by every stranger's token
    fresh.clock.time += std::chrono::seconds(6);
    fresh.down = false;
    fresh.keys = "no json";
    CHECK(fresh.code(fresh.signer.sign(kHeader, claims())) == Errc::unavailable);
}

TEST_CASE("introspection, RFC 7662: the provider is asked, and a yes is kept for a minute") {
    Fixture f;
    const std::string secret = f.store.path() + "/secret";
    std::ofstream(secret) << "s3 cret\n";
    f.set("oidc.introspection_url", "https://id.example/ask");
    f.set("oidc.client_id", "mail");
    f.set("oidc.client_secret_file", secret);
    f.introspection = R"({"active":true,"email":"alice@a.example","client_id":"mail"})";
    CHECK(f.provider.judge("opaque+/").value() == "alice@a.example");
    CHECK(f.last.form == "token=opaque%2B%2F&token_type_hint=access_token");
    CHECK(f.last.authorization == "Basic " + crypto::base64_encode("mail:s3%20cret"));
    f.introspection = R"({"active":false})";
    CHECK(f.provider.judge("opaque+/"));
    f.clock.time += std::chrono::minutes(2);
    CHECK(f.code("opaque+/") == Errc::unauthenticated);
    for (const char* answer : {R"({"active":true,"email":"a@a.example","aud":"other"})", R"({"active":"true "})", "{}",
                               R"({"active":true,"email":"a@a.example","exp":5})", R"({"active":true})",
                               R"({"active":true,"email":"a@a.example"})",
                               R"({"active":true,"email":"a@a.example","client_id":"another app"})",
                               R"({"active":true,"email":"a@a.example","iss":"https://evil.example"})"}) {
        CAPTURE(answer);
        f.introspection = answer;
        CHECK(f.code(std::string("t") + answer) == Errc::unauthenticated);
    }
    f.introspection = "<html>";
    CHECK(f.code("another") == Errc::unavailable);
    f.set("oidc.client_secret_file", secret + ".missing");
    CHECK(f.code("another") == Errc::unavailable);
}
