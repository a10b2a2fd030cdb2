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

TEST_CASE(
    "what is said to us alone at submission is understood and taken off; from strangers it is none of our business") {
    using server::smtp::Kind;
    server::smtp::Trace trace;
    trace.hostname = "mx.home.example";
    const auto prepare = [&](Kind kind, std::string_view fields) {
        const server::smtp::SmtpServiceOptions options("mx.home.example", kind);
        return server::smtp::prepare_header(trace, options, system_random(),
                                            "From: a@home.example\r\n" + std::string(fields) + "\r\n");
    };
    const auto taken = prepare(Kind::submission, "IDEMPOTENCY-KEY: \"order\r\n 17\"\r\nX-Posthouse-Stream: news\r\n");
    REQUIRE_FALSE(taken.refusal);
    CHECK(taken.key == "order 17");
    CHECK(taken.stream == "news");
    CHECK_FALSE(taken.octets.contains("order"));
    CHECK_FALSE(taken.octets.contains("news"));
    CHECK(prepare(Kind::submission, "Idempotency-Key:\r\n").refusal);
    CHECK(prepare(Kind::submission, "Idempotency-Key: a\r\nIdempotency-Key: a\r\n").refusal);
    CHECK(prepare(Kind::submission, "Idempotency-Key: caf\xC3\xA9\r\n").refusal);
    CHECK(prepare(Kind::submission, "X-Posthouse-Stream: a\r\nX-Posthouse-Stream: b\r\n").refusal);
    const auto foreign = prepare(Kind::reception, "Idempotency-Key: a\r\nX-Posthouse-Stream: b\r\n");
    REQUIRE_FALSE(foreign.refusal);
    CHECK(foreign.key.empty());
    CHECK(foreign.stream.empty());
    CHECK(foreign.octets.contains("Idempotency-Key: a\r\nX-Posthouse-Stream: b\r\n"));
}
