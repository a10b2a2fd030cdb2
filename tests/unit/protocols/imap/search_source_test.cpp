#include "protocols/imap/search_source.h"

#include <doctest/doctest.h>

using namespace posthouse;
using namespace posthouse::imap;

TEST_CASE("mailboxes of an ESEARCH, RFC 7377 4") {
    struct Case {
        std::string_view input;
        bool good;
        std::size_t sources, names;
        std::string_view rest;
    };
    constexpr Case kCases[] = {
        {"ALL", true, 1, 0, "ALL"},
        {"IN (selected) ALL", true, 1, 0, "ALL"},
        {"in (Mailboxes \"folder1\" SUBTREE (folder2 {1}\r\nx)) unseen", true, 2, 3, "unseen"},
        {"IN (personal subscribed inboxes subtree-one a) RETURN () ALL", true, 4, 1, "RETURN () ALL"},
        {"IN (selected-delayed) ALL", false, 0, 0, ""},
        {"IN () ALL", false, 0, 0, ""},
        {"IN (mailboxes ()) ALL", false, 0, 0, ""},
        {"IN (subtree (a b) ALL", false, 0, 0, ""},
        {"IN (personal)", false, 0, 0, ""},
        {"IN (personal (x y)) ALL", false, 0, 0, ""},
        {"IN personal ALL", false, 0, 0, ""},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto sources = take_search_sources(in);
        CHECK(sources.has_value() == c.good);
        if (!sources) continue;
        CHECK(sources->size() == c.sources);
        std::size_t names = 0;
        for (const SearchSource& source : *sources) names += source.names.size();
        CHECK(names == c.names);
        CHECK(in.rest() == c.rest);
    }
    std::string many = "IN (mailboxes (a";
    for (int i = 0; i < 1000; ++i) many += " a";
    many += ")) ALL";
    Cursor in(many);
    CHECK_FALSE(take_search_sources(in).has_value());
}
