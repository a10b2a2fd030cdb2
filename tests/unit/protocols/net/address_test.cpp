#include "protocols/net/address.h"

#include <doctest/doctest.h>

using namespace posthouse;
using net::Endpoint;
using net::IpAddress;

TEST_CASE("addresses: what is read, and how it is written") {
    struct Case {
        const char* input;
        const char* text;     // "" where the input is refused
        const char* literal;  // RFC 5321 4.1.3
    };
    constexpr Case cases[] = {
        {"192.0.2.1", "192.0.2.1", "[192.0.2.1]"},
        {"0.0.0.0", "0.0.0.0", "[0.0.0.0]"},
        {"255.255.255.255", "255.255.255.255", "[255.255.255.255]"},
        {"2001:DB8::1", "2001:db8::1", "[IPv6:2001:db8::1]"},
        {"::", "::", "[IPv6:::]"},
        {"::1", "::1", "[IPv6:::1]"},
        {"::ffff:192.0.2.7", "192.0.2.7", "[192.0.2.7]"},  // mapped: the same host as its IPv4 address
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", "[IPv6:2001:db8::1:0:0:1]"},
        {"", "", ""},
        {"192.0.2", "", ""},
        {"192.0.2.256", "", ""},
        {"192.0.2.1.", "", ""},
        {" 192.0.2.1", "", ""},
        {"0300.0.2.1", "", ""},  // octal
        {"0xc0000201", "", ""},
        {"3221225985", "", ""},
        {"[192.0.2.1]", "", ""},
        {"fe80::1%eth0", "", ""},
        {"2001:db8::1::2", "", ""},
        {"1:2:3:4:5:6:7", "", ""},
        {"1:2:3:4:5:6:7:8:9", "", ""},
        {"mail.example", "", ""},
        {"2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000", "", ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.input);
        const auto address = IpAddress::parse(c.input);
        CHECK(address.has_value() == (*c.text != '\0'));
        if (!address) continue;
        CHECK(address->to_string() == c.text);
        CHECK(address->to_literal() == c.literal);
    }
    CHECK_FALSE(IpAddress::parse(std::string_view("192.0.2.1\0x", 11)));
    CHECK(IpAddress::v4(0xc0000201).to_string() == "192.0.2.1");
}

TEST_CASE("addresses: which are loopback, private, unspecified") {
    struct Case {
        const char* input;
        bool loopback;
        bool is_private;
        bool unspecified;
    };
    constexpr Case cases[] = {
        {"127.0.0.1", true, false, false},    {"127.255.0.9", true, false, false},
        {"::1", true, false, false},          {"::ffff:127.0.0.1", true, false, false},
        {"10.0.0.1", false, true, false},     {"172.16.0.1", false, true, false},
        {"172.31.255.1", false, true, false}, {"172.32.0.1", false, false, false},
        {"192.168.4.4", false, true, false},  {"192.169.0.1", false, false, false},
        {"100.64.0.1", false, true, false},   {"100.128.0.1", false, false, false},
        {"169.254.1.1", false, true, false},  {"fd00::1", false, true, false},
        {"fc00::1", false, true, false},      {"fe80::1", false, true, false},
        {"febf::1", false, true, false},      {"fec0::1", false, false, false},
        {"2001:db8::1", false, false, false}, {"0.0.0.0", false, false, true},
        {"::", false, false, true},           {"8.8.8.8", false, false, false},
    };
    for (const Case& c : cases) {
        CAPTURE(c.input);
        const IpAddress address = IpAddress::parse(c.input).value();
        CHECK(address.is_loopback() == c.loopback);
        CHECK(address.is_private() == c.is_private);
        CHECK(address.is_unspecified() == c.unspecified);
    }
}

TEST_CASE("masked keeps the first bits only") {
    const auto masked = [](const char* text, unsigned bits) {
        return IpAddress::parse(text).value().masked(bits).to_string();
    };
    CHECK(masked("192.0.2.129", 32) == "192.0.2.129");
    CHECK(masked("192.0.2.129", 24) == "192.0.2.0");
    CHECK(masked("192.0.2.129", 25) == "192.0.2.128");
    CHECK(masked("192.0.2.129", 0) == "0.0.0.0");
    CHECK(masked("2001:db8:1:2:3:4:5:6", 64) == "2001:db8:1:2::");
    CHECK(masked("2001:db8:1:2:3:4:5:6", 33) == "2001:db8::");
    CHECK(masked("2001:db8:1:2:3:4:5:6", 128) == "2001:db8:1:2:3:4:5:6");
}

TEST_CASE("endpoints") {
    for (const char* good : {"192.0.2.1:25", "[2001:db8::1]:25", "0.0.0.0:0", "[::]:65535"}) {
        CAPTURE(good);
        const auto endpoint = Endpoint::parse(good);
        REQUIRE(endpoint);
        CHECK(endpoint->to_string() == good);
    }
    for (const char* bad : {"", "25", ":25", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1",
                            "192.0.2.1:+1", "2001:db8::1:25", "[192.0.2.1]:25", "[2001:db8::1]", "[]:25",
                            "[2001:db8::1:25", "localhost:25", "192.0.2.1:25 "}) {
        CAPTURE(bad);
        CHECK_FALSE(Endpoint::parse(bad));
    }
}
