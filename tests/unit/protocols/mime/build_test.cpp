// Writing messages: no way to smuggle a line end into a header, folding, reports; and text for searching and sorting.
#include "protocols/mime/build.h"

#include <doctest/doctest.h>

#include <array>

#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"

namespace {

using namespace posthouse;
using mime::HeaderValue;

}  // namespace

TEST_CASE("a header value never holds a line end") {
    CHECK_FALSE(HeaderValue::exactly("a\r\nBcc: x").has_value());
    CHECK_FALSE(HeaderValue::exactly("a\nb").has_value());
    CHECK_FALSE(HeaderValue::exactly(std::string_view("a\0b", 3)).has_value());
    CHECK(HeaderValue::exactly("plain")->view() == "plain");
    CHECK(HeaderValue::cleaned("a\r\nBcc: x").view() == "a  Bcc: x");
    CHECK(HeaderValue::text("\xC3\xA9\r\nBcc: x").view().find('\n') == std::string::npos);
}

TEST_CASE("folding, RFC 5322 2.1.1: short lines, and unfolding gives the value back") {
    std::string value = "start";
    for (int i = 0; i < 40; ++i) value += i % 7 == 0 ? "  word" : " somewhat-longer-word";
    const std::string field = mime::format_field("Subject", HeaderValue::cleaned(value));
    CHECK(field.ends_with("\r\n"));
    for (std::string_view rest = field; !rest.empty();) {
        const auto end = rest.find("\r\n");
        CHECK(end <= 78);
        rest.remove_prefix(end + 2);
    }
    const auto fields = mime::parse_fields(field);
    REQUIRE(fields.size() == 1);
    CHECK(mime::unfold(fields[0].raw_value) == value);
    CHECK(mime::format_field("X", HeaderValue::cleaned("")) == "X:\r\n");
    CHECK(mime::format_field("X", HeaderValue::cleaned(std::string(100, 'y'))) ==
          "X: " + std::string(100, 'y') + "\r\n");
}

TEST_CASE("fields are added at the top and removed wherever they are") {
    const std::string message = "Bcc: a\r\n b\r\nTo: c\r\nbcc : d\r\n\r\nBcc: body\r\n";
    const std::array<std::string_view, 1> names = {"Bcc"};
    CHECK(mime::remove_fields(message, names) == "To: c\r\n\r\nBcc: body\r\n");
    CHECK(mime::add_field("A: 1\r\n\r\n", "B", HeaderValue::cleaned("2")) == "B: 2\r\nA: 1\r\n\r\n");
    std::string many;
    for (int i = 0; i < 2500; ++i) many += "X: y\r\n";
    CHECK(mime::remove_fields(many + "Bcc: hidden\r\n\r\n", names) == many + "\r\n");
}

TEST_CASE("line ends are made CRLF") {
    struct Case {
        const char* input;
        const char* wanted;
    };
    constexpr Case kCases[] = {{"a\nb", "a\r\nb"},
                               {"a\r\nb\r\n", "a\r\nb\r\n"},
                               {"a\rb", "a\r\nb"},
                               {"\n\n", "\r\n\r\n"},
                               {"\r\r\n", "\r\n\r\n"},
                               {"a\r", "a\r\n"},
                               {"", ""},
                               {"\n\r", "\r\n\r\n"}};
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        CHECK(mime::normalise_crlf(c.input) == c.wanted);
        CHECK(mime::has_only_crlf(c.wanted));
        CHECK(mime::has_only_crlf(c.input) == (std::string_view(c.input) == c.wanted));
    }
}

TEST_CASE("a report is read back as it was put together, RFC 6522") {
    const std::string boundary = mime::make_boundary(system_random());
    const std::vector<std::pair<std::string, HeaderValue>> headers = {
        {"From", HeaderValue::cleaned("Mail Delivery System <postmaster@x.test>")},
        {"Subject", HeaderValue::text("Could not deliver")}};
    const std::vector<mime::BodyPart> parts = {
        {.headers = {{"Content-Type", HeaderValue::cleaned("text/plain; charset=utf-8")}}, .body = "Sorry.\r\n"},
        {.headers = {{"Content-Type", HeaderValue::cleaned("message/delivery-status")}},
         .body = "Reporting-MTA: dns; x.test\r\n"},
        {.headers = {{"Content-Type", HeaderValue::cleaned("text/rfc822-headers")}}, .body = "From: a@x.test\r\n"}};
    const std::string report = mime::assemble_report(headers, "delivery-status", boundary, parts);
    CHECK(mime::has_only_crlf(report));
    const auto s = mime::parse_structure(report);
    CHECK(s.root.subtype == "report");
    CHECK(mime::raw_parameter(s.root.params, "report-type") == "delivery-status");
    REQUIRE(s.root.children.size() == 3);
    CHECK(s.root.children[1].subtype == "delivery-status");
    CHECK(mime::decoded_body(report, s.root.children[0]) == "Sorry.\r\n");
    const std::string id = mime::make_message_id(system_random(), from_unix_ms(1), "x.test");
    CHECK(id.starts_with("<1."));
    CHECK(id.ends_with("@x.test>"));
}

TEST_CASE("base subjects, RFC 5256 2.1") {
    struct Case {
        const char* input;
        const char* base;
        bool reply;
    };
    constexpr Case kCases[] = {
        {"hello", "hello", false},
        {"Re: hello", "hello", true},
        {"RE : [list] Fwd: hello (fwd)", "hello", true},
        {"[list] hello", "hello", false},
        {"[list]", "[list]", false},
        {"[fwd: Re: inner]", "inner", true},
        {"Re[2]: hello", "hello", true},
        {"re  [x] : hello  world", "hello world", true},
        {"Fw: ", "", true},
        {"reply: no", "reply: no", false},
        {"=?utf-8?Q?Re:_caf=C3=A9?=", "caf\xC3\xA9", true},
        {"", "", false},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        CHECK(mime::base_subject(c.input) == c.base);
        CHECK(mime::is_reply_subject(c.input) == c.reply);
    }
    std::string blobs;
    for (int i = 0; i < 50'000; ++i) blobs += "[a]";
    CHECK(mime::base_subject(blobs).size() <= 2048);
}

TEST_CASE("text for searching: decoded, in UTF-8, folded") {
    const std::string message =
        "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        "Stra=DFe CAF=C9\r\n";
    const auto s = mime::parse_structure(message);
    CHECK(mime::decoded_text(message, s.root) ==
          "Stra\xC3\x9F"
          "e CAF\xC3\x89\r\n");
    CHECK(mime::fold_for_search(mime::decoded_text(message, s.root)) ==
          "STRA\xC3\x9F"
          "E CAFE\xCC\x81\r\n");
    CHECK(mime::fold_for_search("a\xFF") == "A\xEF\xBF\xBD");
    mime::Limits small;
    small.text_octets_max = 6;
    CHECK(mime::decoded_text(message, s.root, small).size() <= 6);
    const auto odd = mime::parse_structure("Content-Type: text/plain; charset=x-none\r\n\r\nabc");
    CHECK(mime::decoded_text("Content-Type: text/plain; charset=x-none\r\n\r\nabc", odd.root) == "abc");
    mime::Part outside;
    outside.body_offset = 100;
    outside.body_octets = 5;
    CHECK(mime::decoded_text("short", outside).empty());
}

TEST_CASE("ids in References and In-Reply-To, RFC 5256 3") {
    struct Case {
        std::string_view input;
        std::vector<std::string> ids;
    };
    const Case kCases[] = {
        {"<a@b>", {"a@b"}},
        {" <a@b>\r\n <c@d>(comment <x@y>)<e@f> ", {"a@b", "c@d", "e@f"}},
        {"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", {"01KF8JCEOCBS0045PS@xxx.yyy.com"}},
        {"<01KF8JCEOCBS0045PS@xxx.yyy.com>", {"01KF8JCEOCBS0045PS@xxx.yyy.com"}},
        {"<a @ b.\r\n c>", {"a@b.c"}},
        {"<\"a\\\"b\"@c>", {"a\"b@c"}},
        {"Your message of \"Fri, <no@no>\" <a@b> and more", {"a@b"}},
        {"<(null)@x>", {"(null)@x"}},
        {"<no at> <> a@b", {}},
        {"<a@b <c@d>", {"c@d"}},
        {"<a@b", {}},
        {"", {}},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        CHECK(mime::message_ids(c.input) == c.ids);
    }
    std::string many;
    for (int i = 0; i < 5000; ++i) many += "<a@b>";
    CHECK(mime::message_ids(many).size() == mime::kMessageIdsMax);
}
