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
