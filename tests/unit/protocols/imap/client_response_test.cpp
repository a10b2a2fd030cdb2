// What IMAP servers say, as a client reads it: RFC 3501 7, RFC 9051 7, and the oddities of real servers.
#include "protocols/imap/client_response.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace posthouse;
using namespace posthouse::imap;

namespace {

// All that a stream of octets says, fed in pieces of `step`; bodies in angle brackets.
std::string read_all(std::string_view octets, std::size_t step) {
    ResponseReader reader;
    std::string out;
    for (std::size_t at = 0; at < octets.size(); at += step) {
        Cursor in(octets.substr(at, step));
        for (;;) {
            const auto event = reader.next(in);
            if (!event) return out + "!" + std::string(to_string(event.error().code));
            if (event->kind == ReaderEvent::Kind::more) break;
            if (event->kind == ReaderEvent::Kind::body_begin) out += "<" + std::to_string(event->octets_total) + ":";
            if (event->kind == ReaderEvent::Kind::body) out += event->octets;
            if (event->kind == ReaderEvent::Kind::response) {
                out += reader.had_body() ? ">" : "";
                out += std::string(reader.text()) + "|";
            }
        }
    }
    return out;
}

template <class T>
T parsed(std::string_view text) {
    const auto response = parse_response(text, false);
    if (!response) FAIL(response.error().context);
    REQUIRE(std::holds_alternative<T>(response->data));
    return std::get<T>(response->data);
}

}  // namespace

TEST_CASE("responses are cut at their lines, literals and bodies, whatever the packets") {
    struct Case {
        std::string_view octets;
        std::string_view wanted;
    };
    const Case cases[] = {
        {"* OK hello\r\na1 OK done\r\n", "* OK hello|a1 OK done|"},
        {"* OK hello\n", "* OK hello|"},
        {"* LIST () \"/\" {5}\r\na\r\nb\"\r\n", "* LIST () \"/\" {5}\r\na\r\nb\"|"},
        {"* 1 FETCH (UID 7 BODY[] {3}\r\na\r\n FLAGS ())\r\n", "<3:a\r\n>* 1 FETCH (UID 7 BODY[] \"\" FLAGS ())|"},
        {"* 1 FETCH (BODY[] {0}\r\n)\r\n", "<0:>* 1 FETCH (BODY[] \"\")|"},
        {"* 1 FETCH (BODY[] ~{3}\r\na\tb)\r\n", "<3:a\tb>* 1 FETCH (BODY[] \"\")|"},
        {"* 1 FETCH (BODY[]<0> {1}\r\nx)\r\n", "<1:x>* 1 FETCH (BODY[]<0> \"\")|"},
        {"* 1 FETCH (RFC822 {1}\r\nx)\r\n", "<1:x>* 1 FETCH (RFC822 \"\")|"},
        {"* 1 FETCH (XBODY[] {1}\r\nx)\r\n", "* 1 FETCH (XBODY[] {1}\r\nx)|"},
        {"* 1 FETCH (BODY[HEADER] {2}\r\nhi UID 3)\r\n", "* 1 FETCH (BODY[HEADER] {2}\r\nhi UID 3)|"},
        {"* OK this is no literal {3}\r\na1 OK x\r\n", "* OK this is no literal {3}|a1 OK x|"},
        {"a1 NO text {9}\r\n", "a1 NO text {9}|"},
        {"* 1 FETCH (BODY[] {1}\r\nx BODY[] {1}\r\ny)\r\n", "<1:x!invalid"},
        {"* LIST () NIL {999999999}\r\n", "!too_large"},
        {"\r\n* OK\r\n", "|* OK|"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.octets);
        for (const std::size_t step : {1UL, 2UL, 3UL, 7UL, 4096UL}) {
            std::string got = read_all(c.octets, step);
            CHECK(got == c.wanted);
        }
    }
}

TEST_CASE("a line without end is refused in bounded memory") {
    const std::string endless(3UL * 1024 * 1024, 'x');
    CHECK(read_all("* " + endless, 65536) == "!too_large");
    std::string many = "* LIST () NIL";
    for (int i = 0; i < 500'000; ++i) many += " {0}\r\n";
    CHECK(read_all(many, 65536) == "!too_large");
}

TEST_CASE("states and their codes, RFC 3501 7.1") {
    struct Case {
        std::string_view text;
        Condition::Kind kind;
        std::string_view tag, code, arguments, said;
    };
    const Case cases[] = {
        {"* OK [UIDVALIDITY 3857529045] UIDs valid", Condition::Kind::ok, "", "UIDVALIDITY", "3857529045",
         "UIDs valid"},
        {"* PREAUTH welcome", Condition::Kind::preauth, "", "", "", "welcome"},
        {"* BYE", Condition::Kind::bye, "", "", "", ""},
        {"a7 NO [throttled] slow down", Condition::Kind::no, "a7", "THROTTLED", "", "slow down"},
        {"a7 BAD", Condition::Kind::bad, "a7", "", "", ""},
        {"a7 ok [CAPABILITY IMAP4rev1 X] in", Condition::Kind::ok, "a7", "CAPABILITY", "IMAP4rev1 X", "in"},
        {"* OK [PERMANENTFLAGS (\\Seen \\*)] limited", Condition::Kind::ok, "", "PERMANENTFLAGS", "(\\Seen \\*)",
         "limited"},
        {"a7 NO [unclosed", Condition::Kind::no, "a7", "UNCLOSED", "", ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto response = parse_response(c.text, false);
        REQUIRE(response);
        CHECK(response->tag == c.tag);
        const auto& condition = std::get<Condition>(response->data);
        CHECK(condition.kind == c.kind);
        CHECK(condition.code == c.code);
        CHECK(condition.arguments == c.arguments);
        CHECK(condition.text == c.said);
    }
    for (const std::string_view wrong : {"", "HTTP/1.1 400 Bad Request", "a1", "a1 PREAUTH x", "a1 BYE x", "* 1 FETCH",
                                         "* 1 FETCH (", "* 1 FETCH (UID", "* 1 FETCH (UID x)", "* LIST (\\a", "* LIST",
                                         "* LIST () x y", "* STATUS a", "* 99999999999 EXISTS"}) {
        CAPTURE(wrong);
        CHECK_FALSE(parse_response(wrong, false));
    }
}

TEST_CASE("LIST: attributes, delimiters, names of any spelling; RFC 3501 7.2.2") {
    struct Case {
        std::string_view text, name;
        char delimiter;
        std::size_t attributes;
    };
    const Case cases[] = {
        {"* LIST (\\HasNoChildren \\Sent) \".\" INBOX.Sent", "INBOX.Sent", '.', 2},
        {"* LIST () NIL flat", "flat", '\0', 0},
        {"* LIST () \"\" flat", "flat", '\0', 0},
        {"* LIST () \"\\\\\" \"a\\\\b\"", "a\\b", '\\', 0},
        {"* LIST (\\Noselect) \"/\" \"[Gmail]\"", "[Gmail]", '/', 1},
        {"* LIST () \"/\" [Gmail]/Spam", "[Gmail]/Spam", '/', 0},
        {"* LIST () \"/\" {4}\r\na\"\\b", "a\"\\b", '/', 0},
        {"* LIST () \"/\" \"Entw&APw-rfe\" (\"OLDNAME\" (\"x\"))", "Entw&APw-rfe", '/', 0},
        {"* LSUB () \"/\" \"\"", "", '/', 0},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto entry = parsed<ListEntry>(c.text);
        CHECK(entry.name == c.name);
        CHECK(entry.delimiter == c.delimiter);
        CHECK(entry.attributes.size() == c.attributes);
    }
}

TEST_CASE("FETCH: what is wanted is taken, what is not is stepped over; RFC 3501 7.4.2") {
    const auto one = parsed<Fetched>(
        "* 12 FETCH (FLAGS (\\Seen \\Recent $Forwarded \\X) ENVELOPE (\"d\" {3}\r\n)(\" ((NIL NIL \"a\" \"b\")) NIL) "
        "UID 77 INTERNALDATE \" 7-Feb-1994 21:52:25 -0800\" RFC822.SIZE 4286 BODY[HEADER.FIELDS (SUBJECT)]<0.5> \"x\" "
        "MODSEQ (624140003) X-GM-MSGID 1278455344230334865 X-GM-LABELS (\"\\\\Inbox\" a))");
    CHECK(one.number == 12);
    CHECK(one.uid == 77);
    REQUIRE(one.flags);
    CHECK(one.flags->system == kSeen);
    CHECK(one.flags->keywords == std::vector<std::string>{"$Forwarded"});
    CHECK(one.internal_date_s == 760686745);
    CHECK(one.size_octets == 4286);
    CHECK(one.modseq == 624140003);
    CHECK(one.lasting_id == 1278455344230334865);
    CHECK(one.body == Fetched::Body::none);

    CHECK(parsed<Fetched>("* 1 FETCH (UID 3 BODY[] NIL)").body == Fetched::Body::nil);
    const auto quoted = parsed<Fetched>("* 1 FETCH (BODY[] \"Subject: x\" UID 3)");
    CHECK(quoted.body == Fetched::Body::quoted);
    CHECK(quoted.quoted_body == "Subject: x");
    const auto streamed = parse_response("* 1 FETCH (BODY[] \"\" UID 3)", true);
    REQUIRE(streamed);
    CHECK(std::get<Fetched>(streamed->data).body == Fetched::Body::streamed);
    CHECK_FALSE(parsed<Fetched>("* 1 FETCH (INTERNALDATE \"nonsense\" UID 3)").internal_date_s);
    CHECK(parsed<Fetched>("* 1 FETCH (UID 99999999999)").uid == 0);

    std::string deep = "* 1 FETCH (X ";
    deep.append(100'000, '(');
    CHECK_FALSE(parse_response(deep, false));
}

TEST_CASE("the other responses") {
    CHECK(parsed<Count>("* 23 EXISTS").number == 23);
    CHECK(parsed<Count>("* 44 expunge").kind == Count::Kind::expunge);
    CHECK(parsed<Capabilities>("* CAPABILITY IMAP4rev1 idle").names == std::vector<std::string>{"IMAP4REV1", "IDLE"});
    CHECK(parsed<Continuation>("+ go on").text == "go on");
    CHECK(parsed<Continuation>("+").text.empty());
    const auto status = parsed<StatusEntry>("* STATUS \"a b\" (MESSAGES 231 X (1 2) UIDNEXT 44292)");
    CHECK(status.name == "a b");
    CHECK(status.messages == 231);
    CHECK(status.uid_next == 44292);
    const auto spaces = parsed<Namespaces>("* NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\" \"X\" (\"y\"))) NIL");
    REQUIRE(spaces.personal.size() == 1);
    CHECK(spaces.personal[0].prefix == "INBOX.");
    CHECK(spaces.others[0].delimiter == '.');
    CHECK(spaces.shared.empty());
    CHECK(parsed<std::vector<std::uint32_t>>("* SEARCH 2 84 882").size() == 3);
    CHECK(parsed<OtherResponse>("* ENABLED CONDSTORE").keyword == "ENABLED");
    CHECK(parsed<OtherResponse>("* VANISHED (EARLIER) 1:3").keyword == "VANISHED");
    CHECK(parsed<OtherResponse>("* 7 XMAS").keyword == "XMAS");
}
