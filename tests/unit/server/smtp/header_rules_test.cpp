// What is taken off at the door.
#include "server/smtp/header_rules.h"

#include <doctest/doctest.h>

using namespace posthouse;

TEST_CASE("results that claim to be ours, RFC 8601 5: however the name is written") {
    struct Case {
        const char* value;
        bool ours;
    };
    constexpr Case cases[] = {
        {" mx.home.example; spf=pass", true},
        {" MX.Home.Example", true},
        {" (c (d)) mx.home.example 1; none", true},
        {"\r\n\t\"mx.home.example\"; none", true},
        {" \"mx\\.home.example\"; none", true},
        {" mx.home.example.; none", true},
        {" ; none", true},  // no name at all: who knows how it is read
        {"", true},
        {" mx.home.example.evil.example; none", false},
        {" xmx.home.example; none", false},
        {" other.example; mx.home.example", false},
    };
    for (const Case& c : cases) {
        CAPTURE(c.value);
        CHECK(server::smtp::claims_our_results(c.value, "mx.home.example") == c.ours);
    }
}
