#include "protocols/base/log.h"

#include <doctest/doctest.h>

using namespace posthouse;

TEST_CASE("no control reaches a terminal: C0, C1, bidi and broken UTF-8 are escaped") {
    struct Case {
        std::string_view text;
        std::string_view shown;
    };
    const Case cases[] = {
        {"plain text", "plain text"},
        {"a\r\nFAKE line", "a\\r\\nFAKE line"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {std::string_view("nul\0end", 7), "nul\\x00end"},
        {"tab\there", "tab\\there"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xc2\x9b", "\\u{009b}"},              // C1 control sequence introducer
        {"\xe2\x80\xae" "evil", "\\u{202e}evil"},  // right-to-left override
        {"\xe2\x80\xa8", "\\u{2028}"},          // line separator
        {"bad\xff\xc3", "bad\\xff\\xc3"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.shown);
        CHECK(log::escape(c.text) == c.shown);
    }
}

TEST_CASE("log levels have four names") {
    CHECK(log::parse_level("warn").value() == log::Level::warn);
    CHECK(log::parse_level("loud").error().code == Errc::invalid);
}
