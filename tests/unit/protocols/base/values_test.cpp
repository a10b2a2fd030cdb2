#include <doctest/doctest.h>

#include <set>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/base/random.h"
#include "protocols/base/result.h"

using namespace posthouse;

namespace {

Result<int> half(int value) {
    if (value % 2 != 0) return Error(Errc::invalid, "odd");
    return value / 2;
}

Result<int> quarter(int value) {
    TRY(const int once, half(value));
    TRY(const int twice, half(once));
    return twice;
}

Result<> check_even(int value) {
    TRY_VOID(half(value));
    return {};
}

}  // namespace

TEST_CASE("TRY hands the first error through and declares the value") {
    CHECK(quarter(8).value() == 2);
    CHECK(quarter(6).error().code == Errc::invalid);
    CHECK(quarter(7).error().context == "odd");
    CHECK(check_even(2).has_value());
    CHECK_FALSE(check_even(3).has_value());
}

TEST_CASE("times are written as RFC 3339 in UTC") {
    CHECK(format_rfc3339(from_unix_ms(0)) == "1970-01-01T00:00:00.000Z");
    CHECK(format_rfc3339(from_unix_ms(1'795'464'665'123)) == "2026-11-23T20:11:05.123Z");
}

TEST_CASE("Random::below is within its bound and tokens keep their alphabet") {
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(system_random().below(3));
    CHECK(seen == std::set<std::uint64_t>{0, 1, 2});
    const std::string token = system_random().token(40);
    CHECK(token.size() == 40);
    CHECK(token.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567") == std::string::npos);
}

TEST_CASE("metrics print as Prometheus text, one family once") {
    Metrics metrics;
    metrics.counter("smtp_messages_total", "Messages accepted.", "service=\"smtp\"").add(2);
    metrics.counter("smtp_messages_total", "Messages accepted.", "service=\"submission\"").add();
    metrics.gauge("connections", "Open connections.").set(7);
    CHECK(metrics.to_prometheus() ==
          "# HELP posthouse_connections Open connections.\n# TYPE posthouse_connections gauge\n"
          "posthouse_connections 7\n"
          "# HELP posthouse_smtp_messages_total Messages accepted.\n# TYPE posthouse_smtp_messages_total counter\n"
          "posthouse_smtp_messages_total{service=\"smtp\"} 2\n"
          "posthouse_smtp_messages_total{service=\"submission\"} 1\n");
}
