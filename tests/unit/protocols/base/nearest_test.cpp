#include "protocols/base/nearest.h"

#include <doctest/doctest.h>

#include <array>

using namespace posthouse;

TEST_CASE("the nearest name, and all of them where none is near") {
    constexpr std::array<std::string_view, 3> kKnown = {"IDLE", "QRESYNC", "CONDSTORE"};
    struct Case {
        std::string_view wrong;
        std::string_view near;
    };
    constexpr Case kCases[] = {
        {"QRSYNC", "QRESYNC"}, {"IDEL", "IDLE"}, {"CONDSTOR", "CONDSTORE"}, {"COMPRESS", ""}, {"", ""}};
    for (const Case& c : kCases) {
        CAPTURE(c.wrong);
        CHECK(nearest(c.wrong, kKnown) == c.near);
    }
    CHECK(nearest(std::string(100'000, 'x'), kKnown).empty());
    CHECK(suggest("QRSYNC", kKnown) == "did you mean QRESYNC?");
    CHECK(suggest("COMPRESS", kKnown) == "known here are: IDLE, QRESYNC, CONDSTORE");
}
