#include "protocols/sasl/client.h"

#include <doctest/doctest.h>

#include "protocols/crypto/crypto.h"
#include "protocols/sasl/scram.h"

using namespace posthouse;
using namespace posthouse::sasl;

TEST_CASE("CRAM-MD5: the example of RFC 2195 2") {
    const ClientLogin login("tim", "tanstaaftanstaaf");
    const auto mechanism = make_client_mechanism("cram-md5", login);
    REQUIRE(mechanism != nullptr);
    CHECK_FALSE(mechanism->initial().value().has_value());
    CHECK(mechanism->answer("<1896.697170952@postoffice.reston.mci.net>").value() ==
          "tim b913a602c7eda7a495b4e6e7334d3890");
    CHECK_FALSE(mechanism->answer("again"));
}

TEST_CASE("XOAUTH2: user and token between ^A; a refusal's challenge is answered with nothing, once") {
    ClientLogin login("someuser@example.com", "");
    login.token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg";
    const auto mechanism = make_client_mechanism("XOAUTH2", login);
    CHECK(mechanism->initial().value() ==
          "user=someuser@example.com\x01"
          "auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01");
    CHECK(mechanism->answer("{\"status\":\"401\"}").value().empty());
    CHECK_FALSE(mechanism->answer(""));
    login.user =
        "a\x01"
        "auth=Bearer other";
    CHECK_FALSE(make_client_mechanism("XOAUTH2", login)->initial());
}

TEST_CASE("PLAIN and LOGIN say what they have to say and no more") {
    const ClientLogin login("alice", "secret");
    CHECK(make_client_mechanism("PLAIN", login)->initial().value() == std::string("\0alice\0secret", 13));
    CHECK_FALSE(make_client_mechanism("PLAIN", login)->answer("?"));
    const auto mechanism = make_client_mechanism("LOGIN", login);
    CHECK(mechanism->answer("Username:").value() == "alice");
    CHECK(mechanism->answer("Password:").value() == "secret");
    CHECK_FALSE(mechanism->answer("More:"));
    CHECK(make_client_mechanism("GSSAPI", login) == nullptr);
}

TEST_CASE("SCRAM: the server proves that it knows the password, and finish() insists on it") {
    const ClientLogin login("alice", "secret");
    CHECK(make_client_mechanism("SCRAM-SHA-256", login) == nullptr);  // no nonce
    ScramSide side;
    side.nonce = "rOprNGfwEbeRWgbNEkqO";
    CHECK(make_client_mechanism("SCRAM-SHA-256-PLUS", login, side) == nullptr);  // nothing to bind to
    ServerSide server_side;
    server_side.nonce = "of-the-server";
    for (const bool knows : {true, false}) {
        CAPTURE(knows);
        const auto server = make_scram_server(Binding::none, server_side);
        const auto client = make_client_mechanism("scram-sha-256", login, side);
        REQUIRE(client);
        auto step = server->start(std::optional<std::string_view>(client->initial().value().value()));
        REQUIRE(step);
        CHECK(step->keys_of == "alice");
        step = server->take_keys({crypto::derive_scram_keys(knows ? "secret" : "other", "salt-of-alice-16", 4096)});
        REQUIRE(step);
        const auto proof = client->answer(step->challenge);
        REQUIRE(proof);
        CHECK_FALSE(client->finish());
        step = server->answer(*proof);
        REQUIRE(step.has_value() == knows);
        if (!knows) continue;
        CHECK(client->answer(step->challenge).value().empty());
        CHECK(client->finish());
        CHECK_FALSE(client->answer("more"));
    }
    const auto refused = make_client_mechanism("SCRAM-SHA-256", login, side);
    const std::string first = "r=" + side.nonce + "x,s=" + crypto::base64_encode("salt-of-alice-16") + ",i=4096";
    REQUIRE(refused->answer(first));
    CHECK(refused->answer("e=invalid-proof").value().empty());  // 535 follows
    CHECK_FALSE(refused->finish());
    const auto impostor = make_client_mechanism("SCRAM-SHA-256", login, side);
    REQUIRE(impostor->answer(first));
    CHECK(impostor->answer("v=" + crypto::base64_encode(std::string(32, 'x'))).error().code == Errc::unauthenticated);
}

TEST_CASE("with a token nothing but XOAUTH2 is tried: the password of another time does not leave") {
    ClientLogin login("alice", "secret");
    CHECK(client_mechanisms(login).front() == "SCRAM-SHA-256-PLUS");
    login.token = "t";
    REQUIRE(client_mechanisms(login).size() == 1);
    CHECK(client_mechanisms(login).front() == "XOAUTH2");
}
