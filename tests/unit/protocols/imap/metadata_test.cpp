// GETMETADATA and SETMETADATA, RFC 5464 5.
#include "protocols/imap/metadata.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::imap;

namespace {

Result<GetMetadata> get(std::string_view text) {
    Cursor in(text);
    return take_get_metadata(in);
}
Result<SetMetadata> set(std::string_view text) {
    Cursor in(text);
    return take_set_metadata(in);
}
using Depth = GetMetadata::Depth;

}  // namespace

TEST_CASE("GETMETADATA: options stand before the mailbox or behind it") {
    struct Case {
        std::string_view text;
        std::string_view mailbox;
        Depth depth;
        bool limited;
        std::size_t entries;
    };
    const Case cases[] = {
        {"\"\" /shared/comment", "", Depth::self, false, 1},
        {"INBOX (/shared/Comment /private/comment)", "INBOX", Depth::self, false, 2},
        {"INBOX /private/comment /shared/comment", "INBOX", Depth::self, false, 2},
        {"(DEPTH 1) INBOX /private/filters", "INBOX", Depth::children, false, 1},
        {"INBOX (DEPTH infinity MAXSIZE 9) (/private)", "INBOX", Depth::all, true, 1},
        {"INBOX (\"/shared/a b\")", "INBOX", Depth::self, false, 1},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto found = get(c.text);
        REQUIRE(found);
        CHECK(found->mailbox_wire == c.mailbox);
        CHECK(found->depth == c.depth);
        CHECK((found->octets_max == 9) == c.limited);
        CHECK(found->entries.size() == c.entries);
        CHECK(found->entries[0].starts_with(c.entries == 2 ? "/" : c.text.substr(c.text.find('/'), 4)));
    }
}

TEST_CASE("METADATA: names that are no entries, and broken lists, RFC 5464 3.2") {
    for (const std::string_view text :
         {"INBOX", "INBOX ", "INBOX /comment", "INBOX /sharedx/a", "INBOX /shared/", "INBOX /shared//a",
          "INBOX \"/shared/a*\"", "INBOX \"/shared/a%\"", "INBOX \"/shared/\xc3\xa4\"", "INBOX (/shared/a",
          "INBOX (DEPTH 2) /shared/a", "INBOX (NOSUCH) /shared/a", "INBOX (MAXSIZE x) /shared/a", "INBOX ()"}) {
        CAPTURE(text);
        CHECK_FALSE(get(text));
    }
    for (const std::string_view text : {"INBOX", "INBOX ()", "INBOX (/shared/a)", "INBOX (/shared/a x)",
                                        "INBOX (/shared \"x\")", "INBOX (/shared/a \"x\"", "INBOX /shared/a \"x\""}) {
        CAPTURE(text);
        CHECK_FALSE(set(text));
    }
}

TEST_CASE("SETMETADATA: values are strings, literals or NIL") {
    const auto found = set("INBOX (/shared/a \"x y\" /PRIVATE/B NIL /private/c ~{2}\r\nhi)");
    REQUIRE(found);
    REQUIRE(found->values.size() == 3);
    CHECK(found->values[0].second == "x y");
    CHECK(found->values[1].first == "/private/b");
    CHECK_FALSE(found->values[1].second);
    CHECK(found->values[2].second == "hi");
}

TEST_CASE("METADATA: what a depth reaches, RFC 5464 4.2.2") {
    CHECK(names_entry("/shared/a", Depth::self, "/shared/a"));
    CHECK_FALSE(names_entry("/shared/a", Depth::self, "/shared/a/b"));
    CHECK(names_entry("/shared/a", Depth::children, "/shared/a"));
    CHECK(names_entry("/shared/a", Depth::children, "/shared/a/b"));
    CHECK_FALSE(names_entry("/shared/a", Depth::children, "/shared/a/b/c"));
    CHECK(names_entry("/shared/a", Depth::all, "/shared/a/b/c"));
    CHECK_FALSE(names_entry("/shared/a", Depth::all, "/shared/ab"));
}
