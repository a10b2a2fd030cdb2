#include "protocols/base/ascii.h"

#include <doctest/doctest.h>

#include <limits>
#include <optional>

using namespace posthouse;

TEST_CASE("parse_number takes whole decimal numbers and never overflows") {
    struct Case {
        std::string_view text;
        std::optional<std::uint64_t> value;
    };
    const Case cases[] = {
        {"0", 0},
        {"007", 7},
        {"18446744073709551615", std::numeric_limits<std::uint64_t>::max()},
        {"18446744073709551616", std::nullopt},
        {"99999999999999999999999", std::nullopt},
        {"", std::nullopt},
        {"-1", std::nullopt},
        {"+1", std::nullopt},
        {" 1", std::nullopt},
        {"1a", std::nullopt},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        CHECK(ascii::parse_number(c.text) == c.value);
    }
}

TEST_CASE("is_valid_utf8 refuses overlong forms, surrogates and cut characters (RFC 3629)") {
    struct Case {
        std::string_view text;
        bool valid;
    };
    const Case cases[] = {
        {"", true},
        {"plain", true},
        {"gr\xc3\xbc\xc3\x9f", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x93\xae", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xc0\xaf", false},          // overlong
        {"\xe0\x80\xaf", false},      // overlong
        {"\xf0\x80\x80\xaf", false},  // overlong
        {"\xed\xa0\x80", false},      // surrogate
        {"\xf4\x90\x80\x80", false},  // above U+10FFFF
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\x80", false},
        {"\xff", false},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        CHECK(ascii::is_valid_utf8(c.text) == c.valid);
    }
}

TEST_CASE("case folding touches ASCII letters only") {
    CHECK(ascii::to_lower("AbC\xc3\x84") == "abc\xc3\x84");
    CHECK(ascii::equals_ci("EHLO", "ehlo"));
    CHECK_FALSE(ascii::equals_ci("EHLO", "ehl"));
    CHECK(ascii::find_ci("One TWO three", "two") == 4);
    CHECK(ascii::find_ci("One", "two") == std::string_view::npos);
    CHECK(ascii::find_ci("abc", "") == 0);
    CHECK(ascii::ends_with_ci("mail.EXAMPLE.org", ".example.ORG"));
    CHECK(ascii::trim(" \t a b\r\n") == "a b");
    CHECK(ascii::trim(" \r\n").empty());
}
