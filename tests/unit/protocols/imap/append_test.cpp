#include "protocols/imap/append.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::imap;

TEST_CASE("which literals are octets of a message") {
    for (const std::string_view opens :
         {"a APPEND INBOX ", "a append {5}\r\nINBOX ", "a APPEND \"x y\" (\\Seen) \" 7-Feb-1994 22:43:04 -0800\" ",
          "a APPEND INBOX CATENATE (TEXT ", "a APPEND INBOX CATENATE (URL \"/x/;UID=1\" TEXT ", "a REPLACE 4 INBOX ",
          "a UID REPLACE 4 INBOX (\\Draft) CATENATE (TEXT "}) {
        CAPTURE(opens);
        CHECK(opens_message(opens, Follows::literal));
    }
    CHECK(opens_message("a APPEND INBOX UTF8 (", Follows::literal8));
    for (const std::string_view other :
         {"a APPEND ", "a APPEND INBOX", "a APPEND INBOX (\\Recent) ", "a APPEND INBOX CATENATE (URL ",
          "a APPEND INBOX UTF8 (", "a LOGIN ", "a REPLACE INBOX ", "APPEND INBOX ", ""}) {
        CAPTURE(other);
        CHECK_FALSE(opens_message(other, Follows::literal));
    }
}

TEST_CASE("an APPEND in pieces") {
    using Kind = AppendEvent::Kind;
    AppendParser parser(Messages::many, {});
    auto events = parser.take("(\\Seen Work) ", Follows::literal);
    REQUIRE(events);
    REQUIRE(events->size() == 2);
    CHECK(events->front().flags.system == kSeen);
    CHECK(events->back().kind == Kind::octets);
    events = parser.take(" CATENATE (URL /a/;UID=1 TEXT ", Follows::literal);
    REQUIRE(events);
    REQUIRE(events->size() == 3);
    CHECK(events->at(1).url == "/a/;UID=1");
    events = parser.take(" URL \"b\")", Follows::nothing);
    REQUIRE(events);
    CHECK(events->size() == 1);

    AppendParser one(Messages::one, {});
    REQUIRE(one.take("", Follows::literal));
    CHECK_FALSE(one.take(" ", Follows::literal));
    AppendParser closed(Messages::many, {});
    REQUIRE(closed.take("CATENATE (TEXT ", Follows::literal));
    CHECK_FALSE(closed.take("", Follows::nothing));
    std::string many = "CATENATE (URL x";
    for (int i = 0; i < 2000; ++i) many += " URL x";
    CHECK_FALSE(AppendParser(Messages::many, {}).take(many + ")", Follows::nothing));
}

TEST_CASE("URLs of messages (RFC 5092)") {
    const auto url = parse_message_url("/Drafts%20x;UIDVALIDITY=385759045/;UID=20/;section=1.2.MIME/;partial=0.1024");
    REQUIRE(url);
    CHECK(url->mailbox == "Drafts x");
    CHECK(url->uid_validity == 385759045U);
    CHECK(url->uid == 20);
    CHECK(url->section == "1.2.MIME");
    CHECK(url->octets == 1024U);
    CHECK(parse_message_url(";UID=7").value().uid == 7);
    CHECK(parse_message_url("/a/b/;uid=7").value().mailbox == "a/b");
    CHECK(parse_message_url("/a/;UID=7/;SECTION=HEADER.FIELDS%20(DATE%20FROM)").value().section ==
          "HEADER.FIELDS (DATE FROM)");
    for (const std::string_view bad :
         {"", "/", "/a", "/a/", "/a/;UID=0", "/a/;UID=x", "/a/;UID=1/", "/a/;UID=1/x", "/a%2/;UID=1", "//h/a/;UID=1",
          "imap://h/a/;UID=1", "/;UID=1", "/a;UIDVALIDITY=0/;UID=1", "/a/;UID=99999999999",
          "/a/;UID=1/;SECTION=", "/a/;UID=1/;PARTIAL=1.0"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_message_url(bad));
    }
}
