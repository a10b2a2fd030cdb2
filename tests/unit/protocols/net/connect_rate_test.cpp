#include "protocols/net/connect_rate.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::net;

TEST_CASE("connect rate: a minute's worth at once, then evenly; each network by itself") {
    ConnectRate rate(120);
    const IpAddress one = IpAddress::parse("192.0.2.1").value();
    const IpAddress other = IpAddress::parse("192.0.2.2").value();
    auto now = ConnectRate::Clock::time_point() + std::chrono::hours(1);
    int let_in = 0;
    for (int i = 0; i < 200; ++i) let_in += rate.too_often(one, now) ? 0 : 1;
    CHECK(let_in == 120);
    CHECK_FALSE(rate.too_often(other, now));
    now += std::chrono::milliseconds(499);
    CHECK(rate.too_often(one, now));
    now += std::chrono::milliseconds(1);
    CHECK_FALSE(rate.too_often(one, now));
    CHECK(rate.too_often(one, now));
    let_in = 0;
    for (int i = 0; i < 6'000; ++i) {
        now += std::chrono::milliseconds(100);
        let_in += rate.too_often(one, now) ? 0 : 1;
    }
    CHECK(let_in == 1'200);  // ten minutes
    now += std::chrono::minutes(2);
    CHECK_FALSE(rate.too_often(other, now));
    CHECK(rate.size() == 1);  // who came long ago costs nothing
    ConnectRate none(0);
    for (int i = 0; i < 1'000; ++i) CHECK_FALSE(none.too_often(one, now));
}

TEST_CASE("connect rate: networks beyond the bound are let in and not remembered") {
    ConnectRate rate(1);
    const auto now = ConnectRate::Clock::time_point() + std::chrono::hours(1);
    for (std::uint32_t i = 0; i < ConnectRate::kNetworksMax + 100; ++i) {
        CHECK_FALSE(rate.too_often(IpAddress::v4(0x0a000000 + i), now));
    }
    CHECK(rate.size() == ConnectRate::kNetworksMax);
    CHECK(rate.too_often(IpAddress::v4(0x0a000000), now));
}
