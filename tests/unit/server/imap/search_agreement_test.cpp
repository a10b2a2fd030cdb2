// SEARCH with the index says what SEARCH without it says, for every message of the conformance corpora and many
// needles,
// over the dialogue itself: indexed whole, with a tail that is not, and with flags and sets mixed in.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "protocols/mime/header.h"
#include "protocols/mime/search_text.h"
#include "tests/support/imap_host.h"
#include "tests/support/json.h"
#include "tests/support/loop_runner.h"

namespace {

using namespace posthouse;

constexpr std::size_t kMessageOctetsMax = 2UL * 1024 * 1024;

net::Task<std::string> ask(net::BufferedStream& stream, std::string command) {
    command += "\r\n";
    static_cast<void>(co_await stream.write(command));
    std::string out;
    for (;;) {
        const auto line = co_await stream.read_line(16UL * 1024 * 1024);
        if (!line) co_return "closed";
        out += *line;
        out += "\n";
        if (line->starts_with("t ")) co_return out;
    }
}

/// One session to its end: every command's answer.
std::vector<std::string> answers(test::ImapHost& host, const std::vector<std::string>& commands) {
    const net::Endpoint here(*net::IpAddress::parse("127.0.0.1"), 143);
    auto pair = net::make_memory_pair(host.loop, here, here);
    net::TaskGroup group(host.loop);
    group.spawn("imap", server::imap::serve_connection(std::move(pair.first), host.deps));
    net::BufferedStream stream(std::move(pair.second));
    stream.raw().expires_in(std::chrono::minutes(5));
    std::vector<std::string> out;
    for (const std::string& command : {std::string("t LOGIN alice@a.test secret"), std::string("t SELECT INBOX")}) {
        static_cast<void>(test::run_task(host.loop, ask(stream, command)));
    }
    for (const std::string& command : commands) out.push_back(test::run_task(host.loop, ask(stream, command)));
    stream.raw().close();
    while (group.size() > 0) host.loop.poll();
    return out;
}

// Every file is a message: to a mail server any octets are.
std::vector<std::string> load_messages(const std::string& root) {
    std::vector<std::string> out;
    for (const auto& file : std::filesystem::recursive_directory_iterator(root)) {
        if (!file.is_regular_file() || file.file_size() > kMessageOctetsMax) continue;
        std::string octets = test::read_whole_file(file.path().string());
        if (!octets.empty()) out.push_back(std::move(octets));
    }
    std::sort(out.begin(), out.end());
    return out;
}

// Quoted where it can be, else a literal (RFC 3501 4.3).
std::string string_of(const std::string& text) {
    const bool plain = std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
    if (!plain) return fmt::format("{{{}+}}\r\n{}", text.size(), text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::vector<std::string> fixed_programs() {
    // clang-format off
    const std::vector<std::string> needles = {
        "the", "mail", "delivery", "MESSAGE", "example.com", "subject: ", "e", "th", "  ", "@", "<", "=?", "\"",
        "\\", "\"quoted\"", "OR", "AND \"x\"", "NEAR(", "a*", "^the", "col:um", "{header}", "-not", "(",
        "nothing of this kind", "stra\303\237e", "STRASSE", "\xc3\xa9", "caf\xc3\xa9", "e\xcc\x81", "\xe3\x81\x82",
        "\xe6\x97\xa5\xe6\x9c\xac", "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", "\xef\xbc\xa1",
        "\xf0\x9f\x98\x80", "\xc2\xad", "\t", "content-type: text/plain", "received: from", "html", "href", "-----",
        "status: 5.1.1", "final-recipient", "=20", "4.4.7", "\xe2\x80\x99", "\xc4\xb0", "i\xcc\x87", "\xef\xac\x81",
        "fi"};
    // clang-format on
    std::vector<std::string> out;
    for (const std::string& needle : needles) {
        const std::string text = string_of(needle);
        for (const char* key :
             {"TEXT", "BODY", "SUBJECT", "FROM", "HEADER Content-Type", "HEADER X-Mailer", "NOT TEXT", "NOT SUBJECT"}) {
            out.push_back(fmt::format("t UID SEARCH {} {}", key, text));
        }
    }
    for (const char* program : {"HEADER Received \"\"",
                                "HEADER X-Mailer \"\"",
                                "HEADER \"\" \"\"",
                                "HEADER \"No Field\" x",
                                "TEXT \"\"",
                                "BODY \"\"",
                                "SUBJECT \"\"",
                                "OR TEXT delivery SUBJECT test",
                                "OR FLAGGED TEXT delivery",
                                "NOT (OR TEXT mail BODY the)",
                                "FLAGGED TEXT mail",
                                "NOT FLAGGED NOT TEXT mail",
                                "SEEN (TEXT mail BODY failed)",
                                "1:50 TEXT mail",
                                "UID 10:200 NOT BODY mail",
                                "TEXT mail TEXT delivery SUBJECT fail",
                                "OR (FLAGGED BODY the) (UNSEEN SUBJECT re)",
                                "SENTSINCE 1-Jan-2005 TEXT mail",
                                "OR SENTBEFORE 1-Jan-2005 TEXT mail",
                                "SENTON 1-Jan-2005",
                                "LARGER 5000 TEXT mail",
                                "NOT NOT TEXT mail",
                                "NOT (NOT TEXT mail NOT BODY the)",
                                "CHARSET UTF-8 TO example",
                                "CC a",
                                "BCC a",
                                "ALL",
                                "HEADER Message-ID @",
                                "HEADER Content-Type multipart BODY the",
                                "OR HEADER To a HEADER Cc b"}) {
        out.push_back(fmt::format("t SEARCH {}", program));
    }
    return out;
}

// Pieces cut out of the texts themselves, at character borders, from two characters to long ones.
std::vector<std::string> cut_programs(const std::vector<std::string>& messages) {
    std::vector<std::string> out;
    std::uint64_t state = 42;
    const auto random = [&state](std::size_t below) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        return static_cast<std::size_t>((state >> 33) % below);
    };
    for (std::size_t i = 0; i < messages.size(); i += 2) {
        const auto text = mime::search_text(messages[i], mime::find_header_end(messages[i]));
        const std::string& from = random(3) == 0 ? text.header : text.body;
        if (from.size() < 8) continue;
        std::size_t start = random(from.size() - 4);
        const std::size_t length = 2 + random(random(4) == 0 ? 60 : 9);
        while (start > 0 && (static_cast<unsigned char>(from[start]) & 0xc0U) == 0x80) --start;
        std::size_t end = std::min(from.size(), start + length);
        while (end < from.size() && (static_cast<unsigned char>(from[end]) & 0xc0U) == 0x80) ++end;
        const std::string needle = from.substr(start, end - start);
        if (needle.find_first_of(std::string_view("\0\r", 2)) != std::string::npos) continue;
        out.push_back(fmt::format("t UID SEARCH {} {}", random(2) == 0 ? "TEXT" : "BODY", string_of(needle)));
    }
    return out;
}

std::vector<std::string> thinned(std::vector<std::string> all, std::size_t step) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < all.size(); i += step) out.push_back(std::move(all[i]));
    return out;
}

void compare(test::ImapHost& host, storage::search::SearchIndex& index, const std::vector<std::string>& programs,
             const std::string& when) {
    host.deps.search = nullptr;
    const auto without = answers(host, programs);
    host.deps.search = &index;
    const auto with = answers(host, programs);
    std::size_t differ = 0;
    std::size_t found = 0;
    for (std::size_t i = 0; i < programs.size(); ++i) {
        if (without[i].size() > 45) ++found;
        if (without[i] == with[i] && without[i].find("t OK") != std::string::npos) continue;
        ++differ;
        MESSAGE(programs[i] << "\nwithout: " << without[i].substr(0, 500) << "\nwith: " << with[i].substr(0, 500));
    }
    MESSAGE(when << ": " << programs.size() << " searches, " << found << " with results, " << differ << " differ");
    CHECK(differ == 0);
    CHECK(found > programs.size() / 5);
}

}  // namespace

TEST_CASE("SEARCH gives the same with and without the index, over all corpora") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    // All of both takes minutes: POSTHOUSE_LONG=1 runs it, else every fourth of each.
    const bool all = std::getenv("POSTHOUSE_LONG") != nullptr;
    const auto messages = thinned(load_messages(root), all ? 1 : 4);
    REQUIRE(messages.size() > 100);
    auto cut = cut_programs(messages);
    auto programs = thinned(fixed_programs(), all ? 1 : 4);
    cut.resize(std::min<std::size_t>(cut.size(), all ? cut.size() : 60));
    for (auto& program : cut) programs.push_back(std::move(program));
    net::Loop loop;
    test::ImapHost host(loop);
    const auto account = host.add_account("alice@a.test", "secret");
    const std::size_t tail = 40;
    for (std::size_t i = 0; i + tail < messages.size(); ++i) REQUIRE(host.deliver(account, "INBOX", messages[i]));
    storage::search::SearchIndex index(*host.store);
    REQUIRE(index.run_to_end([](std::uint64_t) { return true; }));
    CHECK(index.status()->indexed == messages.size() - tail);
    static_cast<void>(
        answers(host, {"t STORE 1:100 +FLAGS.SILENT (\\Flagged)", "t STORE 50:150 +FLAGS.SILENT (\\Seen)"}));
    compare(host, index, programs, "indexed whole");

    for (std::size_t i = messages.size() - tail; i < messages.size(); ++i) {
        REQUIRE(host.deliver(account, "INBOX", messages[i]));
    }
    CHECK(index.status()->waiting == tail);
    programs.resize(programs.size() / 2);
    compare(host, index, programs, "with a tail");
    host.deps.search = nullptr;
}
