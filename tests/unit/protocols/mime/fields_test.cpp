// Dates, parameters, encoded words, charsets and transfer encodings, by tables and by conformance vectors.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/mime/charset.h"
#include "protocols/mime/date.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/parameter.h"
#include "tests/support/json.h"

namespace {

using namespace posthouse;

std::string shown(const std::optional<mime::Date>& date) {
    if (!date) return "none";
    return fmt::format("{} {}", mime::format_rfc5322(date->utc), date->zone_minutes);
}

test::Json vectors(const std::string& name) {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return test::Json::array();
    }
    auto json = test::parse_json(test::read_whole_file(root + name));
    REQUIRE(json.has_value());
    return *std::move(json);
}

}  // namespace

TEST_CASE("dates, RFC 5322 3.3 and 4.3 and what old software writes") {
    struct Case {
        const char* input;
        const char* wanted;
    };
    constexpr Case kCases[] = {
        {"Mon, 23 Nov 2026 20:11:05 +0000", "Mon, 23 Nov 2026 20:11:05 +0000 0"},
        {"Tue, 1 Jul 2003 10:52:37 +0200", "Tue, 1 Jul 2003 08:52:37 +0000 120"},
        {"1 Jan 70 00:00 GMT", "Thu, 1 Jan 1970 00:00:00 +0000 0"},
        {"31 Dec 49 23:59:60 EST", "Sat, 1 Jan 2050 05:00:00 +0000 -300"},
        {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "Fri, 21 Nov 1997 15:55:06 +0000 -360"},
        {"Mon Nov 23 20:11:05 2026", "Mon, 23 Nov 2026 20:11:05 +0000 0"},
        {"Mon Nov 23 20:11:05 PST 2026", "Tue, 24 Nov 2026 04:11:05 +0000 -480"},
        {"23-Nov-2026 20:11:05 +02:00", "Mon, 23 Nov 2026 18:11:05 +0000 120"},
        {"Sun, 29 Feb 2015 10:00:00 +0000", "none"},
        {"Mon, 32 Jan 2015 10:00:00 +0000", "none"},
        {"Mon, 1 Jan 2015 24:00:00 +0000", "none"},
        {"Mon, 1 Jan 99999999999999 10:00:00 +0000", "none"},
        {"Whenever", "none"},
        {"", "none"},
        {"1 Jan 2015 10:00:00 +9999999999", "Thu, 1 Jan 2015 10:00:00 +0000 0"},
        {"1 Jan 9999 23:59:59 -1200", "Sat, 2 Jan 9999 11:59:59 +0000 -720"},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        CHECK(shown(mime::parse_date(c.input)) == c.wanted);
    }
}

TEST_CASE("dates of mail-parser") {
    const std::set<std::string> others = {
        // Six numbers and a comma: mail-parser reads the next "4" as a zone.
        " 4 8 15 16 23 42, 4 8 15 16 23 42, 4 8 15 16 23 42, ",
        // It ends the value at the bare line end inside the comment; a header reader has unfolded that already.
        "Tue, 1 Jul 2003 ((invalid)\ncomment) 10:52:37 +0200"};
    int compared = 0;
    for (const test::Json& one : vectors("/mime-stalwart/fields/date.json").items) {
        const std::string& header = one["header"].text;
        if (others.contains(header)) continue;
        CAPTURE(header);
        const auto ours = mime::parse_date(header);
        const test::Json& wanted = one["expected"];
        ++compared;
        CHECK(ours.has_value() == wanted.is_object());
        if (!ours || !wanted.is_object()) continue;
        const auto zone = wanted["tz_hour"].integer() * 60 + wanted["tz_minute"].integer();
        CHECK(ours->zone_minutes == (wanted["tz_before_gmt"].boolean ? -zone : zone));
        const Time local = ours->utc + std::chrono::minutes(ours->zone_minutes);
        const std::string text = format_rfc3339(local);
        CHECK(text.substr(0, 19) == fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", wanted["year"].integer(),
                                                wanted["month"].integer(), wanted["day"].integer(),
                                                wanted["hour"].integer(), wanted["minute"].integer(),
                                                wanted["second"].integer()));
    }
    MESSAGE(compared << " compared");
}

TEST_CASE("content types of mail-parser") {
    const std::set<std::string> others = {
        "text/plain/format\n",                    // we stop the subtype at the second '/', no token holds one
        "text/plain/format ;charset=us-ascii\n",  // likewise
        "name=value\n",                           // we read the token "name"; the field is broken either way
        // Without semicolons: IMAP servers drop what follows the first value; mail-parser guesses three parameters.
        "application/x-stuff\n   title*0*=us-ascii'en'This%20is%20even%20more%20\n   "
        "title*1*=%2A%2A%2Afun%2A%2A%2A%20\n   title*2=\"isn't it!\"\n",
        // White space between encoded words is not shown (RFC 2047 6.2), in a parameter no more than elsewhere.
        "image/jpeg;\n   name=\"=?iso-8859-1?B?4Q==?= =?utf-8?B?w6k=?= =?iso-8859-1?q?=ED?=.jpeg\"\n",
        "inva/lid; name=\"   \n    \n",  // blanks of a broken quoted string
    };
    int compared = 0;
    for (const test::Json& one : vectors("/mime-stalwart/fields/content_type.json").items) {
        const std::string& header = one["header"].text;
        if (others.contains(header)) continue;
        CAPTURE(header);
        const auto ours = mime::parse_content_type(header);
        const test::Json& wanted = one["expected"];
        ++compared;
        if (wanted.is_null()) {
            CHECK((ours.type.empty() || ours.subtype.empty()));
            continue;
        }
        CHECK(ascii::to_lower(ours.type) == wanted["c_type"].text);
        CHECK(ascii::to_lower(ours.subtype) == wanted["c_subtype"].text);
        std::size_t wanted_count = 0;
        for (const test::Json& attribute : wanted["attributes"].items) {
            if (attribute[0].text.ends_with("-language")) continue;
            ++wanted_count;
            CHECK(mime::parameter_value(ours.parameters, attribute[0].text) == attribute[1].text);
        }
        CHECK(ours.parameters.size() == wanted_count);
    }
    MESSAGE(compared << " compared");
}

TEST_CASE("parameters, RFC 2231: continuations and charsets") {
    struct Case {
        const char* input;
        const char* name;
        const char* raw;
        const char* value;
    };
    constexpr Case kCases[] = {
        {"message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\"", "URL",
         "ftp://cs.utk.edu/pub", "ftp://cs.utk.edu/pub"},
        {"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title",
         "us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "This is ***fun***"},
        {"a/b; title*0*=us-ascii'en'even%20more%20; title*1*=%2A%2A; title*2=\"isn't it!\"", "title",
         "us-ascii'en'even%20more%20%2A%2Aisn%27t%20it!", "even more **isn't it!"},
        {"a/b; name*1=b; name*0=a; name*3=d", "name", "ab", "ab"},
        {"attachment; filename=plain; filename*=utf-8''%e2%82%ac", "filename", "plain", "\xE2\x82\xAC"},
        {"attachment; filename=my file.pdf; size=1", "filename", "my file.pdf", "my file.pdf"},
        {"attachment; filename=\"a\\\"b\"", "filename", "a\"b", "a\"b"},
        {"attachment; filename*=utf-8''%zz%4", "filename", "utf-8''%zz%4", "%zz%4"},
        {"attachment; filename*0*=''; filename*1*=%C3; filename*2*=%A9", "filename", "''%C3%A9", "\xC3\xA9"},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        const auto type = mime::parse_content_type(c.input);
        CHECK(mime::raw_parameter(type.parameters, c.name) == c.raw);
        CHECK(mime::parameter_value(type.parameters, c.name) == c.value);
    }
    std::string many = "a/b";
    for (int i = 0; i < 200; ++i) many += fmt::format("; p{}=1", i);
    CHECK(mime::parse_content_type(many).parameters.size() == mime::kLimits.params_max);
    CHECK(mime::parse_token_value(" (x) 7bit (y) ") == "7bit");
    CHECK(mime::parse_token_value("two words").empty());
}

TEST_CASE("encoded words, RFC 2047: 39 vectors") {
    int firm = 0;
    int lenient = 0;
    for (const test::Json& one : vectors("/rfc2047/decode.json").items) {
        CAPTURE(one["in"].text);
        CAPTURE(one["source"].text);
        CHECK(mime::decode_encoded_words(one["in"].text) == one["out"].text);
        (one["firm"].boolean ? firm : lenient) += 1;
    }
    MESSAGE(firm << " firm and " << lenient << " lenient vectors");
}

TEST_CASE("unstructured fields of mail-parser") {
    const std::set<std::string> others = {
        " FWD: \n Saying Hello \nX-Mailer: 123\r\n",  // the rest is another field
        "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=\nFrom: unknown@domain.com\n",
        "Some text =?utf-8?Q?\?=here\n",  // it puts a blank after each word
        "[SUSPECTED SPAM]=?utf-8?B?VGhpcyBpcyB0aGUgb3JpZ2luYWwgc3ViamVjdA==?=\n",
        "[SUSPECTED SPAM]=?utf-8?B?VGhpcyBpcyB0aGUgb\n 3JpZ2luYWwgc3ViamVjdA==?=\n",
        "[SUSPECTED SPAM]=?utf-8?B?VGhpcyBpcyB0aGUgb\r\n 3JpZ2luYWwgc3ViamVjdA==?=\r\n",
    };
    int compared = 0;
    for (const test::Json& one : vectors("/mime-stalwart/fields/unstructured.json").items) {
        if (others.contains(one["header"].text)) continue;
        CAPTURE(one["header"].text);
        const auto squeeze = [](std::string_view text) {  // it removes the blanks of a fold, we keep them
            std::string out;
            for (const char c : text)
                if (!ascii::is_space(c) || !out.ends_with(' ')) out.push_back(ascii::is_space(c) ? ' ' : c);
            return out;
        };
        CHECK(squeeze(mime::decode_encoded_words(one["header"].text)) == squeeze(one["expected"].text));
        ++compared;
    }
    MESSAGE(compared << " compared");
}

TEST_CASE("encoded words as we write them: short enough, and read back") {
    std::string long_text;
    for (int i = 0; i < 60; ++i) long_text += "gr\xC3\xBC\xC3\x9F \xE6\x97\xA5 ";
    for (const std::string& text : {std::string("plain"), std::string("J\xC3\xBC, \"x\" =?"),
                                    std::string("=?utf-8?Q?x?="), std::string("\xF0\x9F\x93\xAC"), long_text}) {
        const std::string words = mime::encode_words(text);
        CHECK(mime::decode_encoded_words(words) == text);
        CHECK_FALSE(ascii::has_8bit(words));
        std::string_view rest = words;
        while (rest.starts_with("=?")) {
            const std::string_view word = rest.substr(0, rest.find(' '));
            CHECK(word.size() <= 75);
            rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        }
    }
    CHECK(mime::encode_words("a\r\nBcc: x") == "a  Bcc: x");
    CHECK(mime::encode_phrase("a b") == "a b");
    CHECK(mime::encode_phrase("a, b") == "\"a, b\"");
    CHECK(mime::encode_phrase("a\nb") == "a b");
}

TEST_CASE("encoded words: many unclosed ones cost one scan") {
    std::string text;
    for (int i = 0; i < 40'000; ++i) text += " =?u?q?";
    CHECK(mime::decode_encoded_words(text).size() == text.size() - 1);
}

TEST_CASE("charsets become UTF-8, and nothing else") {
    CHECK(mime::to_utf8("caf\xE9", "ISO-8859-1") == "caf\xC3\xA9");
    CHECK(mime::to_utf8("\x80", "iso-8859-1") == "\xE2\x82\xAC");  // senders mean windows-1252
    CHECK(mime::to_utf8("caf\xC3\xA9", "us-ascii") == "caf\xC3\xA9");
    CHECK(mime::to_utf8("caf\xE9", "") == "caf\xC3\xA9");
    CHECK(mime::to_utf8("\xC3", "utf-8") == "\xEF\xBF\xBD");
    CHECK(mime::to_utf8("\x93\xFA\x96\x7B", "Shift_JIS") == "\xE6\x97\xA5\xE6\x9C\xAC");
    CHECK(mime::to_utf8("\xC8\xD5\xB1\xBE", "gb2312") == "\xE6\x97\xA5\xE6\x9C\xAC");
    CHECK_FALSE(mime::to_utf8("x", "x-no-such").has_value());
    CHECK_FALSE(mime::to_utf8("x", "../../etc/passwd").has_value());
    CHECK_FALSE(mime::to_utf8("x", "utf-16,version=1").has_value());
    CHECK(mime::to_utf8("\xE9\xE9\xE9\xE9", "iso-8859-1", 5) == "\xC3\xA9\xC3\xA9");
    CHECK(mime::is_known_charset("KOI8-R"));
    CHECK_FALSE(mime::is_known_charset("x-no-such"));
    CHECK(mime::repair_utf8("a\xFFz") == "a\xEF\xBF\xBDz");
    CHECK(mime::cut_utf8("a\xE2\x82\xAC", 3) == "a");
}

TEST_CASE("base64 and quoted-printable, RFC 2045 6.7 and 6.8") {
    std::string all;
    for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
    for (std::size_t n = 0; n < all.size(); ++n) {
        const std::string_view part = std::string_view(all).substr(0, n);
        CHECK(mime::decode_base64(mime::encode_base64(part)).data == part);
        CHECK_FALSE(mime::decode_base64(mime::encode_base64(part, 76)).damaged);
        CHECK(mime::decode_quoted_printable(mime::encode_quoted_printable(part)).data == part);
    }
    CHECK(mime::encode_base64("Man") == "TWFu");
    CHECK(mime::decode_base64("TW").data == "M");
    CHECK(mime::decode_base64("TW").damaged);
    CHECK(mime::decode_base64("T*WF\r\nu").data == "Man");
    CHECK(mime::decode_base64("TQ==TWFu").data == "MMan");
    CHECK(mime::decode_quoted_printable("a=\r\nb=3D=c3 \t\r\nx=ZZ=").data == "ab=\xC3\r\nx=ZZ");
    CHECK(mime::decode_quoted_printable("=ZZ").damaged);
    const std::string text =
        "A line that is a good deal longer than seventy-six characters must be broken softly. \r\n.\r\nFrom x\r\n";
    const std::string encoded = mime::encode_quoted_printable(text);
    CHECK(mime::decode_quoted_printable(encoded).data == text);
    CHECK(encoded.find("\r\n.\r\n") == std::string::npos);
    for (std::string_view rest = encoded; !rest.empty();) {
        const auto end = rest.find("\r\n");
        CHECK(end <= 76);
        rest.remove_prefix(end + 2);
    }
    CHECK(mime::transfer_encoding(" BASE64 ") == mime::TransferEncoding::base64);
    CHECK(mime::transfer_encoding("x-uuencode") == mime::TransferEncoding::unknown);
    CHECK(mime::decode_transfer("abc", mime::TransferEncoding::unknown).damaged);
}
