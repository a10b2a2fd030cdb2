#include "admin/transfer/mbox.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "admin/transfer/mbox_marks.h"
#include "admin/transfer/mbox_reader.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
namespace fs = std::filesystem;

namespace {

transfer::ReadAt from_memory(const std::string& file) {
    return [&file](std::uint64_t offset, std::span<char> into) -> Result<std::size_t> {
        if (offset >= file.size()) return std::size_t{0};
        const std::size_t count = std::min<std::size_t>(into.size(), file.size() - static_cast<std::size_t>(offset));
        std::ranges::copy_n(file.begin() + static_cast<std::ptrdiff_t>(offset), static_cast<std::ptrdiff_t>(count),
                            into.begin());
        return count;
    };
}

std::vector<std::string> messages_of(const std::string& file) {
    transfer::MboxReader reader(from_memory(file));
    std::vector<std::string> out;
    for (;;) {
        const auto more = reader.next();
        if (!more) return out.push_back("error: " + more.error().context), out;
        if (!*more) return out;
        std::string& message = out.emplace_back();
        for (;;) {
            const auto piece = reader.piece();
            REQUIRE(piece);
            if (piece->empty()) break;
            message += *piece;
        }
    }
}

constexpr const char* kFrom = "From a@b Mon Nov 23 20:11:05 2026\n";

}  // namespace

TEST_CASE("separators in all the spellings that are met, and lines that are none") {
    struct Case {
        std::string_view line;
        std::int64_t time_s;  ///< 0: a separator without a time; -1: none
    };
    constexpr std::int64_t kTime = 1795464665;
    const Case cases[] = {
        {"From a@b Mon Nov 23 20:11:05 2026", kTime},
        {"From a@b  Mon Nov 23 20:11:05 2026", kTime},
        {"From - Mon Nov 23 20:11:05 2026", kTime},
        {"From 1234@xxx Mon Nov 23 20:11:05 +0000 2026", kTime},
        {"From a@b Mon Nov 23 21:11:05 +0100 2026", kTime},
        {"From a@b Mon Nov 23 21:11:05 2026 +0100", kTime},
        {"From a@b Mon Nov 23 20:11 2026", kTime - 5},
        {"From a@b Mon Nov 23 20:11:05 GMT 2026", kTime},
        {"From a@b Mon, 23 Nov 2026 20:11:05 +0000", kTime},
        {"From \"a b\"@c Mon Nov 23 20:11:05 2026 remote from d", kTime},
        {"From ", 0},
        {"From -", 0},
        {"From here on it goes down", -1},
        {"From a@b Mon Nov 33 20:11:05 2026", -1},
        {"From a@b Mon Foo 23 20:11:05 2026", -1},
        {"From: a@b", -1},
        {">From a@b Mon Nov 23 20:11:05 2026", -1},
    };
    for (const Case& c : cases) {
        CAPTURE(c.line);
        const auto parsed = transfer::parse_from_line(c.line);
        CHECK(parsed.has_value() == (c.time_s >= 0));
        if (parsed) CHECK(parsed->time_s.value_or(0) == c.time_s);
    }
}

TEST_CASE("messages of a file: separators, quoting, lengths, empty lines") {
    const std::string from = kFrom;
    struct Case {
        std::string file;
        std::vector<std::string> messages;
    };
    const Case cases[] = {
        {"", {}},
        {"\n\n", {}},
        {from + "A: b\n\nx\n", {"A: b\n\nx\n"}},
        {from + "A: b\n\nx\n\n" + from + "A: c\n\n", {"A: b\n\nx\n", "A: c\n"}},
        {from + "A: b\n\nx\n\n\n" + from + "\ny\n", {"A: b\n\nx\n\n", "\ny\n"}},
        {from + "A: b\n\n>From x\n>>From y\n> From z\n", {"A: b\n\nFrom x\n>From y\n> From z\n"}},
        // Text that begins so, with and without an empty line before it.
        {from + "A: b\n\nx\n\nFrom here on\n" + from + "no field\n",
         {"A: b\n\nx\n\nFrom here on\n" + from + "no field\n"}},
        {from + "A: b\n\nx\n\n" + from + "no field here\n", {"A: b\n\nx\n\n" + from + "no field here\n"}},
        // mboxcl2: believed where a separator stands there, with nothing taken off.
        {from + "Content-Length: 42\n\n>From x\n\n" + std::string(from).substr(0, 32) + "\n\n" + from + "A: c\n\nz\n",
         {"Content-Length: 42\n\n>From x\n\n" + from.substr(0, 32) + "\n", "A: c\n\nz\n"}},
        {from + "Content-Length: 3\n\nlonger than that\n\n" + from + "A: c\n\nz\n",
         {"Content-Length: 3\n\nlonger than that\n", "A: c\n\nz\n"}},
        {from + "Content-Length: 99999999999999\n\nx\n", {"Content-Length: 99999999999999\n\nx\n"}},
        {from + "A: b\r\n\r\nx\r\n\r\n" + from + "A: c\r\n\r\n", {"A: b\r\n\r\nx\r\n", "A: c\r\n"}},
        {from + "A: b\n" + from + "A: c\n", {"A: b\n", "A: c\n"}},
        {from + "A: b\n\nno end", {"A: b\n\nno end"}},
        {"From \nA: b\n\nx\n\nFrom \nA: c\n", {"A: b\n\nx\n", "A: c\n"}},
        {from, {""}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.file);
        CHECK(messages_of(c.file) == c.messages);
    }
    const auto none = messages_of("Hello\n");
    REQUIRE(none.size() == 1);
    CHECK(none[0].starts_with("error: it is no mbox file"));
}

TEST_CASE("long lines and many pieces come whole") {
    std::string body(300'000, 'x');
    body += "\n";
    for (int i = 0; i < 40'000; ++i) body += fmt::format("line {}\n", i);
    const std::string message = "A: b\n\n" + body;
    CHECK(messages_of(kFrom + message + "\n" + kFrom + message) == std::vector<std::string>{message, message});
}

TEST_CASE("marks at the top are taken off once, and speak of flags and keywords") {
    bool open_end = false;
    CHECK(transfer::measure_top_marks("Status: RO\nX-Status: AF\nStatus: O\nA: b\n", open_end) == 24);
    CHECK(!open_end);
    CHECK(transfer::measure_top_marks("A: b\nStatus: RO\n", open_end) == 0);
    CHECK(transfer::measure_top_marks("X-Posthouse-Mbox: rd open-end\n x", open_end) == 30);
    CHECK(open_end);

    using transfer::parse_marks;
    const auto own = parse_marks("Status: RO\nX-Status: AFTD\nX-Keywords: a b bad{\n", "Status: O\n");
    CHECK(own.flags == 31);
    CHECK(own.keywords == std::vector<std::string>{"a", "b"});
    CHECK(parse_marks("", "Subject: x\nStatus: RO\n").flags == bit(Flag::seen));
    const auto mozilla = parse_marks("X-Mozilla-Status: 1007\nX-Mozilla-Keys: $label1     \n", "");
    CHECK(mozilla.flags == (bit(Flag::seen) | bit(Flag::answered) | bit(Flag::flagged)));
    CHECK(mozilla.keywords == std::vector<std::string>{"$Forwarded", "$label1"});
    CHECK(parse_marks("X-Mozilla-Status: 0009\n", "").expunged);
    CHECK(parse_marks("X-Mozilla-Status: zz\n", "").flags == 0);
}

TEST_CASE("labels of Gmail choose the folder and the flags") {
    struct Case {
        std::string_view labels;
        std::string_view folder;
        FlagBits flags;
        std::vector<std::string> words;
    };
    const FlagBits seen = bit(Flag::seen);
    const Case cases[] = {
        {"Inbox,Unread", "INBOX", 0, {}},
        {"Inbox,Starred,Opened,Category Promotions", "INBOX", static_cast<FlagBits>(seen | bit(Flag::flagged)), {}},
        {"Sent,Work", "Sent", seen, {"Work"}},
        {"Work/2020,Archived", "Work/2020", seen, {"Work/2020"}},
        {"Archived", "Archive", seen, {}},
        {"Spam,Inbox", "Junk", seen, {}},
        {"=?UTF-8?Q?Entw=C3=BCrfe?=", "Entw\xc3\xbcrfe", seen, {}},
        {"\"A label\"", "A label", seen, {"A_label"}},
    };
    for (const Case& c : cases) {
        CAPTURE(c.labels);
        const auto marks = transfer::parse_marks("", fmt::format("X-GM-THRID: 1\nX-Gmail-Labels: {}\n", c.labels));
        CHECK(marks.labelled);
        CHECK(marks.folder == c.folder);
        CHECK(marks.flags == c.flags);
        CHECK(marks.labels == c.words);
    }
}

TEST_CASE("the digest does not hang on the marks") {
    const std::string plain = "Subject: x\r\nFrom: a\r\n\r\nbody\r\n";
    const std::string read = "Subject: x\r\nStatus: RO\r\nFrom: a\r\nX-Keywords: k\r\n\r\nbody\r\n";
    CHECK(transfer::digest_without_marks(plain) == transfer::digest_without_marks(read));
    CHECK(transfer::digest_without_marks(plain) != transfer::digest_without_marks(plain + "x"));
    CHECK(transfer::digest_without_marks(plain).size() == 40);
}

namespace {

struct Fixture {
    test::TempStore store;
    test::TempDirectory directory;
    AccountId account = store.add_account("alice@a.example");
    std::vector<std::string> failures;
    transfer::TakerStatistics figures;

    void write(const std::string& path, const std::string& octets) {
        const fs::path file = fs::path(directory.path()) / path;
        fs::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary) << octets;
    }
    Result<> take(const std::string& path = "", const std::string& into = "") {
        failures.clear();
        transfer::Taker taker(*store, account, "mbox:here",
                              [this](const std::string& name, const Error&) { failures.push_back(name); });
        transfer::ImportOptions options;
        options.into = into;
        const Result<> done = transfer::import_mbox(taker, directory.path() + path, options, transfer::Watch());
        figures = taker.statistics();
        return done;
    }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a directory as Thunderbird leaves it; the same again brings nothing twice") {
    const std::string from = kFrom;
    const std::string twice = from + "X-Mozilla-Status: 0001\nSubject: a\n\nx\n\n";
    write("Inbox", twice + twice + from + "X-Mozilla-Status: 0009\nSubject: gone\n\n");
    write("Inbox.msf", "index");
    write("Work", "");
    write("Work.sbd/Lists", from + "Subject: l\n\n");
    write("Apple.mbox/mbox", from + "Subject: m\n\n");
    write("notes.txt", "no mail\n");
    REQUIRE(take());
    CHECK(figures.taken == 4);
    CHECK(failures == std::vector<std::string>{"notes.txt"});
    const auto inbox = store.entries(account, "INBOX");
    REQUIRE(inbox.size() == 2);
    CHECK(inbox[0].flags == bit(Flag::seen));
    CHECK(inbox[0].internal_date_s == 1795464665);
    CHECK(store.entries(account, "Work").empty());
    CHECK(store.entries(account, "Work/Lists").size() == 1);
    CHECK(store.entries(account, "Apple").size() == 1);

    write("Inbox", twice + from + "X-Mozilla-Status: 0005\nSubject: a\n\nx\n\n" + from + "Subject: new\n\n");
    REQUIRE(take());
    CHECK(figures.taken == 1);
    CHECK(figures.flags_changed == 1);
    CHECK(store.entries(account, "INBOX").size() == 3);
}

TEST_CASE_FIXTURE(Fixture, "one file goes where it is told to") {
    write("archive.mbox", std::string(kFrom) + "Subject: a\n\n");
    REQUIRE(take("/archive.mbox", "Old/2010"));
    CHECK(store.entries(account, "Old/2010").size() == 1);
    CHECK(!take("/missing"));
    write("none", "Hello\n");
    REQUIRE(take("/none"));
    CHECK(figures.failed == 1);
}
