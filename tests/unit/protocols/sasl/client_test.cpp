#include "protocols/sasl/client.h"

#include <doctest/doctest.h>

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

TEST_CASE("with a token nothing but XOAUTH2 is tried: the password of another time does not leave") {
    ClientLogin login("alice", "secret");
    CHECK(client_mechanisms(login).front() == "PLAIN");
    login.token = "t";
    REQUIRE(client_mechanisms(login).size() == 1);
    CHECK(client_mechanisms(login).front() == "XOAUTH2");
}
