// Headers, the MIME tree with its limits and its stored form, facts, and the structures of other parsers' corpora.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "protocols/mime/body_text.h"
#include "protocols/mime/build.h"
#include "protocols/mime/facts.h"
#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"
#include "tests/support/json.h"

namespace {

using namespace posthouse;

constexpr std::string_view kNested =
    "From: a@x.test\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n"
    "--out\r\n\r\nplain\r\n"
    "--out\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/alternative; "
    "boundary=in\r\n"
    "\r\n--in\r\nContent-Type: text/plain\r\n\r\none\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--in--\r\n\r\n"
    "--out--\r\nepilogue\r\n";

std::string_view section(const mime::Structure& s, std::vector<std::uint32_t> path, mime::SectionKind kind) {
    const auto extent = mime::find_section(s, path, kind);
    if (!extent) return "(none)";
    return kNested.substr(static_cast<std::size_t>(extent->offset), static_cast<std::size_t>(extent->octets));
}

/// "(" children ")" for a multipart, "m[" child "]" for a message, "b" for a leaf.
std::string shape(const mime::Part& part) {
    if (part.is_message_rfc822) return "m[" + shape(part.children.front()) + "]";
    if (!part.is_multipart()) return "b";
    std::string out = "(";
    for (const auto& child : part.children) out += shape(child);
    return out + ")";
}

std::string shape(const test::Json& parts, std::size_t index) {
    const test::Json& body = parts[index]["body"];
    if (const test::Json* list = body.find("Multipart")) {
        std::string out = "(";
        for (const auto& child : list->items) out += shape(parts, static_cast<std::size_t>(child.integer()));
        return out + ")";
    }
    if (const test::Json* message = body.find("Message")) return "m[" + shape((*message)["parts"], 0) + "]";
    return "b";
}

/// Of the token stream of Mime4j only what nests.
std::string shape_of_xml(std::string_view xml) {
    std::string out;
    for (auto at = xml.find('<'); at != std::string_view::npos; at = xml.find('<')) {
        xml.remove_prefix(at);
        if (xml.starts_with("<message>"))
            out += "m[";
        else if (xml.starts_with("</message>"))
            out += "]";
        else if (xml.starts_with("<multipart>"))
            out += "(";
        else if (xml.starts_with("</multipart>"))
            out += ")";
        else if (xml.starts_with("<body>"))
            out += "b";
        xml.remove_prefix(1);
    }
    return out;
}

void check_inside(const mime::Part& part, std::uint64_t from, std::uint64_t end) {
    CHECK(part.header_offset >= from);
    CHECK(part.body_offset == part.header_offset + part.header_octets);
    CHECK(part.body_offset + part.body_octets <= end);
    for (const auto& child : part.children) check_inside(child, part.body_offset, part.body_offset + part.body_octets);
}

void check_sound(std::string_view message) {
    const auto structure = mime::parse_structure(message);
    check_inside(structure.root, 0, message.size());
    const auto back = mime::decode_structure(mime::encode_structure(structure));
    REQUIRE(back.has_value());
    CHECK(*back == structure);
}

}  // namespace

TEST_CASE("fields, RFC 5322 2.2: line ends, folding and what is no field") {
    std::size_t octets = 0;
    const std::string_view text = "A: 1\r\n 2\nB :3\r\njunk\r\n more junk\r\nC:\r\n\r\nbody: x\r\n";
    const auto fields = mime::parse_fields(text, &octets);
    REQUIRE(fields.size() == 3);
    CHECK(fields[0].name == "A");
    CHECK(mime::unfold(fields[0].raw_value) == "1 2");
    CHECK(fields[1].name == "B");
    CHECK(fields[2].raw_value.empty());
    CHECK(fields.damaged);
    CHECK(octets == text.find("body"));
    CHECK(mime::find_header_end(text) == octets);
    CHECK(mime::find_first(fields, "a") == " 1\r\n 2");
    CHECK_FALSE(mime::find_first(fields, "body").has_value());
    CHECK(text.substr(fields[1].offset, fields[1].length) == "B :3\r\n");
    CHECK(mime::parse_fields("", &octets).empty());
    CHECK(octets == 0);
    CHECK(mime::parse_fields("\r\nA: 1", &octets).empty());
    CHECK(octets == 2);
    CHECK(mime::parse_fields("A: no line end", &octets).size() == 1);
    CHECK(octets == 14);
}

TEST_CASE("fields: limits truncate and say so") {
    std::string many;
    for (int i = 0; i < 3000; ++i) many += "X: y\r\n";
    std::size_t octets = 0;
    const auto fields = mime::parse_fields(many + "\r\nbody", &octets);
    CHECK(fields.size() == 2000);
    CHECK(fields.truncated);
    CHECK(octets == many.size() + 2);
    const auto big = mime::parse_fields("X: " + std::string(300'000, 'x') + "\r\n\r\n");
    CHECK(big.truncated);
    CHECK(big[0].raw_value.size() == mime::kLimits.field_octets_max);
    std::string heavy;
    for (int i = 0; i < 12; ++i) heavy += "X: " + std::string(100'000, 'x') + "\r\n";
    CHECK(mime::parse_fields(heavy).size() == 11);
}

TEST_CASE("HEADER.FIELDS, RFC 3501 6.4.5") {
    const std::string_view block = "Subject: hi\r\nTo: a\r\n b\r\nsubject: again\r\n\r\n";
    const std::vector<std::string> names = {"SUBJECT", "nope"};
    CHECK(mime::select_fields(block, names, mime::Matching::only) == "Subject: hi\r\nsubject: again\r\n\r\n");
    CHECK(mime::select_fields(block, names, mime::Matching::except) == "To: a\r\n b\r\n\r\n");
    CHECK(mime::select_fields("A: 1", std::vector<std::string>{"a"}, mime::Matching::only) == "A: 1\r\n\r\n");
}

TEST_CASE("sections, RFC 3501 6.4.5") {
    const auto s = mime::parse_structure(kNested);
    using enum mime::SectionKind;
    CHECK(shape(s.root) == "(bm[(bb)])");
    CHECK(section(s, {}, body) == kNested);
    CHECK(section(s, {}, header) == kNested.substr(0, kNested.find("preamble")));
    CHECK(section(s, {}, text) == kNested.substr(kNested.find("preamble")));
    CHECK(section(s, {}, mime) == "(none)");
    CHECK(section(s, {1}, body) == "plain");
    CHECK(section(s, {1}, mime) == "\r\n");
    CHECK(section(s, {1}, header) == "(none)");
    CHECK(section(s, {2}, mime) == "Content-Type: message/rfc822\r\n\r\n");
    CHECK(section(s, {2}, header).starts_with("Subject: inner\r\n"));
    CHECK(section(s, {2}, header).ends_with("boundary=in\r\n\r\n"));
    CHECK(section(s, {2}, text).starts_with("--in\r\n"));
    CHECK(section(s, {2}, text).ends_with("--in--\r\n"));
    CHECK(section(s, {2, 1}, body) == "one");
    CHECK(section(s, {2, 2}, body) == "<p>two");
    CHECK(section(s, {2, 2}, mime) == "Content-Type: text/html\r\n\r\n");
    CHECK(section(s, {2, 3}, body) == "(none)");
    CHECK(section(s, {3}, body) == "(none)");
    CHECK(section(s, {0}, body) == "(none)");
    CHECK(section(s, {1, 1}, body) == "(none)");
    CHECK(s.root.children[1].envelope->subject == "inner");
    const auto leaf = mime::parse_structure("A: b\r\n\r\nbody");
    const std::vector<std::uint32_t> one = {1};
    CHECK(mime::find_section(leaf, one, body) == mime::Extent{8, 4});
    CHECK(mime::find_section(leaf, one, mime) == mime::Extent{0, 8});
}

TEST_CASE("the tree: depth and count are bounded, the rest stays opaque") {
    std::string deep;
    for (int i = 0; i < 2000; ++i)
        deep += fmt::format("Content-Type: multipart/mixed; boundary=b{}\r\n\r\n--b{}\r\n", i, i);
    const auto s = mime::parse_structure(deep);
    CHECK(s.limited);
    std::size_t depth = 0;
    for (const mime::Part* p = &s.root; !p->children.empty(); p = &p->children.front()) ++depth;
    CHECK(depth == mime::kLimits.depth_max - 1);
    check_sound(deep);

    std::string messages;
    for (int i = 0; i < 2000; ++i) messages += "Content-Type: message/rfc822\r\n\r\n";
    CHECK(mime::parse_structure(messages).limited);
    check_sound(messages);

    std::string wide = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for (int i = 0; i < 5000; ++i) wide += "--b\r\n\r\nx\r\n";
    const auto w = mime::parse_structure(wide);
    CHECK(w.limited);
    CHECK(w.root.children.size() == mime::kLimits.parts_max - 1);
    check_sound(wide);
    std::string text;
    CHECK(mime::append_imap_body(text, mime::encode_structure(w), mime::Extension::without));
    CHECK(text.size() > 1000);
}

TEST_CASE("the tree: hostile and cut messages stay sound") {
    for (std::size_t cut = 0; cut <= kNested.size(); ++cut) check_sound(kNested.substr(0, cut));
    for (const char* text :
         {"", "\r\n", "\n", "--", "Content-Type: multipart/mixed\r\n\r\nx",
          "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n",
          "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a",
          "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a--\r\n--a\r\n",
          "Content-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n--a\r\n\r\n--a--\r\n",
          "Content-Type: message/rfc822\r\n",
          "Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=a\n\n--a\n--a--",
          "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n--a\r\n"}) {
        CAPTURE(text);
        check_sound(text);
    }
}

TEST_CASE("the stored form of a tree: every damaged octet is noticed or harmless") {
    const auto good = mime::encode_structure(mime::parse_structure(kNested));
    for (std::size_t cut = 0; cut < good.size(); ++cut)
        CHECK_FALSE(mime::decode_structure(good.substr(0, cut)).has_value());
    CHECK_FALSE(mime::decode_structure(good + "x").has_value());
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (const int flip : {1, 2, 4, 8, 16, 32, 64, 128}) {
            std::string bad = good;
            bad[i] = static_cast<char>(bad[i] ^ flip);
            const auto s = mime::decode_structure(bad);
            if (s) check_inside(s->root, 0, s->size_octets);
            std::string text = "before";
            CHECK(mime::append_imap_body(text, bad, mime::Extension::with).has_value() == s.has_value());
            CHECK((s || text == "before"));
        }
    }
}

TEST_CASE("structures of Mime4j") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    constexpr const char* kEmptyPart = "a multipart has at least one part in BODYSTRUCTURE: an empty one";
    constexpr const char* kEncoded = "IMAP servers do not look into an encoded message (RFC 2046 5.2.1 forbids it)";
    const std::map<std::string, std::string> reasons = {{"multipartnopart", kEmptyPart},
                                                        {"missing-boundary", kEmptyPart},
                                                        {"missing-inner-boundary", kEmptyPart},
                                                        {"missing-inner-start-boundary", kEmptyPart},
                                                        {"base64encoded-rfc822message-nested", kEncoded},
                                                        {"bad-newlines-multiple-parts-base64", kEncoded}};
    int compared = 0;
    for (const auto& entry : std::filesystem::directory_iterator(root + "/mime-mime4j")) {
        if (entry.path().extension() != ".msg") continue;
        const std::string name = entry.path().stem().string();
        const std::string message = test::read_whole_file(entry.path().string());
        const std::string xml = test::read_whole_file(root + "/mime-mime4j/" + name + ".xml");
        check_sound(message);
        CAPTURE(name);
        const bool equal = "m[" + shape(mime::parse_structure(message).root) + "]" == shape_of_xml(xml);
        CAPTURE(shape(mime::parse_structure(message).root));
        CAPTURE(shape_of_xml(xml));
        CHECK(equal != reasons.contains(name));
        ++compared;
    }
    MESSAGE(compared << " compared, " << reasons.size() << " differ for a reason");
    CHECK(compared == 32);
}

TEST_CASE("structures of mail-parser") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    // The torture cases of malformed/ have no right answer; ours are those of an IMAP server (golden_test.cpp).
    const std::map<std::string, std::string> reasons = {
        {"rfc/008", "it looks into a base64 encoded message"},
        {"malformed/000", "it takes boundaries inside a part's header for text"},
        {"malformed/002", "it shows a multipart without parts as text"},
        {"malformed/008", "it takes the line of the outer boundary for the inner one, its prefix"},
        {"malformed/012", "it stops at a boundary that ends two levels"},
        {"malformed/014", "it does not show an empty last part"},
        {"malformed/020", "of two Content-Type fields it takes the last"},
        {"malformed/022", "it shows an attached message without fields as text"}};
    int compared = 0;
    for (const char* folder : {"rfc", "malformed"}) {
        for (const auto& entry :
             std::filesystem::directory_iterator(fmt::format("{}/mime-stalwart/{}", root, folder))) {
            if (entry.path().extension() != ".eml") continue;
            const std::string name = fmt::format("{}/{}", folder, entry.path().stem().string());
            const auto json =
                test::parse_json(test::read_whole_file(fmt::format("{}/mime-stalwart/{}.crlf.json", root, name)));
            REQUIRE(json.has_value());
            const std::string message = mime::normalise_crlf(test::read_whole_file(entry.path().string()));
            check_sound(message);
            CAPTURE(name);
            CAPTURE(shape(mime::parse_structure(message).root));
            CAPTURE(shape((*json)["parts"], 0));
            CHECK((shape(mime::parse_structure(message).root) == shape((*json)["parts"], 0)) != reasons.contains(name));
            ++compared;
        }
    }
    CHECK(compared == 22);
    MESSAGE(compared << " compared, " << reasons.size() << " differ for a reason");
}

TEST_CASE("facts of a message") {
    const std::string message =
        "Received: from a\r\nReceived: from b\r\nDate: Mon, 23 Nov 2026 20:11:05 +0100\r\n"
        "From: =?utf-8?Q?J=C3=B6?= <jo@x.test>\r\nTo: a@x.test, \"B, C\" <b@x.test>, G: c@x.test;\r\n"
        "Subject: =?utf-8?Q?caf=C3=A9?= " +
        std::string(600, 'x') +
        "\r\nMessage-ID: <1@x.test>\r\n"
        "In-Reply-To: text <0@x.test> <9@x.test>\r\n\r\nbody\r\n";
    const auto facts = mime::compute_facts(message);
    CHECK(facts.from == "J\xC3\xB6");
    CHECK(facts.to == "a@x.test, B, C, G, c@x.test");
    CHECK(facts.subject.starts_with("caf\xC3\xA9 xx"));
    CHECK(facts.subject.size() == mime::kFactOctetsMax);
    CHECK(facts.message_id == "<1@x.test>");
    CHECK(facts.in_reply_to == "<0@x.test>");
    CHECK(format_rfc3339(*facts.date) == "2026-11-23T19:11:05.000Z");
    CHECK(facts.size_octets == message.size());
    CHECK(facts.header_octets == message.size() - 6);
    CHECK(facts.received_hops == 2);
    CHECK(facts.envelope.starts_with("(\"Mon, 23 Nov 2026 20:11:05 +0100\" \"=?utf-8?Q?caf=C3=A9?= xx"));
    CHECK(mime::decode_structure(facts.structure).has_value());
    CHECK(mime::compute_facts("").size_octets == 0);
}

TEST_CASE("IMAP strings: what cannot stand in quotes becomes a literal") {
    const auto shown = [](std::string_view text) {
        std::string out;
        mime::append_imap_string(out, text);
        return out;
    };
    CHECK(shown("a\"b\\c") == "\"a\\\"b\\\\c\"");
    CHECK(shown("caf\xC3\xA9") == "{5}\r\ncaf\xC3\xA9");
    CHECK(shown("a\rb") == "{3}\r\na\rb");
    CHECK(shown(std::string_view("a\0b", 3)) ==
          "{3}\r\na\x80"
          "b");
    CHECK(shown("") == "\"\"");
}
