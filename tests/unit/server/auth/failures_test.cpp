#include "server/auth/failures.h"

#include <doctest/doctest.h>

#include <vector>

using namespace posthouse;

namespace {

net::IpAddress ip(std::string_view text) { return *net::IpAddress::parse(text); }
constexpr Time kStart{std::chrono::hours(1000)};
using Verdict = server::Failures::Verdict;

bool allowed(const server::Failures& failures, const std::string& login, net::IpAddress peer, Time now) {
    return failures.judge(login, peer, now) == Verdict::allowed;
}
void failed(server::Failures& failures, const std::string& login, net::IpAddress peer, Time now) {
    failures.confirm(failures.charge(login, peer, now));
}

}  // namespace

TEST_CASE("a network has ten guesses a minute and fifty a day") {
    server::Failures failures;
    Time now = kStart;
    for (int i = 0; i < 10; ++i) {
        CHECK(allowed(failures, "a@x.example", ip("192.0.2.1"), now));
        failed(failures, "u" + std::to_string(i), ip("192.0.2.1"), now);
    }
    CHECK_FALSE(allowed(failures, "a@x.example", ip("192.0.2.1"), now));
    CHECK(allowed(failures, "a@x.example", ip("192.0.2.2"), now));
    for (int minute = 1; minute < 5; ++minute) {
        now += std::chrono::minutes(1);
        CHECK(allowed(failures, "a@x.example", ip("192.0.2.1"), now));
        for (int i = 0; i < 10; ++i) failed(failures, "u" + std::to_string(i), ip("192.0.2.1"), now);
    }
    now += std::chrono::minutes(1);
    CHECK_FALSE(allowed(failures, "a@x.example", ip("192.0.2.1"), now));
    now += std::chrono::hours(24);
    CHECK(allowed(failures, "a@x.example", ip("192.0.2.1"), now));
}

TEST_CASE("an IPv6 customer is one /64") {
    server::Failures failures;
    for (int i = 0; i < 10; ++i) failed(failures, "a", ip("2001:db8::" + std::to_string(i + 1)), kStart);
    CHECK_FALSE(allowed(failures, "b", ip("2001:db8::ffff"), kStart));
    CHECK(allowed(failures, "b", ip("2001:db8:0:1::1"), kStart));
}

TEST_CASE("a provider's network has three times as many guesses, a wider one nine times") {
    server::Failures failures;
    const auto from = [](int i) { return ip("198.51.100." + std::to_string(i)); };
    for (int i = 0; i < 29; ++i) failed(failures, "u" + std::to_string(i), from(i), kStart);
    CHECK(allowed(failures, "a", from(40), kStart));
    failed(failures, "u29", from(29), kStart);
    CHECK_FALSE(allowed(failures, "a", from(40), kStart));
    CHECK(allowed(failures, "a", from(64), kStart));  // another /26
    // Who is known here does not answer for his neighbours.
    failures.succeeded("alice", from(41), kStart);
    CHECK(allowed(failures, "alice", from(41), kStart));
    CHECK_FALSE(allowed(failures, "alice", from(42), kStart));
    for (int i = 0; i < 60; ++i) failed(failures, "v" + std::to_string(i), from(64 + i), kStart);
    CHECK_FALSE(allowed(failures, "a", ip("198.51.101.1"), kStart));  // of the same /21
    CHECK(allowed(failures, "a", ip("198.51.104.1"), kStart));
    // A right guess is taken back from all of them.
    server::Failures others;
    for (int i = 0; i < 200; ++i) others.forgive(others.charge("u" + std::to_string(i), from(i), kStart));
    CHECK(allowed(others, "a", from(1), kStart));
    server::Failures v6;
    for (int i = 0; i < 30; ++i) failed(v6, "u", ip("2001:db8:0:" + std::to_string(i) + "::1"), kStart);
    CHECK_FALSE(allowed(v6, "a", ip("2001:db8:0:ffff::1"), kStart));
    CHECK(allowed(v6, "a", ip("2001:db8:1::1"), kStart));
}

TEST_CASE("an account under attack stays open to where its owner comes from") {
    server::Failures failures;
    failures.succeeded("alice", ip("192.0.2.1"), kStart);
    for (int i = 0; i < 20; ++i) failed(failures, "alice", ip("198.51.100." + std::to_string(i + 1)), kStart);
    CHECK_FALSE(allowed(failures, "alice", ip("203.0.113.1"), kStart));
    CHECK(allowed(failures, "alice", ip("192.0.2.1"), kStart));
    CHECK(allowed(failures, "bob", ip("203.0.113.1"), kStart));
}

TEST_CASE("a right guess is not held against anybody") {
    server::Failures failures;
    for (int i = 0; i < 30; ++i) {
        failures.forgive(failures.charge("alice", ip("192.0.2.1"), kStart));
    }
    CHECK(allowed(failures, "alice", ip("192.0.2.1"), kStart));
}

TEST_CASE("guesses that are being judged make others wait, and only wrong ones refuse them") {
    server::Failures failures;
    const net::IpAddress home = ip("192.0.2.1");
    std::vector<server::Failures::Charge> open;
    for (int i = 0; i < 10; ++i) open.push_back(failures.charge("alice", home, kStart));
    CHECK(failures.judge("alice", home, kStart) == Verdict::wait);
    CHECK(failures.judge("alice", ip("192.0.2.2"), kStart) == Verdict::allowed);
    failures.confirm(open[0]);
    CHECK(failures.judge("alice", home, kStart) == Verdict::wait);
    failures.forgive(open[1]);
    failures.succeeded("alice", home, kStart);
    CHECK(failures.judge("alice", home, kStart) == Verdict::allowed);
    for (int i = 2; i < 10; ++i) failures.confirm(open[static_cast<std::size_t>(i)]);
    CHECK(failures.judge("alice", home, kStart) == Verdict::allowed);
    failed(failures, "alice", home, kStart);
    CHECK(failures.judge("alice", home, kStart) == Verdict::refused);
    // What was counted on the account before its network was known is taken back from the account too.
    server::Failures others;
    std::vector<server::Failures::Charge> charges;
    for (int i = 0; i < 20; ++i) charges.push_back(others.charge("bob", ip("198.51.100." + std::to_string(i)), kStart));
    CHECK(others.judge("bob", home, kStart) == Verdict::wait);
    for (const auto& charge : charges) {
        others.succeeded("bob", charge.network, kStart);
        others.forgive(charge);
    }
    CHECK(others.judge("bob", home, kStart) == Verdict::allowed);
}
