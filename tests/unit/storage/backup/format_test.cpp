// The pure parts: manifest, object, names, retention.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "storage/backup/manifest.h"
#include "storage/backup/object.h"
#include "storage/backup/retention.h"

using namespace posthouse;
using namespace posthouse::storage::backup;

namespace {

Manifest sample() {
    Manifest out;
    out.created = from_unix_ms(1'790'000'000'123);
    out.hostname = "mail.home.example";
    out.schema = 2;
    out.accounts = 3;
    out.mailboxes = 18;
    out.messages = 120;
    out.octets = 99'999;
    StoredFile database;
    database.name = "mail.db";
    database.octets = 30;
    database.chunks = {Chunk{crypto::sha256("a"), 20}, Chunk{crypto::sha256("b"), 10}};
    StoredFile segment;
    segment.name = "segments/000007.seg";
    segment.octets = 5;
    segment.source.segment = 7;
    segment.source.sealed = true;
    segment.source.inode = 77;
    segment.source.changed_ns = 123'456'789;
    segment.chunks = {Chunk{crypto::sha256("c"), 5}};
    segment.damage = {"segments/000007.seg: message 9 at 16\nfile 1 evil"};
    out.files = {database, segment};
    return out;
}

}  // namespace

TEST_CASE("a manifest reads back as it was written") {
    const std::string text = format_manifest(sample());
    const auto read = parse_manifest(text);
    REQUIRE(read);
    CHECK(format_manifest(*read) == text);
    CHECK(read->hostname == "mail.home.example");
    CHECK(read->messages == 120);
    REQUIRE(read->files.size() == 2);
    CHECK(read->files[1].source == sample().files[1].source);
    CHECK(read->files[1].damage.size() == 1);
    CHECK(read->stored_octets() == 35);
    CHECK(read->damage_count() == 1);
    CHECK(read->file("mail.db") != nullptr);
    CHECK(read->file("other") == nullptr);
}

TEST_CASE("a manifest that was cut or changed anywhere is refused") {
    const std::string text = format_manifest(sample());
    for (std::size_t length = 0; length < text.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(parse_manifest(std::string_view(text).substr(0, length)));
        std::string changed = text;
        changed[length] = static_cast<char>(changed[length] ^ 2);
        CHECK_FALSE(parse_manifest(changed));
    }
    CHECK_FALSE(parse_manifest(text + "x"));
}

TEST_CASE("a manifest with a right checksum and wrong lines is refused") {
    const auto seal = [](const std::string& body) {
        return body + fmt::format("end {}\n", crypto::hex(crypto::sha256(body)));
    };
    const std::string digest(64, 'a');
    const char* const head = "posthouse-backup 1\n";
    CHECK(parse_manifest(seal(head)));
    CHECK(parse_manifest(seal("posthouse-backup 2\n")).error().code == Errc::unsupported);
    for (const std::string& line :
         {std::string("file 0 ../x"), std::string("file 0 /etc/x"), std::string("file 0 a//b"), std::string("file 0"),
          std::string("file -1 x"), "chunk " + digest + " 5", std::string("damage x"), std::string("source 1 1 1 1"),
          "file 4 x\nchunk " + digest + " 5", "file 5 x\nchunk " + digest.substr(1) + " 5",
          std::string("file 0 x\nfile 0 x"), std::string("messages many"), std::string("unknown 1"),
          std::string("x")}) {
        CAPTURE(line);
        CHECK(parse_manifest(seal(head + line + "\n")).error().code == Errc::corrupt);
    }
}

TEST_CASE("the name of a backup tells its time") {
    const Time time = from_unix_ms(1'790'000'000'042);
    const std::string name = backup_name(time, "abc234");
    CHECK(name == "20260921T141320.042Z-abc234");
    CHECK(time_of_backup(name).value() == time);
    for (const char* bad : {"", "20260921T131320.042Z", "20261321T131320.042Z-a", "2026x921T131320.042Z-a",
                            "20260921T131320Z-abc234", "../../etc"}) {
        CHECK_FALSE(time_of_backup(bad));
    }
}

TEST_CASE("objects open as they were kept; what was changed does not") {
    REQUIRE(crypto::init());
    const std::string key = crypto::random_octets(32);
    const std::string text(100'000, 'x');
    for (const Pack pack : {Pack::plain, Pack::zstd}) {
        for (const std::string& with : {std::string(), key}) {
            const std::string coded = encode_object(text, pack, with, "object");
            CHECK((coded.size() < text.size()) == (pack == Pack::zstd));
            CHECK(decode_object(coded, with, "object", kObjectOctetsMax).value() == text);
            CHECK_FALSE(decode_object(coded, with, "object", text.size() - 1));
            // Sealed and not sealed are never taken for each other.
            CHECK_FALSE(decode_object(coded, with.empty() ? key : "", "object", kObjectOctetsMax));
            std::string changed = coded;
            changed[0] = 'x';
            CHECK_FALSE(decode_object(changed, with, "object", kObjectOctetsMax));
            if (with.empty()) continue;
            CHECK_FALSE(decode_object(coded, with, "manifest", kObjectOctetsMax));
            for (const std::size_t at : {std::size_t{5}, std::size_t{20}, coded.size() - 1}) {
                changed = coded;
                changed[at] = static_cast<char>(changed[at] ^ 1);
                CHECK_FALSE(decode_object(changed, with, "object", kObjectOctetsMax));
            }
        }
    }
    CHECK(decode_object(encode_object("", Pack::zstd, "", "object"), "", "object", 10).value().empty());
}

TEST_CASE("retention keeps what a rule wants, the newest, and the last verified good one") {
    struct Case {
        const char* what;
        Keep keep;
        std::vector<int> ages_h;   ///< of the backups, hours before a Wednesday, noon UTC
        int good = -1;             ///< index of the one that was verified good
        std::vector<int> removed;  ///< indices
        int damaged = -1;          ///< index of one that was verified good, but of a store that was damaged already
    };
    const Case cases[] = {
        {"no rule: all stay", {}, {0, 1, 2000}, -1, {}},
        {"the newest two", {.newest = 2}, {0, 1, 2, 3}, -1, {2, 3}},
        {"one is the least that stays", {.newest = 1}, {0}, -1, {}},
        {"the good one stays though it is old", {.newest = 1}, {0, 1, 2, 3}, 2, {1, 3}},
        {"and the one from before the damage", {.newest = 1}, {0, 1, 2, 3, 4}, 3, {2, 4}, 1},
        {"days: the newest of each", {.daily = 2}, {0, 6, 20, 30, 50}, -1, {1, 3, 4}},
        {"days without a backup do not count", {.daily = 2}, {0, 240, 480}, -1, {2}},
        {"weeks begin on Monday", {.weekly = 2}, {0, 59, 61, 200, 300}, -1, {1, 3, 4}},
        {"months", {.monthly = 2}, {0, 24 * 20, 24 * 40, 24 * 80}, -1, {1, 3}},
        {"rules add up", {.newest = 1, .daily = 2, .monthly = 2}, {0, 1, 24, 48, 24 * 40}, -1, {1, 3}},
    };
    // 2026-11-25 was a Wednesday.
    const Time noon = Time(std::chrono::sys_days(std::chrono::year(2026) / 11 / 25)) + std::chrono::hours(12);
    for (const Case& c : cases) {
        CAPTURE(c.what);
        std::vector<Kept> there;
        for (std::size_t i = 0; i < c.ages_h.size(); ++i) {
            const Time created = noon - std::chrono::hours(c.ages_h[i]);
            const bool damaged = static_cast<int>(i) == c.damaged;
            there.push_back(Kept{std::to_string(i), created, damaged || static_cast<int>(i) == c.good, !damaged});
        }
        std::vector<std::string> wanted;
        for (auto i = c.removed.rbegin(); i != c.removed.rend(); ++i) wanted.push_back(std::to_string(*i));
        CHECK(to_remove(there, c.keep) == wanted);
    }
}
