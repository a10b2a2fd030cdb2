#include "admin/transfer/folder_names.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

using namespace posthouse;
using storage::SpecialUse;

TEST_CASE("usual names lead to the account's own mailboxes") {
    struct Case {
        std::string_view path;
        std::string_view into;
        std::string_view mailbox;
        SpecialUse use;
    };
    const Case cases[] = {
        {"INBOX", "", "INBOX", SpecialUse::none},
        {"inbox", "", "INBOX", SpecialUse::none},
        {"", "", "INBOX", SpecialUse::none},
        {"Sent Items", "", "Sent Items", SpecialUse::sent},
        {"SENT", "", "SENT", SpecialUse::sent},
        {"INBOX/Trash", "", "INBOX/Trash", SpecialUse::trash},
        {"[Gmail]/Spam", "", "Spam", SpecialUse::junk},
        {"Entw\xc3\xbcrfe", "", "Entw\xc3\xbcrfe", SpecialUse::drafts},
        {"Work/Sent", "", "Work/Sent", SpecialUse::none},
        {"Sent", "Old", "Old/Sent", SpecialUse::none},
        {"INBOX", "Old", "Old", SpecialUse::none},
        {"Lists/C++", "Old/2020", "Old/2020/Lists/C++", SpecialUse::none},
    };
    for (const Case& c : cases) {
        CAPTURE(c.path);
        const transfer::FolderPlace place = transfer::place_folder(c.path, c.into);
        CHECK(place.mailbox == c.mailbox);
        CHECK(place.use == c.use);
    }
}

TEST_CASE("any path becomes a name that the store takes") {
    struct Case {
        std::string path;
        std::string name;
    };
    const Case cases[] = {
        {"a//b/", "a/b"},
        {"/", ""},
        {"a\tb", "a_b"},
        {"..", ".._"},
        {"\xff\xfe", "__"},
        {"a\xc2\x85z", "a_z"},
        {std::string(300, 'x'), std::string(255, 'x')},
    };
    for (const Case& c : cases) {
        CAPTURE(c.path);
        CHECK(transfer::usable_mailbox_name(c.path) == c.name);
    }
    std::string deep;
    for (int i = 0; i < 30; ++i) deep += "l/";
    const std::string name = transfer::usable_mailbox_name(deep);
    CHECK(std::ranges::count(name, '/') == 19);
}

TEST_CASE("levels are modified UTF-7 where they can be, else what they are (RFC 3501 5.1.3)") {
    CHECK(transfer::decode_folder_level("Entw&APw-rfe") == "Entw\xc3\xbcrfe");
    CHECK(transfer::decode_folder_level("Entw\xc3\xbcrfe") == "Entw\xc3\xbcrfe");
    CHECK(transfer::decode_folder_level("R&-D") == "R&D");
    CHECK(transfer::decode_folder_level("R&D") == "R&D");
    CHECK(transfer::decode_folder_level("v1&AC4-2") == "v1.2");
    CHECK(transfer::decode_folder_level("&AC4-&APw-") == ".\xc3\xbc");
    CHECK(transfer::decode_folder_level("inbox") == "inbox");
}
