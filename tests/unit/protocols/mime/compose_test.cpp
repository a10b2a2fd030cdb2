#include "protocols/mime/compose.h"

#include <doctest/doctest.h>

#include "protocols/mime/encoded_word.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"

using namespace posthouse;
using namespace posthouse::mime;

namespace {

DraftFile file(std::string name, std::string type, std::string subtype, std::string content) {
    DraftFile out;
    out.name = std::move(name);
    out.type.type = std::move(type);
    out.type.subtype = std::move(subtype);
    out.content = std::move(content);
    return out;
}

std::string made(const Draft& draft) {
    const auto out = compose(draft, system_random());
    REQUIRE(out);
    for (std::size_t at = 0; at < out->size();) {
        const std::size_t end = out->find("\r\n", at);
        REQUIRE(end != std::string::npos);
        REQUIRE(end - at <= 998);
        at = end + 2;
    }
    REQUIRE(has_only_crlf(*out));
    return *out;
}

// "multipart/mixed(multipart/alternative(text/plain text/html) image/png)"
std::string shape(const Part& part) {
    std::string out = part.type + "/" + part.subtype;
    std::string inner;
    for (const Part& child : part.children) inner += (inner.empty() ? "" : " ") + shape(child);
    return inner.empty() ? out : out + "(" + inner + ")";
}

}  // namespace

TEST_CASE("what is not there leaves its level out") {
    Draft draft;
    draft.text = "hello";
    CHECK(shape(parse_structure(made(draft)).root) == "text/plain");
    draft.html = "<p>hello</p>";
    CHECK(shape(parse_structure(made(draft)).root) == "multipart/alternative(text/plain text/html)");
    draft.files.push_back(file("a.pdf", "application", "pdf", "%PDF"));
    CHECK(shape(parse_structure(made(draft)).root) ==
          "multipart/mixed(multipart/alternative(text/plain text/html) application/pdf)");
    DraftFile logo = file("logo.png", "image", "png", "\x89PNG");
    logo.content_id = "logo@a.example";
    logo.shown_inline = true;
    draft.files.push_back(logo);
    CHECK(shape(parse_structure(made(draft)).root) ==
          "multipart/mixed(multipart/alternative(text/plain multipart/related(text/html image/png)) application/pdf)");
    draft.html.clear();
    CHECK(shape(parse_structure(made(draft)).root) == "multipart/mixed(text/plain application/pdf image/png)");
    CHECK(made(draft).find("Content-ID: <logo@a.example>\r\n") != std::string::npos);
}

TEST_CASE("RFC 2045 6: whatever a text holds comes out as it went in") {
    for (const std::string& text :
         {std::string("plain\r\n"), std::string("caf\xC3\xA9 = ol\xC3\xA9\r\n"), std::string(5000, 'x') + "\r\n",
          std::string("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\r\n"), std::string("From here\r\n.dot\r\n")}) {
        CAPTURE(text);
        Draft draft;
        draft.text = text;
        const std::string message = made(draft);
        CHECK_FALSE(message.substr(message.find("\r\n\r\n")).contains('\xC3'));
        CHECK(decoded_text(message, parse_structure(message).root) == text);
    }
    Draft draft;
    draft.text = "a\nb\rc";
    const std::string message = made(draft);
    CHECK(decoded_text(message, parse_structure(message).root) == "a\r\nb\r\nc\r\n");
}

TEST_CASE("files keep their octets and their names, RFC 2231") {
    for (const std::string& name :
         {std::string("a.pdf"), std::string("two words.pdf"), std::string("quote\".pdf"), std::string("\xC3\xBC.pdf"),
          std::string(200, 'n') + ".pdf", std::string("line\r\nX-Evil: 1.pdf")}) {
        CAPTURE(name);
        Draft draft;
        std::string octets;
        for (int at = 0; at < 1000; ++at) octets += static_cast<char>(at);
        draft.files.push_back(file(name, "application", "pdf", octets));
        const std::string message = made(draft);
        CHECK(message.find("\r\nX-Evil") == std::string::npos);
        const Part root = parse_structure(message).root;
        REQUIRE(root.children.size() == 2);
        CHECK(parameter_value(root.children[1].params, "name") == name);
        CHECK(decoded_body(message, root.children[1]) == octets);
    }
}

TEST_CASE("RFC 2046 5.2.1: a message within goes as it is, or not at all") {
    Draft draft;
    draft.files.push_back(file("", "message", "rfc822",
                               "Subject: inner\n\nb\xC3\xB6"
                               "dy\n"));
    const std::string message = made(draft);
    CHECK(message.find("Content-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n\r\nb") != std::string::npos);
    draft.files.front().content = std::string(2000, 'x');
    CHECK_FALSE(compose(draft, system_random()));
}

TEST_CASE("names in address lists: quoted, encoded, never a way out of the field") {
    Address plain;
    plain.local_part = "a";
    plain.domain = "a.example";
    Address odd = plain;
    odd.display_name = "Last, First";
    Address wide = plain;
    wide.display_name = "J\xC3\xBCrgen";
    Address evil = plain;
    evil.display_name = "x\r\nBcc: b@b.example";
    const std::string value = format_address_list(std::vector{plain, odd, wide, evil}).view();
    CHECK(value.starts_with("a@a.example, \"Last, First\" <a@a.example>, =?"));
    CHECK_FALSE(value.contains('\n'));
    const auto read = parse_address_list(value);
    REQUIRE(read.size() == 4);
    CHECK(decode_encoded_words(read[2].display_name) == "J\xC3\xBCrgen");
}

TEST_CASE("field names and tokens") {
    CHECK(is_field_name("X-Order"));
    CHECK_FALSE(is_field_name("X Order"));
    CHECK_FALSE(is_field_name("X:"));
    CHECK_FALSE(is_field_name(""));
    CHECK_FALSE(is_field_name("X\r\nY"));
    CHECK(is_mime_token("vnd.ms-excel"));
    CHECK_FALSE(is_mime_token("a/b"));
}
