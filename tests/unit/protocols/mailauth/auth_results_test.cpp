#include "protocols/mailauth/auth_results.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::mailauth;

TEST_CASE("fields that claim our authserv-id are removed, RFC 8601 5") {
    const std::string rest = "From: a@b.test\r\n\r\n";
    const char* forged[] = {
        "Authentication-Results: mx.home.example; dkim=pass header.d=bank.example\r\n",
        "authentication-RESULTS: MX.Home.Example; none\r\n",
        "Authentication-Results: mx.home.example 1; spf=pass\r\n",
        "Authentication-Results: mx.home.example/1; spf=pass\r\n",
        "Authentication-Results:mx.home.example\r\n",
        "Authentication-Results : mx.home.example;none\r\n",
        "Authentication-Results:\r\n\tmx.home.example\r\n 1;\r\n spf=pass\r\n",
        "Authentication-Results: (a (nested) \\) one) mx.home.example (x); none\r\n",
        "Authentication-Results: \"mx.home.example\"; none\r\n",
        "Authentication-Results: \"mx.home\\.example\"; none\r\n",
        "Authentication-Results: mx.home.example.; none\r\n",
        "Authentication-Results: (never closed mx.home.example; none\r\n",
        "Authentication-Results: \"never closed; none\r\n",
        "Authentication-Results: ; none\r\n",
    };
    for (const char* field : forged) {
        CAPTURE(field);
        CHECK(remove_foreign("X: 1\r\n" + std::string(field) + rest, "mx.home.example") == "X: 1\r\n" + rest);
        CHECK(remove_foreign(std::string(field) + field + rest, "MX.home.example") == rest);
    }
    const std::string others =
        "Authentication-Results: mx.world.example; dkim=pass\r\nX-Authentication-Results: mx.home.example; none\r\n"
        "Authentication-Results: amx.home.example 1; none\r\nARC-Authentication-Results: i=1; mx.home.example; "
        "none\r\n";
    CHECK(remove_foreign(others + rest, "mx.home.example") == others + rest);
    CHECK(remove_foreign(rest + "Authentication-Results: mx.home.example; in the body\r\n", "mx.home.example") ==
          rest + "Authentication-Results: mx.home.example; in the body\r\n");
}

TEST_CASE("our own field, RFC 8601 2.2") {
    CHECK(format_auth_results("mx.home.example", {}) == "Authentication-Results: mx.home.example; none\r\n");
    DkimResult dkim;
    dkim.status = DkimStatus::permerror;
    dkim.domain = "evil.example;\r\nX: y";
    dkim.selector = "s1";
    dkim.signature_start = "abc+/=12";
    dkim.reason = "the \"key\" is revoked";
    AuthResult spf;
    spf.method = "spf";
    spf.result = "pass";
    spf.properties.emplace_back("smtp.mailfrom", "a@b.test");
    CHECK(format_auth_results("mx.home.example", {to_auth_result(dkim), spf}) ==
          "Authentication-Results: mx.home.example;\r\n\tdkim=permerror\r\n\t reason=\"the \\\"key\\\" is revoked\" "
          "header.d=\"evil.example;X: y\" header.s=s1 header.b=\"abc+/=12\";\r\n\tspf=pass smtp.mailfrom=a@b.test\r\n");
}
