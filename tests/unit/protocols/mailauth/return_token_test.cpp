// Tokens for late bounces: what was made is read back, in any case of letters and for as long as it lasts; all else is
// refused.
#include "protocols/mailauth/return_token.h"

#include <doctest/doctest.h>

#include "protocols/base/ascii.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

const ReturnKeys kKeys = {"the key of today", "the key of before"};
const Time kNow = from_unix_ms(1'780'000'000'000);
constexpr std::chrono::days kDay{1};

std::string upper(std::string text) {
    for (char& c : text) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
}

}  // namespace

TEST_CASE("what was made is read back in any case, with a recipient and without, and is no longer than a local part") {
    const ReturnToken tokens[] = {{1, std::nullopt},
                                  {31, return_hash("bob@b.example")},
                                  {32, 0},
                                  {123'456'789, 0xfffff},
                                  {~std::uint64_t{0} >> 1U, return_hash("x@y.example")}};
    for (const ReturnToken& token : tokens) {
        const std::string made = make_return_token(kKeys, token, kNow);
        CAPTURE(made);
        CHECK(made.size() <= 64);
        CHECK(is_return_token(made));
        for (const std::string& spelled : {made, ascii::to_lower(made), upper(made)}) {
            const auto back = read_return_token(kKeys, spelled, kNow);
            REQUIRE(back);
            CHECK(*back == token);
        }
    }
    CHECK(return_hash("Bob@B.example") == return_hash("bob@b.example"));
    CHECK(return_hash("bob@b.example") != return_hash("bob@c.example"));
}

TEST_CASE("every changed octet makes it another's") {
    const std::string made = make_return_token(kKeys, {77, 12345}, kNow);
    for (std::size_t i = 0; i < made.size(); ++i) {
        CAPTURE(i);
        std::string changed = made;
        changed[i] = changed[i] == 'b' ? 'c' : 'b';
        CHECK_FALSE(read_return_token(kKeys, changed, kNow));
    }
    CHECK(read_return_token({"another key"}, made, kNow).error().code == Errc::denied);
    // A key that was replaced is still good for reading.
    CHECK(read_return_token({"the key of tomorrow", "the key of today"}, made, kNow));
}

TEST_CASE("it lasts for three weeks; a clock set back by a day does no harm") {
    const std::string made = make_return_token(kKeys, {77, std::nullopt}, kNow);
    CHECK(read_return_token(kKeys, made, kNow + kReturnDaysMax * kDay));
    CHECK(read_return_token(kKeys, made, kNow - kDay));
    CHECK(read_return_token(kKeys, made, kNow + (kReturnDaysMax + 1) * kDay).error().code == Errc::timeout);
    CHECK(read_return_token(kKeys, made, kNow - 3 * kDay).error().code == Errc::timeout);
}

TEST_CASE("what has not the form is no token") {
    for (const char* local : {"", "PHT0", "PHT0=", "PHT0===", "bob", "pht0=abcdefghij=ab",
                              "pht0=abcdefghij=ab=", "pht0=abcdefghij=ab=c=", "pht0=abcdefghij=ab=c=ddd",
                              "pht0=abcdefghi=ab=c=dddd", "pht0=abcdefghij=abc=c=dddd", "pht0=abcdefghij=ab=c1=dddd",
                              "pht0=abcdefghij=ab=c=dddd=e", "PHT0=abcdefghij=ab=22222222222222"}) {
        CAPTURE(local);
        CHECK_FALSE(is_return_token(local));
        CHECK(read_return_token(kKeys, local, kNow).error().code == Errc::invalid);
    }
}
