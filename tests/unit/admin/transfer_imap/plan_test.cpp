// Before a connection is made: URLs, lists of accounts, and where the folders of other servers go.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "admin/transfer/imap_accounts.h"
#include "admin/transfer/imap_folders.h"
#include "admin/transfer/imap_url.h"

using namespace posthouse;
using namespace posthouse::transfer;
using storage::SpecialUse;

TEST_CASE("an IMAP account as one line of text") {
    struct Case {
        std::string_view text;
        bool good;
        std::string_view user, host;
        unsigned port;
        std::string_view source;
    };
    const Case cases[] = {
        {"imaps://alice@mail.example.org", true, "alice", "mail.example.org", 993, "imap://alice@mail.example.org"},
        {"imap://alice@Mail.Example.org:143/", true, "alice", "mail.example.org", 143, "imap://alice@mail.example.org"},
        {"imaps://a@b.example@mail.example.org:1993", true, "a@b.example", "mail.example.org", 1993,
         "imap://a@b.example@mail.example.org:1993"},
        {"imaps://a%20b@[2001:db8::1]:993", true, "a b", "2001:db8::1", 993, "imap://a b@2001:db8::1"},
        {"imap+plain://a@127.0.0.1:1143", true, "a", "127.0.0.1", 1143, "imap://a@127.0.0.1:1143"},
        {"imap+plain://a@localhost", true, "a", "localhost", 143, "imap://a@localhost"},
        {"imaps://a@192.0.2.1?name=mail.example.org", true, "a", "192.0.2.1", 993, "imap://a@192.0.2.1"},
        {"imap+plain://a@192.0.2.1", false, "", "", 0, ""},
        {"imap+plain://a@mail.example.org", false, "", "", 0, ""},
        {"imaps://alice:secret@mail.example.org", false, "", "", 0, ""},
        {"imaps://mail.example.org", false, "", "", 0, ""},
        {"imaps://@mail.example.org", false, "", "", 0, ""},
        {"pop3://a@mail.example.org", false, "", "", 0, ""},
        {"imaps://a@mail.example.org:0", false, "", "", 0, ""},
        {"imaps://a@mail.example.org:99999", false, "", "", 0, ""},
        {"imaps://a@mail..example org", false, "", "", 0, ""},
        {"imaps://a%0ab@mail.example.org", false, "", "", 0, ""},
        {"imaps://a@[2001:db8::1", false, "", "", 0, ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto url = parse_imap_url(c.text);
        REQUIRE(url.has_value() == c.good);
        if (!url) continue;
        CHECK(url->user == c.user);
        CHECK(url->host == c.host);
        CHECK(url->port == c.port);
        CHECK(url->source() == c.source);
    }
}

TEST_CASE("a list of accounts: one bad line stops no other") {
    const auto lines = parse_accounts(
        "\xef\xbb\xbf"
        "Account,Source,Password\r\n# a remark\r\n\r\n"
        "Alice@example.org,imaps://alice@old.example,se cret\r\n"
        "\"bob@example.org\", imaps://bob@old.example ,\"with \"\"quotes\"\", and a comma\"\r\n"
        "carol@example.org,imaps://carol@old.example,file:/etc/posthouse/carol\r\n"
        "dave@example.org,imaps://dave@old.example\r\n"
        "erin@example.org,http://erin@old.example,x\r\n"
        "\"frank@example.org,imaps://x@y,z\r\n"
        "grace@example.org,imaps://grace@old.example,\n");
    REQUIRE(lines.size() == 7);
    CHECK(lines[0].account == "alice@example.org");
    CHECK(lines[0].password == "se cret");
    CHECK_FALSE(lines[0].wrong);
    CHECK(lines[1].password == "with \"quotes\", and a comma");
    CHECK(lines[1].url.user == "bob");
    CHECK(lines[2].password_file == "/etc/posthouse/carol");
    for (std::size_t i = 3; i < 7; ++i) {
        CAPTURE(i);
        REQUIRE(lines[i].wrong);
        CHECK(lines[i].wrong->context.starts_with("line " + std::to_string(lines[i].number)));
    }
    CHECK(lines[3].number == 7);
}

namespace {

imap::ListEntry entry(std::string name, char delimiter, std::vector<std::string> attributes = {}) {
    imap::ListEntry out;
    out.name = std::move(name);
    out.delimiter = delimiter;
    out.attributes = std::move(attributes);
    return out;
}

std::vector<std::pair<SpecialUse, std::string>> own_places() {
    return {{SpecialUse::drafts, "Drafts"},
            {SpecialUse::sent, "Sent"},
            {SpecialUse::junk, "Junk"},
            {SpecialUse::trash, "Trash"},
            {SpecialUse::archive, "Archive"}};
}

// "wire>place" for each folder, in order.
std::string places(const std::vector<imap::ListEntry>& listed, const imap::Namespaces& spaces, FolderWishes wishes,
                   bool ids = false) {
    wishes.own = own_places();
    const auto plan = plan_folders(listed, {}, spaces, wishes, ids);
    if (!plan) return "!" + plan.error().context;
    std::string out;
    for (const ImapFolder& folder : plan->folders) {
        if (!out.empty()) out += ' ';
        out += folder.wire + ">" + folder.place.mailbox + (folder.place.use != SpecialUse::none ? "*" : "");
    }
    return out;
}

}  // namespace

TEST_CASE("folders: delimiters, prefixes, uses, views") {
    const FolderWishes all;
    const imap::Namespaces none;
    CHECK(places({entry("Work.2024", '.'), entry("INBOX", '.'), entry("inbox.x", '.')}, none, all) ==
          "INBOX>INBOX Work.2024>Work/2024 inbox.x>INBOX/x");
    // Courier and Cyrus: everything lies beneath INBOX.
    CHECK(places({entry("INBOX", '.'), entry("INBOX.Sent", '.'), entry("INBOX.a.b", '.'), entry("INBOX.INBOX", '.')},
                 none, all) == "INBOX>INBOX INBOX.Sent>Sent* INBOX.a.b>a/b INBOX.INBOX>INBOX_");
    imap::Namespaces spaces;
    spaces.personal.push_back({"INBOX.", '.'});
    spaces.others.push_back({"user.", '.'});
    CHECK(places({entry("INBOX", '.'), entry("INBOX.Entw&APw-rfe", '.'), entry("user", '.', {"\\Noselect"}),
                  entry("user.bob", '.')},
                 spaces, all) == "INBOX>INBOX INBOX.Entw&APw-rfe>Drafts*");
    // The attribute is stronger than the name, and no two folders share a mailbox.
    CHECK(places({entry("Sent", '/'), entry("Sent Items", '/', {"\\Sent"}), entry("Gesendet", '/')}, none, all) ==
          "Sent>Sent_2 Sent Items>Sent* Gesendet>Gesendet");
    CHECK(places({entry("a/b", '.'), entry("a_b", '.')}, none, all) == "a/b>a_b a_b>a_b_2");
    CHECK(places({entry("flat/name", '\0')}, none, all) == "flat/name>flat_name");
    CHECK(places({entry("x", '/', {"\\NoSelect"}), entry("x/y", '/'), entry("z", '/', {"\\NonExistent"})}, none, all) ==
          "x/y>x/y");
    // \All only where each message has a name for ever; then last.
    const std::vector<imap::ListEntry> gmail = {
        entry("[Gmail]", '/', {"\\Noselect"}), entry("[Gmail]/Alle", '/', {"\\All"}),
        entry("[Gmail]/Markiert", '/', {"\\Flagged"}), entry("[Gmail]/Gesendet", '/', {"\\Sent"}), entry("INBOX", '/')};
    CHECK(places(gmail, none, all) == "INBOX>INBOX [Gmail]/Gesendet>Sent*");
    CHECK(places(gmail, none, all, true) == "INBOX>INBOX [Gmail]/Gesendet>Sent* [Gmail]/Alle>Archive*");
}

TEST_CASE("folders: what is wished for") {
    const std::vector<imap::ListEntry> listed = {entry("INBOX", '.'), entry("Work", '.'), entry("Work.a", '.'),
                                                 entry("Trash", '.')};
    const imap::Namespaces none;
    FolderWishes wishes;
    wishes.only = {"work/*"};
    CHECK(places(listed, none, wishes) == "Work>Work Work.a>Work/a");
    wishes.exclude = {"Work.a"};
    CHECK(places(listed, none, wishes) == "Work>Work");
    wishes.only = {"nowhere"};
    CHECK(places(listed, none, wishes) == "!there is no folder \"nowhere\" at the source");
    FolderWishes into;
    into.into = "Old";
    CHECK(places(listed, none, into) == "INBOX>Old Work>Old/Work Work.a>Old/Work/a Trash>Old/Trash");
}
