#include "protocols/sasl/sasl.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace std::string_view_literals;

TEST_CASE("PLAIN, RFC 4616: identity, login and password") {
    const auto check = [](std::string_view response) {
        return sasl::make_server_mechanism("plain", sasl::ServerSide())->start(response);
    };
    const auto good = check("\0alice\0secret"sv);
    REQUIRE(good);
    REQUIRE(good->credentials);
    CHECK(good->credentials->login == "alice");
    CHECK(good->credentials->password == "secret");
    CHECK(check("alice\0alice\0secret"sv));
    CHECK(check("bob\0alice\0secret"sv).error().code == Errc::denied);
    for (const auto bad :
         {""sv, "alice"sv, "\0alice"sv, "\0\0secret"sv, "\0alice\0"sv, "\0al\xff\0x"sv, "\0alice\0sec\0ret"sv}) {
        CHECK(check(bad).error().code == Errc::invalid);
    }
    CHECK(check(std::string("\0alice\0"sv) + std::string(1025, 'x')).error().code == Errc::too_large);
    CHECK(sasl::plain_response("alice", "secret").value() == "\0alice\0secret"sv);
    CHECK_FALSE(sasl::plain_response("al\0ice"sv, "x"));
}

TEST_CASE("LOGIN: two challenges, or one where the login came at once") {
    auto mechanism = sasl::make_server_mechanism("LOGIN", sasl::ServerSide());
    const auto first = mechanism->start(std::nullopt);
    REQUIRE(first);
    CHECK(first->challenge == "Username:");
    const auto second = mechanism->answer("alice");
    REQUIRE(second);
    CHECK_FALSE(second->credentials);
    const auto last = mechanism->answer("secret");
    REQUIRE(last);
    CHECK(last->credentials->login == "alice");
    CHECK(sasl::make_server_mechanism("CRAM-MD5", sasl::ServerSide()) == nullptr);
}
