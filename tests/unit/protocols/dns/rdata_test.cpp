#include "protocols/dns/rdata.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/support/dns_server.h"

using namespace posthouse;
using namespace posthouse::dns;
using namespace std::string_literals;

TEST_CASE("names, RFC 1035 3.1: lower case, checked, used up exactly") {
    struct Case {
        std::string wire;
        const char* name;  // nullptr: refused
    };
    const Case cases[] = {
        {"\2MX\7Example\3org\0"s, "mx.example.org"},
        {"\0"s, ""},
        {"\1a\0"s, "a"},
        {"\1_\0"s, "_"},
        {""s, nullptr},
        {"\3ab"s, nullptr},      // cut within a label
        {"\2ab"s, nullptr},      // no final label
        {"\1a\0x"s, nullptr},    // octets after the name
        {"\xc0\x0c"s, nullptr},  // a compression pointer
        {"\x40"s + std::string(64, 'a') + "\0"s, nullptr},
        {"\3a.b\0"s, nullptr},  // a dot inside a label
        {"\3a\nb\0"s, nullptr},
        {"\3a b\0"s, nullptr},
        {"\2a\\\0"s, nullptr},
        {"\2\xc3\xa9\0"s, nullptr},  // UTF-8, not an A-label
    };
    for (const Case& c : cases) {
        CAPTURE(c.wire);
        const auto name = parse_name(c.wire);
        REQUIRE(name.has_value() == (c.name != nullptr));
        if (name) CHECK(*name == c.name);
    }
}

TEST_CASE("names, RFC 1035 2.3.4: 255 octets of wire form at most") {
    const std::string label = "\x3f"s + std::string(63, 'a');
    CHECK(parse_name(label + label + label + "\x3d"s + std::string(61, 'b') + "\0"s).has_value());
    CHECK_FALSE(parse_name(label + label + label + "\x3e"s + std::string(62, 'b') + "\0"s).has_value());
    CHECK_FALSE(parse_name(label + label + label + label + "\0"s).has_value());
}

TEST_CASE("MX, RFC 1035 3.3.9, and the null MX, RFC 7505 3") {
    const auto mx = parse_mx("\x01\x02\2mx\0"s);
    REQUIRE(mx.has_value());
    CHECK(mx->preference == 258);
    CHECK(mx->host == "mx");
    const auto null_mx = parse_mx("\0\0\0"s);
    REQUIRE(null_mx.has_value());
    CHECK(null_mx->host.empty());
    for (const std::string& bad : {""s, "\0"s, "\0\0"s, "\0\0\1"s, "\0\0\0\0"s}) CHECK_FALSE(parse_mx(bad).has_value());
}

TEST_CASE("A and AAAA: exactly as long as an address") {
    CHECK(parse_a("\xc0\0\2\1"s)->to_string() == "192.0.2.1");
    CHECK_FALSE(parse_a("\xc0\0\2"s).has_value());
    CHECK_FALSE(parse_a("\xc0\0\2\1\1"s).has_value());
    CHECK(parse_aaaa("\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\1")->to_string() == "2001:db8::1");
    CHECK_FALSE(parse_aaaa(std::string(15, '\0')).has_value());
}

TEST_CASE("TXT, RFC 6376 3.6.2.2: strings are joined without a blank; every length is checked") {
    CHECK(*parse_txt("\3abc\0\2de"s) == "abcde");
    CHECK(*parse_txt("\0"s).value_or("x"s).c_str() == '\0');
    CHECK(*parse_txt("\2\0\xff"s) == "\0\xff"s);
    for (const std::string& bad : {""s, "\1"s, "\4abc"s, "\3abc\1"s}) CHECK_FALSE(parse_txt(bad).has_value());
}

TEST_CASE("names to ask for") {
    CHECK(*normalise_name("Example.ORG.") == "example.org");
    CHECK(*normalise_name("_dmarc.example.org") == "_dmarc.example.org");
    const std::string long_label(64, 'a');
    for (const std::string& bad : {""s, "."s, "a..b"s, ".a"s, "a.."s, "a b"s, "a\\.b"s, "a\0b"s, "\xc3\xa9.org"s,
                                   long_label, std::string(254, 'a')}) {
        CAPTURE(bad);
        CHECK_FALSE(normalise_name(bad).has_value());
    }
}

TEST_CASE("reverse names, RFC 1035 3.5 and RFC 3596 2.5") {
    CHECK(reverse_name(*net::IpAddress::parse("192.0.2.1")) == "1.2.0.192.in-addr.arpa");
    CHECK(reverse_name(*net::IpAddress::parse("2001:db8::567:89ab")) ==
          "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}
