#include "protocols/policy/one_click.h"

#include <doctest/doctest.h>

using namespace posthouse::policy;

TEST_CASE("RFC 8058 3.1: the two fields of a copy") {
    CHECK(one_click_fields("https://l.example", "t0", "a.example") ==
          "List-Unsubscribe: <https://l.example/unsubscribe/t0>, <mailto:unsubscribe-t0@a.example>\n"
          "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n");
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
