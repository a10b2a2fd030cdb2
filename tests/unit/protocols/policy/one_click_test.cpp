#include "protocols/policy/one_click.h"

#include <doctest/doctest.h>

using namespace posthouse::policy;

TEST_CASE("RFC 8058 3.1: the two fields of a copy") {
    CHECK(one_click_fields("https://l.example", "t0", "a.example") ==
          "List-Unsubscribe: <https://l.example/unsubscribe/t0>, <mailto:unsubscribe-t0@a.example>\n"
          "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n");
}

TEST_CASE("a log shows no token, whatever its address has become on the way") {
    const std::string token(40, 'a');
    struct Case {
        std::string target;
        std::string shown;
    };
    const Case cases[] = {{"/unsubscribe/" + token, "/unsubscribe/"},
                          {"//incident/" + token + "00?x", "//incident/"},
                          {"/INCIDENT/" + std::string(48, 'F'), "/INCIDENT/"},
                          {"/mail/incident%2f" + token, "/mail/incident%"},
                          {"/" + token, "/"},
                          {"/incident/" + std::string(31, '0'), "/incident/" + std::string(31, '0')},
                          {"/.well-known/mta-sts.txt", "/.well-known/mta-sts.txt"},
                          {"", ""}};
    for (const Case& one : cases) {
        CAPTURE(one.target);
        CHECK(without_token(one.target) == one.shown);
    }
}

TEST_CASE("tokens in mailboxes and targets") {
    CHECK(token_of_mailbox("UNSUBSCRIBE-AbC0") == "abc0");
    CHECK_FALSE(token_of_mailbox("unsubscribe"));
    CHECK_FALSE(token_of_mailbox("unsubscribe-"));
    CHECK_FALSE(token_of_mailbox("unsubscribe-a.b"));
    CHECK_FALSE(token_of_mailbox("unsubscribe-" + std::string(49, 'a')));
    CHECK(token_of_target("/unsubscribe/abc0?utm=1") == "abc0");
    CHECK_FALSE(token_of_target("/unsubscribe/"));
    CHECK_FALSE(token_of_target("/unsubscribe/../x"));
    CHECK_FALSE(token_of_target("/other/abc"));
}
