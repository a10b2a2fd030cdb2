#include "relay/tokens.h"

#include <doctest/doctest.h>

namespace posthouse::relay {

TEST_CASE("token endpoints: what is asked, RFC 6749 4.4 and 6") {
    storage::WayOauth oauth;
    oauth.client_id = "app id";
    oauth.scope = "https://outlook.office365.com/.default";
    CHECK(token_form(oauth, "s&cret", "") ==
          "client_id=app%20id&grant_type=client_credentials&client_secret=s%26cret&scope=https%3A%2F%2F"
          "outlook.office365.com%2F.default");
    oauth.scope.clear();
    CHECK(token_form(oauth, "", "r/1") == "client_id=app%20id&grant_type=refresh_token&refresh_token=r%2F1");
}

TEST_CASE("token endpoints: what they answer, RFC 6749 5.1 and 5.2") {
    struct Case {
        int status;
        std::string_view body;
        std::string_view token;  // "" where it is refused
        std::int64_t expires_in_s;
        std::string_view sentence;
    };
    const Case cases[] = {
        {200, R"({"access_token":"abc.d-e","token_type":"Bearer","expires_in":3599})", "abc.d-e", 3599, ""},
        {200, R"({"access_token":"x","token_type":"bearer","expires_in":"60"})", "x", 60, ""},
        {200, R"({"access_token":"x"})", "x", 3600, ""},
        {200, R"({"access_token":"x","expires_in":99999999})", "x", 86400, ""},
        {400, R"({"error":"invalid_grant","error_description":"AADSTS70000: expired"})", "", 0, "AADSTS70000: expired"},
        {401, R"({"error":"invalid_client"})", "", 0, "invalid_client"},
        {200, R"({"token_type":"Bearer"})", "", 0, "no token"},
        {200, R"({"access_token":"a\r\nb"})", "", 0, "no token"},
        {200, R"({"access_token":"a","token_type":"mac"})", "", 0, "mac"},
        {200, "[1]", "", 0, "status 200"},
        {502, "<html>bad gateway</html>", "", 0, "status 502"},
        {200, R"({"access_token":{"a":1}})", "", 0, "no token"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.body);
        const auto token = read_token(c.status, c.body);
        CHECK(token.has_value() == !c.token.empty());
        if (token) CHECK(token->value == c.token);
        if (token) CHECK(token->expires_in_s == c.expires_in_s);
        if (!token) CHECK(token.error().context.contains(c.sentence));
    }
    CHECK(read_token(200, R"({"access_token":"a","refresh_token":"next"})")->refresh == "next");
    const std::string deep = std::string(100, '[') + std::string(100, ']');
    CHECK_FALSE(read_token(200, deep));
}

}  // namespace posthouse::relay
