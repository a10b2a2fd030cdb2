#include "protocols/mime/search_text.h"

#include <doctest/doctest.h>

#include "protocols/mime/html_text.h"

namespace posthouse::mime {

TEST_CASE("html_text gives the words a reader sees") {
    struct Case {
        std::string_view html, text;
    };
    constexpr Case kCases[] = {
        {"<b>post</b>house", "posthouse"},
        {"<p>one<p>two<br>three", "one two three"},
        {"a<!-- b > c -->d", "ad"},
        {"<style>p { color: red }</style>x<script>if (a < b) f('</p>')</script >y", "x y"},
        {"caf&eacute; &amp; th&#233; &#xE9; &lt;tag&gt; a&nbsp;b", "caf\xc3\xa9 & th\xc3\xa9 \xc3\xa9 <tag> a b"},
        {"&unknown; &#0; &#xd800; & &;", "&unknown; &#0; &#xd800; & &;"},
        {"1 < 2 and 3 > 2", "1 < 2 and 3 > 2"},
        {"<a href=\"x>y\">link</a>", "link"},
        {"<a href='it's>broken</a>", "broken"},
        {"never ended <a href=\"x", "never ended <a href=\"x"},
        {"<!-- never ended", "<!-- never ended"},
        {"many \r\n\t blanks", "many blanks"},
        {"Donau&shy;dampf\xc2\xadschiff&#8203;fahrt\xe2\x80\x8b\xe2\x81\xa0&#xFEFF;en", "Donaudampfschifffahrten"},
        {"<td>a</td><td>b</td>", "a b "},
        {"<script>never ended", ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.html);
        CHECK(html_text(c.html) == c.text);
    }
    // Linear: what would be looked for again and again is looked for once.
    std::string open;
    for (int i = 0; i < 200'000; ++i) open += "<a \"<!--";
    CHECK(html_text(open).size() > open.size() / 2);
}

TEST_CASE("search_text reads decoded headers, all texts and contained messages, folded") {
    const std::string message =
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        "STRASSE =DCBER\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>Slan</i>ted\r\n"
        "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\nwithin\r\n"
        "--b\r\nContent-Type: application/pkcs7-mime\r\n\r\nsecret\r\n--b--\r\n";
    const SearchText text = search_text(message, message.find("\r\n\r\n") + 4);
    CHECK(text.header ==
          "SUBJECT: GRU\xcc\x88\xc3\x9f"
          "E\nCONTENT-TYPE: MULTIPART/MIXED; BOUNDARY=B\n");
    CHECK(search_holds(text.body,
                       "STRASSE U\xcc\x88"
                       "BER"));
    CHECK(search_holds(text.body, "SLANTED"));
    CHECK(search_holds(text.body, "SUBJECT: INNER"));
    CHECK(search_holds(text.body, "WITHIN"));
    CHECK_FALSE(search_holds(text.body, "SECRET"));
    CHECK(text.has_encrypted);
    CHECK(search_body(message) == text.body);
    CHECK(search_header(message.substr(0, message.find("\r\n\r\n"))) == text.header);
}

TEST_CASE("a field is found by its name and a text in it") {
    const std::string header = search_header("Subject: a: b\r\nX-Empty:\r\nTo: x@y.example\r\nTo: second\r\n");
    CHECK(search_field_holds(header, "subject", "A: B"));
    CHECK(search_field_holds(header, "to", "SECOND"));
    CHECK(search_field_holds(header, "X-Empty", ""));
    CHECK_FALSE(search_field_holds(header, "X-Empty", "X"));
    CHECK_FALSE(search_field_holds(header, "Subject", "SECOND"));
    CHECK_FALSE(search_field_holds(header, "Sub", "A"));
    CHECK_FALSE(search_field_holds(header, "", ""));
}

}  // namespace posthouse::mime
