#include "protocols/net/url.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::net;

TEST_CASE("a user name is unescaped, and nothing that would break a line comes out") {
    CHECK(percent_decode("alice%40example.org").value() == "alice@example.org");
    CHECK(percent_decode("").value().empty());
    for (const char* bad : {"%", "%4", "a%zz", "a%0d%0ab", "a%00", "a\tb"}) {
        CAPTURE(bad);
        CHECK(percent_decode(bad).error().code == Errc::invalid);
    }
}

TEST_CASE("a host may have a port, and an IPv6 address stands in brackets") {
    struct {
        const char* text;
        const char* host;
        int port;
    } const good[] = {{"Mail.Example.org", "mail.example.org", 0},
                      {"mail.example.org:25", "mail.example.org", 25},
                      {"[2001:DB8::1]:65535", "2001:db8::1", 65535},
                      {"[::1]", "::1", 0},
                      {"", "", 0}};
    for (const auto& row : good) {
        CAPTURE(row.text);
        const auto read = parse_host_port(row.text);
        REQUIRE(read);
        CHECK(read->host == row.host);
        CHECK(read->port.value_or(0) == row.port);
    }
    for (const char* bad : {"a:", "a:0", "a:65536", "a:-1", "a:25x", "[::1", "[::1]25", "[name]:25", "[]:25"}) {
        CAPTURE(bad);
        CHECK(parse_host_port(bad).error().code == Errc::invalid);
    }
}
