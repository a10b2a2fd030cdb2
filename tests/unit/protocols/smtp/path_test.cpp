#include "protocols/smtp/path.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "protocols/smtp/limits.h"

using namespace posthouse;

namespace {

Result<smtp::Path> reverse(std::string_view text) {
    Cursor in(text);
    auto path = smtp::take_reverse_path(in);
    if (path && !in.at_end()) return Error(Errc::invalid, "octets behind the path");
    return path;
}

// The text of a file of the conformance data, or "" where it is not there.
std::string conformance(const std::string& name) {
    const char* root = std::getenv("POSTHOUSE_CONFORMANCE");
    std::ifstream in((root != nullptr ? std::string(root) : "../shared/conformance") + "/" + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string between(std::string_view text, std::string_view open, std::string_view close) {
    const std::size_t start = text.find(open);
    if (start == std::string_view::npos) return {};
    const std::size_t end = text.find(close, start + open.size());
    return std::string(text.substr(start + open.size(), end - start - open.size()));
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
}

// XML entities, and U+2400+n for the control octet n: "&#x2400;" or its UTF-8 form.
std::string decode_address(std::string text) {
    for (int control = 0; control < 0x20; ++control) {
        char entity[16];
        std::snprintf(entity, sizeof entity, "&#x24%02X;", static_cast<unsigned>(control));
        replace_all(text, entity, std::string(1, static_cast<char>(control)));
        const std::string utf8 = {'\xe2', '\x90', static_cast<char>(0x80 + control)};
        replace_all(text, utf8, std::string(1, static_cast<char>(control)));
    }
    replace_all(text, "&#xA9;", "\xc2\xa9");
    replace_all(text, "&quot;", "\"");
    replace_all(text, "&lt;", "<");
    replace_all(text, "&gt;", ">");
    replace_all(text, "&amp;", "&");
    return text;
}

}  // namespace

TEST_CASE("paths, RFC 5321 4.1.2: what is good, and what it comes to") {
    struct Case {
        std::string_view input;
        std::string_view spec;
    };
    constexpr Case cases[] = {
        {"<>", ""},
        {"<a@b.example>", "a@b.example"},
        {"<@x.example,@y.example:a@b.example>", "a@b.example"},
        {"<\"a\"@b.example>", "a@b.example"},
        {"<\"a\\b\"@b.example>", "ab@b.example"},
        {"<\"a b\"@b.example>", "\"a b\"@b.example"},
        {"<\"a\\\"b\"@b.example>", "\"a\\\"b\"@b.example"},
        {"<\"\"@b.example>", "\"\"@b.example"},
        {"<a@[192.0.2.1]>", "a@[192.0.2.1]"},
        {"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"},
        {"<a.b+c=d/e@x-y.example>", "a.b+c=d/e@x-y.example"},
        {"<gr\xc3\xbc@b.example>", "gr\xc3\xbc@b.example"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.input);
        const auto path = reverse(c.input);
        REQUIRE(path);
        CHECK(path->spec() == c.spec);
    }
}

TEST_CASE("paths: what is refused") {
    constexpr std::string_view cases[] = {"",
                                          "a@b.example",
                                          "<a@b.example",
                                          "<a>",
                                          "<a@>",
                                          "<@b.example>",
                                          "<a@b..example>",
                                          "<.a@b.example>",
                                          "<a.@b.example>",
                                          "<a..b@b.example>",
                                          "<a b@b.example>",
                                          "<a@-b.example>",
                                          "<a@b-.example>",
                                          "<a@b.example.>",
                                          "<a@[192.0.2.256]>",
                                          "<a@[1.2.3]>",
                                          "<a@[IPv6:1::2::3]>",
                                          "<a@[2001:db8::1]>",
                                          "<a@[IPv6:1.2.3.4]>",
                                          "<\"a@b.example>",
                                          "<a@b.example>x",
                                          "<a(c)@b.example>",
                                          "< a@b.example>",
                                          "<a@b_c.example>",
                                          "<\xff@b.example>",
                                          "<a@x.example:b@c.example>"};
    for (const std::string_view input : cases) {
        CAPTURE(input);
        CHECK_FALSE(reverse(input));
    }
}

TEST_CASE("paths, RFC 5321 4.5.3.1: lengths are held and nothing is cut") {
    const std::string local64(64, 'a');
    CHECK(reverse("<" + local64 + "@b.example>"));
    CHECK_FALSE(reverse("<a" + local64 + "@b.example>"));
    CHECK_FALSE(reverse("<a@" + std::string(64, 'b') + ".example>"));
    // 256 octets with the brackets, and one more.
    std::string domain = std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
    CHECK(("<" + local64 + "@" + domain + ">").size() == 256);
    CHECK(reverse("<" + local64 + "@" + domain + ">"));
    CHECK_FALSE(reverse("<" + local64 + "@" + domain + "d>"));
}

TEST_CASE("forward paths: postmaster needs no domain, in any case") {
    Cursor in("<PostMaster>");
    const auto path = smtp::take_forward_path(in);
    REQUIRE(path);
    CHECK(path->local_part == "postmaster");
    CHECK(path->domain.empty());
    Cursor null("<>");
    CHECK_FALSE(smtp::take_forward_path(null));
}

TEST_CASE("address syntax: the is_email collection, as SMTP paths") {
    const std::string xml = conformance("address-isemail/tests.xml");
    if (xml.empty()) {
        MESSAGE("skipped: address-isemail is not here");
        return;
    }
    std::size_t count = 0;
    std::string_view rest = xml;
    for (std::size_t at = rest.find("<test "); at != std::string_view::npos; at = rest.find("<test ")) {
        rest.remove_prefix(at);
        const std::string_view test = rest.substr(0, rest.find("</test>"));
        rest.remove_prefix(test.size());
        const std::string address = decode_address(between(test, "<address>", "</address>"));
        const std::string category = between(test, "<category>", "</category>");
        const bool valid =
            category == "ISEMAIL_VALID_CATEGORY" || category == "ISEMAIL_DNSWARN" || category == "ISEMAIL_RFC5321";
        CAPTURE(address);
        CAPTURE(category);
        CHECK(smtp::parse_mailbox(address).has_value() == valid);
        ++count;
    }
    CHECK(count == 164);
}
