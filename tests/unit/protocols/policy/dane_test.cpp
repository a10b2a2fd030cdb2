#include "protocols/policy/dane.h"

#include <doctest/doctest.h>

namespace posthouse::policy {

TEST_CASE("RFC 7672 3.1: usages 2 and 3 with a digest of the right length count, all else is unusable") {
    struct Case {
        unsigned usage, selector, matching;
        std::size_t octets;
        bool usable;
    };
    constexpr Case cases[] = {
        {3, 1, 1, 32, true},  {2, 1, 1, 32, true},  {3, 0, 2, 64, true},  {2, 0, 0, 700, true},   {3, 1, 0, 90, true},
        {0, 1, 1, 32, false}, {1, 1, 1, 32, false}, {4, 1, 1, 32, false}, {3, 2, 1, 32, false},   {3, 1, 3, 32, false},
        {3, 1, 1, 31, false}, {3, 1, 2, 32, false}, {3, 1, 0, 0, false},  {255, 1, 1, 32, false},
    };
    for (const Case& c : cases) {
        CAPTURE(c.usage);
        CAPTURE(c.octets);
        net::TlsaRecord record;
        record.usage = static_cast<std::uint8_t>(c.usage);
        record.selector = static_cast<std::uint8_t>(c.selector);
        record.matching = static_cast<std::uint8_t>(c.matching);
        record.data = std::string(c.octets, 'x');
        CHECK(is_usable(record) == c.usable);
        CHECK(usable(std::vector{record}).size() == (c.usable ? 1U : 0U));
    }
    net::TlsaRecord record;
    record.usage = 3;
    record.selector = 1;
    record.matching = 1;
    record.data = "\x01\xff";
    CHECK(format_tlsa(record) == "3 1 1 01ff");
    CHECK(tlsa_name("mx.b.test", 25) == "_25._tcp.mx.b.test");
    CHECK(usable(std::vector<net::TlsaRecord>(200, record)).empty());
    record.data = std::string(32, 'x');
    CHECK(usable(std::vector<net::TlsaRecord>(200, record)).size() == kTlsaMax);
}

}  // namespace posthouse::policy
