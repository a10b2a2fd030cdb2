#include <doctest/doctest.h>

#include "protocols/crypto/crypto.h"

using namespace posthouse;

TEST_CASE("SHA-256: the examples of FIPS 180") {
    struct Case {
        std::string input;
        const char* digest;
    };
    const Case cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.digest);
        CHECK(crypto::hex(crypto::sha256(c.input)) == c.digest);
        crypto::Sha256 pieces;
        for (std::size_t at = 0; at < c.input.size(); at += 977)
            pieces.update(std::string_view(c.input).substr(at, 977));
        CHECK(crypto::hex(pieces.finish()) == c.digest);
    }
}

TEST_CASE("HMAC-SHA-256: RFC 4231 4.2 to 4.7") {
    struct Case {
        std::string key;
        std::string input;
        const char* digest;
    };
    const Case cases[] = {
        {std::string(20, '\x0b'), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {std::string(20, '\xaa'), std::string(50, '\xdd'),
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.digest);
        CHECK(crypto::hex(crypto::hmac_sha256(c.key, c.input)) == c.digest);
    }
}

TEST_CASE("base64: RFC 4648 10, and what strict means") {
    struct Pair {
        std::string octets;
        const char* text;
    };
    const Pair pairs[] = {{"", ""},
                          {"f", "Zg=="},
                          {"fo", "Zm8="},
                          {"foo", "Zm9v"},
                          {"foob", "Zm9vYg=="},
                          {"fooba", "Zm9vYmE="},
                          {"foobar", "Zm9vYmFy"},
                          {std::string("\0\xff\xfe", 3), "AP/+"}};
    for (const Pair& pair : pairs) {
        CAPTURE(pair.text);
        CHECK(crypto::base64_encode(pair.octets) == pair.text);
        const auto decoded = crypto::base64_decode(pair.text);
        REQUIRE(decoded);
        CHECK(*decoded == pair.octets);
    }
    for (const char* bad :
         {"Zg", "Zg=", "Zg===", "Z===", "====", "Zm 9", "Zm9v\r\n", "Zh==", "Zm9=", "Zm9v=", "Zg==Zg==", "-_-_"}) {
        CAPTURE(bad);
        CHECK_FALSE(crypto::base64_decode(bad));
    }
}

TEST_CASE("equal_constant_time compares whole texts") {
    CHECK(crypto::equal_constant_time("", ""));
    CHECK(crypto::equal_constant_time("secret", "secret"));
    CHECK_FALSE(crypto::equal_constant_time("secret", "secreT"));
    CHECK_FALSE(crypto::equal_constant_time("secret", "secrets"));
}
