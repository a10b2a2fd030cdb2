#include "protocols/sasl/token.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace std::string_view_literals;

TEST_CASE("OAUTHBEARER, the example of RFC 7628 4.1, and its refusal") {
    const auto server = sasl::make_oauthbearer_server();
    const auto step = server->start(
        "n,a=user@example.com,\1host=server.example.com\1port=143\1"
        "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"sv);
    REQUIRE(step);
    REQUIRE(step->token);
    CHECK(step->token->login == "user@example.com");
    CHECK(step->token->token == "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    const auto refused = server->refuse_token();
    REQUIRE(refused);
    CHECK(refused->challenge == R"({"status":"invalid_token","schemes":"bearer"})");
    CHECK(server->answer("\1").error().code == Errc::unauthenticated);
}

TEST_CASE("what is no OAUTHBEARER") {
    const auto start = [](std::string_view response) { return sasl::make_oauthbearer_server()->start(response); };
    CHECK(start("n,,\1auth=Bearer abc\1\1").value().token->login.empty());
    CHECK(start("n,a=a=2Cb,\1auth=bearer abc\1\1").value().token->login == "a,b");
    for (const std::string_view bad :
         {"n"sv, "n,,"sv, "\1"sv, "n,,\1\1"sv, "n,,\1auth=Basic abc\1\1"sv, "n,,\1auth=Bearer \1\1"sv,
          "n,,\1auth=Bearer a b\1\1"sv, "n,,\1auth=Bearer abc\1"sv, "n,,\1auth=Bearer abc\1\1x"sv,
          "p=tls-unique,,\1auth=Bearer abc\1\1"sv, "n,,\1auth=Bearer a\1auth=Bearer b\1\1"sv, "n,,\1word\1\1"sv,
          "n,a=b\x07,\1auth=Bearer abc\1\1"sv}) {
        CAPTURE(bad);
        CHECK(start(bad).error().code == Errc::invalid);
    }
    CHECK(start("n,,\1auth=Bearer " + std::string(9000, 'a') + "\1\1").error().code == Errc::too_large);
}

TEST_CASE("XOAUTH2: a login, a token, and a challenge before the refusal") {
    const auto server = sasl::make_xoauth2_server();
    CHECK(server->start(std::nullopt)->challenge.empty());
    const auto step = server->answer("user=alice@example.org\1auth=Bearer abc\1\1");
    REQUIRE(step);
    CHECK(step->token->login == "alice@example.org");
    CHECK(step->token->token == "abc");
    CHECK(server->refuse_token()->challenge.contains("401"));
    CHECK(server->answer("").error().code == Errc::unauthenticated);
    for (const std::string_view bad : {"user=\1auth=Bearer abc\1\1"sv, "auth=Bearer abc\1\1"sv,
                                       "user=a\1auth=Bearer abc\1"sv, "user=a\1auth=Bearer abc\1\1x"sv}) {
        CHECK(sasl::make_xoauth2_server()->answer(bad).error().code == Errc::invalid);
    }
}
