#include "server/auth/failures.h"

#include <doctest/doctest.h>

using namespace posthouse;

namespace {

net::IpAddress ip(std::string_view text) { return *net::IpAddress::parse(text); }
constexpr Time kStart{std::chrono::hours(1000)};

}  // namespace

TEST_CASE("a network has ten guesses a minute and fifty a day") {
    server::Failures failures;
    Time now = kStart;
    for (int i = 0; i < 10; ++i) {
        CHECK(failures.allowed("a@x.example", ip("192.0.2.1"), now));
        failures.failed("u" + std::to_string(i), ip("192.0.2.1"), now);
    }
    CHECK_FALSE(failures.allowed("a@x.example", ip("192.0.2.1"), now));
    CHECK(failures.allowed("a@x.example", ip("192.0.2.2"), now));
    for (int minute = 1; minute < 5; ++minute) {
        now += std::chrono::minutes(1);
        CHECK(failures.allowed("a@x.example", ip("192.0.2.1"), now));
        for (int i = 0; i < 10; ++i) failures.failed("u" + std::to_string(i), ip("192.0.2.1"), now);
    }
    now += std::chrono::minutes(1);
    CHECK_FALSE(failures.allowed("a@x.example", ip("192.0.2.1"), now));
    now += std::chrono::hours(24);
    CHECK(failures.allowed("a@x.example", ip("192.0.2.1"), now));
}

TEST_CASE("an IPv6 customer is one /64") {
    server::Failures failures;
    for (int i = 0; i < 10; ++i) failures.failed("a", ip("2001:db8::" + std::to_string(i + 1)), kStart);
    CHECK_FALSE(failures.allowed("b", ip("2001:db8::ffff"), kStart));
    CHECK(failures.allowed("b", ip("2001:db8:0:1::1"), kStart));
}

TEST_CASE("an account under attack stays open to where its owner comes from") {
    server::Failures failures;
    failures.succeeded("alice", ip("192.0.2.1"), kStart);
    for (int i = 0; i < 20; ++i) failures.failed("alice", ip("198.51.100." + std::to_string(i + 1)), kStart);
    CHECK_FALSE(failures.allowed("alice", ip("203.0.113.1"), kStart));
    CHECK(failures.allowed("alice", ip("192.0.2.1"), kStart));
    CHECK(failures.allowed("bob", ip("203.0.113.1"), kStart));
}

TEST_CASE("a right guess is not held against anybody") {
    server::Failures failures;
    for (int i = 0; i < 30; ++i) {
        failures.failed("alice", ip("192.0.2.1"), kStart);
        failures.forgive("alice", ip("192.0.2.1"));
    }
    CHECK(failures.allowed("alice", ip("192.0.2.1"), kStart));
}
