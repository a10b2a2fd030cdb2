#include "admin/transfer/maildir.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "admin/transfer/maildir_names.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
namespace fs = std::filesystem;

TEST_CASE("a name in cur says base, flags and letters") {
    struct Case {
        std::string_view name;
        std::string_view base;
        FlagBits flags;
        bool forwarded;
        std::string_view letters;
        std::int64_t time_s;
    };
    const Case cases[] = {
        {"1500000000.M1P2.host,S=3:2,DFPRSTab", "1500000000.M1P2.host,S=3", 31, true, "ab", 1500000000},
        {"1500000000.x.h", "1500000000.x.h", 0, false, "", 1500000000},
        {"1500000000.x.h:2,", "1500000000.x.h", 0, false, "", 1500000000},
        {"1500000000.x.h;2,S", "1500000000.x.h", 1, false, "", 1500000000},
        {"12.x.h!2,RS", "12.x.h", 3, false, "", 0},
        {"a:2,S:2,F", "a:2,S", 4, false, "", 0},
        {"a:2,SSaa,xF", "a", 1, false, "a", 0},
        {":2,S", "", 1, false, "", 0},
        {"2,S", "2,S", 0, false, "", 0},
        {"99999999999999999999999.x", "99999999999999999999999.x", 0, false, "", 0},
    };
    for (const Case& c : cases) {
        CAPTURE(c.name);
        const auto parsed = transfer::parse_maildir_name(c.name);
        CHECK(parsed.base == c.base);
        CHECK(parsed.flags == c.flags);
        CHECK(parsed.forwarded == c.forwarded);
        CHECK(parsed.letters == c.letters);
        CHECK(parsed.time_s.value_or(0) == c.time_s);
    }
    CHECK(transfer::format_maildir_flags(31, true) == "DFPRST");
    CHECK(transfer::format_maildir_flags(0, true) == "P");
    CHECK(transfer::format_maildir_flags(bit(Flag::deleted), false) == "T");
}

TEST_CASE("folders of Maildir++ and back") {
    struct Case {
        std::string_view directory;
        std::string_view mailbox;
    };
    const Case cases[] = {
        {".Sent", "Sent"}, {".a.b.c", "a/b/c"}, {".Entw&APw-rfe", "Entw\xc3\xbcrfe"}, {".v1&AC4-2.x", "v1.2/x"}};
    for (const Case& c : cases) {
        CAPTURE(c.directory);
        CHECK(transfer::parse_maildir_folder(c.directory) == c.mailbox);
        CHECK(transfer::format_maildir_folder(c.mailbox) == c.directory);
    }
    for (const std::string_view none : {"", ".", "..", "Sent", ".a..b", ".a."}) {
        CAPTURE(none);
        CHECK(transfer::parse_maildir_folder(none).empty());
    }
}

TEST_CASE("keywords and subscriptions beside the mail") {
    const auto keywords = transfer::parse_letter_keywords("0 $Label1\n1 Work\r\n25 last\n26 none\nx y\n\n3\n");
    CHECK(keywords[0] == "$Label1");
    CHECK(keywords[1] == "Work");
    CHECK(keywords[25] == "last");
    CHECK(transfer::format_letter_keywords(keywords) == "0 $Label1\n1 Work\n25 last\n");
    CHECK(transfer::parse_subscriptions("Sent\nWork.Lists\nEntw&APw-rfe\n").contains("Work/Lists"));
    CHECK(transfer::parse_subscriptions("INBOX.Sent\n").contains("Sent"));
    CHECK(transfer::parse_subscriptions("V\t2\n\nWork\tLists\n").contains("Work/Lists"));
    CHECK(transfer::parse_subscriptions("").empty());
}

namespace {

struct Fixture {
    test::TempStore store;
    test::TempDirectory directory;
    AccountId account = store.add_account("alice@a.example");
    std::vector<std::string> failures;
    transfer::TakerStatistics figures;
    transfer::Watch watch;

    void write(const std::string& path, const std::string& octets, std::int64_t time_s = 1400000000) {
        const fs::path file = fs::path(directory.path()) / path;
        fs::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << octets;
        timespec times[2] = {};
        times[0].tv_sec = times[1].tv_sec = time_s;
        REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
    }
    Result<> take(const std::string& into = "") {
        auto root = transfer::open_directory(directory.path());
        REQUIRE(root);
        failures.clear();
        transfer::Taker taker(*store, account, "maildir:here",
                              [this](const std::string& name, const Error&) { failures.push_back(name); });
        transfer::ImportOptions options;
        options.into = into;
        const Result<> done = transfer::import_maildir(taker, *root, options, watch);
        figures = taker.statistics();
        return done;
    }
    std::string body(const std::string& mailbox, Uid uid) {
        auto octets = store->read([&](const Snapshot& s) -> Result<std::string> {
            TRY(const Mailbox box, s.mail(account).mailbox(mailbox));
            TRY(const BodyReader reader, s.mail(account).body(box.id, uid));
            return reader.read_all();
        });
        return octets ? *octets : octets.error().context;
    }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a Maildir with folders of both layouts, flags, keywords and dates") {
    write("cur/1500000002.b.h:2,FSa", "Subject: b\n\nsecond\n", 1450000000);
    write("cur/1500000001.a.h:2,", "Subject: a\r\n\r\nfirst\r\n");
    write("new/1500000003.c.h", "Subject: c\n\n");
    write("dovecot-keywords", "0 $Label1\n");
    write(".Sent Items/cur/x:2,S", "Subject: s\n\n");
    write(".Lists.C++/new/y", "Subject: y\n\n");
    write("Nested/Deep/cur/z:2,R", "Subject: z\n\n");
    fs::create_directories(directory.path() + "/.Empty/cur");
    REQUIRE(take());
    CHECK(failures.empty());
    CHECK(figures.taken == 6);
    const auto inbox = store.entries(account, "INBOX");
    REQUIRE(inbox.size() == 3);
    CHECK(body("INBOX", 1) == "Subject: a\r\n\r\nfirst\r\n");
    CHECK(body("INBOX", 2) == "Subject: b\r\n\r\nsecond\r\n");
    CHECK(inbox[0].flags == 0);
    CHECK(inbox[0].internal_date_s == 1400000000);
    CHECK(inbox[1].flags == (bit(Flag::flagged) | bit(Flag::seen)));
    CHECK(inbox[1].internal_date_s == 1450000000);
    const auto words = store->read([&](const Snapshot& s) { return s.mail(account).keywords(inbox[1].keyword_set); });
    CHECK(*words == std::vector<std::string>{"$Label1"});
    CHECK(store.entries(account, "Sent").size() == 1);
    CHECK(store.entries(account, "Lists/C++").size() == 1);
    CHECK(store.entries(account, "Nested/Deep").at(0).flags == bit(Flag::answered));
    CHECK(store.mailbox(account, "Empty").subscribed);
}

TEST_CASE_FIXTURE(Fixture, "a repeated run takes what is new and follows the flags in cur") {
    write("new/1500000001.a.h", "Subject: a\n\n");
    write("cur/1500000002.b.h:2,S", "Subject: b\n\n");
    REQUIRE(take());
    // Read here; in the source it is untouched, which says nothing.
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY(const Mailbox inbox, tx.mail(account).mailbox("INBOX"));
        const Uid first = 1;
        const FlagChange seen{FlagChange::How::add, bit(Flag::seen), {"mine"}};
        TRY_VOID(tx.mail(account).store(inbox.id, std::span<const Uid>(&first, 1), seen, std::nullopt));
        return {};
    }));
    REQUIRE(take());
    CHECK(figures.taken == 0);
    CHECK(figures.known == 2);
    CHECK(store.entries(account, "INBOX").at(0).flags == bit(Flag::seen));
    fs::rename(directory.path() + "/new/1500000001.a.h", directory.path() + "/cur/1500000001.a.h:2,R");
    write("new/1500000003.c.h", "Subject: c\n\n");
    REQUIRE(take());
    CHECK(figures.taken == 1);
    CHECK(figures.flags_changed == 1);
    const auto inbox = store.entries(account, "INBOX");
    REQUIRE(inbox.size() == 3);
    CHECK(inbox[0].flags == bit(Flag::answered));
    CHECK(inbox[0].keyword_set != 0);
}

TEST_CASE_FIXTURE(Fixture, "what is no message is named and the rest goes in; nothing outside is ever read") {
    write("cur/1500000001.a.h:2,", "Subject: a\n\n");
    write("cur/empty", "");
    write("cur/packed", std::string("\x1f\x8b\x08", 3));
    write("secret/file", "Subject: secret\n\n");
    const std::string root = directory.path();
    REQUIRE(::mkfifo((root + "/cur/pipe").c_str(), 0600) == 0);
    fs::create_directory(root + "/cur/folder");
    fs::create_symlink(root + "/secret/file", root + "/cur/link");
    fs::create_directory_symlink("/", root + "/.Away");
    REQUIRE(take());
    std::ranges::sort(failures);
    CHECK(failures ==
          std::vector<std::string>{".Away", "cur/empty", "cur/folder", "cur/link", "cur/packed", "cur/pipe"});
    CHECK(store.entries(account, "INBOX").size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "--into puts all below one mailbox; no Maildir is said so; an interrupt keeps what is in") {
    CHECK(!take());
    write("cur/1500000001.a.h:2,", "Subject: a\n\n");
    write("cur/1500000002.b.h:2,", "Subject: b\n\n");
    write(".Sent/cur/c", "Subject: c\n\n");
    int asked = 0;
    watch.interrupted = [&asked] { return ++asked == 2; };
    const Result<> stopped = take("Old");
    REQUIRE(!stopped);
    CHECK(stopped.error().code == Errc::cancelled);
    CHECK(store.entries(account, "Old").size() == 1);
    watch.interrupted = nullptr;
    REQUIRE(take("Old"));
    CHECK(store.entries(account, "Old").size() == 2);
    CHECK(store.entries(account, "Old/Sent").size() == 1);
}
