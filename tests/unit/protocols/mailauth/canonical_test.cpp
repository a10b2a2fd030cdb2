#include "protocols/mailauth/canonical.h"

#include <doctest/doctest.h>

#include "protocols/mailauth/tag_list.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

std::string canonical_body(Canonical form, std::string_view body, std::size_t piece_octets) {
    std::string out;
    BodyCanonicaliser canonical(form, [&](std::string_view octets) { out += octets; });
    for (std::size_t at = 0; at < body.size(); at += piece_octets) canonical.update(body.substr(at, piece_octets));
    canonical.finish();
    return out;
}

}  // namespace

TEST_CASE("bodies, RFC 6376 3.4.3 and 3.4.4, in pieces of any size") {
    struct Case {
        const char* body;
        const char* simple;
        const char* relaxed;
    };
    const Case cases[] = {
        {"", "\r\n", ""},
        {"\r\n\r\n", "\r\n", ""},
        {"a", "a\r\n", "a\r\n"},
        {"a\r\n", "a\r\n", "a\r\n"},
        {"a\r\n\r\n\r\n", "a\r\n", "a\r\n"},
        {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},  // RFC 6376 3.4.5
        {"a\r\n \t\r\n", "a\r\n \t\r\n", "a\r\n"},
        {" \t", " \t\r\n", ""},
        {"\r\n\r\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
        {"a\rb\nc\r\n", "a\rb\nc\r\n", "a\rb\nc\r\n"},  // only CRLF ends a line
        {"a\r", "a\r\r\n", "a\r\r\n"},
        {"a \r b \r\r\n", "a \r b \r\r\n", "a \r b \r\r\n"},
        {"a\t\tb", "a\t\tb\r\n", "a b\r\n"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.body);
        for (const std::size_t octets : {1UL, 2UL, 3UL, 100UL}) {
            CAPTURE(octets);
            CHECK(canonical_body(Canonical::simple, c.body, octets) == c.simple);
            CHECK(canonical_body(Canonical::relaxed, c.body, octets) == c.relaxed);
        }
    }
}

TEST_CASE("bodies larger than the buffer, and more line ends than fit into it") {
    std::string body(10'000, 'x');
    for (int i = 0; i < 5'000; ++i) body += "\r\n";
    CHECK(canonical_body(Canonical::relaxed, body, 777) == std::string(10'000, 'x') + "\r\n");
    body += "y z";
    CHECK(canonical_body(Canonical::simple, body, 4096) == body + "\r\n");
    CHECK(canonical_body(Canonical::relaxed, body, 1) == body + "\r\n");
}

TEST_CASE("fields, RFC 6376 3.4.5") {
    CHECK(canonical_field(Canonical::relaxed, "A: X\r\n") == "a:X\r\n");
    CHECK(canonical_field(Canonical::relaxed, "B : Y\t\r\n\tZ  \r\n") == "b:Y Z\r\n");
    CHECK(canonical_field(Canonical::simple, "B : Y\t\r\n\tZ  \r\n") == "B : Y\t\r\n\tZ  \r\n");
    CHECK(canonical_field(Canonical::relaxed, "Empty:\r\n") == "empty:\r\n");
}

TEST_CASE("tag lists, RFC 6376 3.2") {
    const auto list = TagList::parse(" v = 1;\r\n\ta=x y ; b=;\r\n ");
    REQUIRE(list.has_value());
    CHECK(*list->value("v") == "1");
    CHECK(*list->value("a") == "x y");
    CHECK(list->value("b")->empty());
    CHECK_FALSE(list->value("V").has_value());
    for (const char* bad : {"", " ", ";", "a", "a=1;;b=2", "a=1;a=2", "1a=2", "=2", "a-b=1", "a=\x01"}) {
        CAPTURE(bad);
        CHECK_FALSE(TagList::parse(bad).has_value());
    }
    CHECK(split_colons(" a : b:c").size() == 3);
    CHECK(split_colons(" ").empty());
}
