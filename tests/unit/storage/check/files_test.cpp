// Files that a crash left behind: named, harmless, gone when nothing refers to them, and never a message with them.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <utime.h>

#include "storage/segment.h"
#include "tests/unit/storage/check/check_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using test::CheckStore;

namespace {

void age(const std::string& path, int days) {
    const std::time_t then = std::time(nullptr) - static_cast<std::time_t>(days) * 86'400;
    const utimbuf times{then, then};
    REQUIRE(::utime(path.c_str(), &times) == 0);
}

void write_file(const std::string& path, const std::string& octets, int days_old) {
    std::ofstream(path, std::ios::binary) << octets;
    age(path, days_old);
}

std::string record_of(int segment, std::int64_t message) {
    return format_file_header(static_cast<std::uint32_t>(segment)) +
           format_record_header(RecordHeader{MessageId{message}, 2, 0x6dd28e9b, 0}) + "hi";
}

}  // namespace

TEST_CASE("files that nobody knows are harmless: removed if empty, put aside if messages are in them") {
    CheckStore s;
    write_file(s.segment(77), format_file_header(77), 0);
    write_file(s.segment(78), record_of(78, 500), 0);
    write_file(s.store.path() + "/segments/000078.orphan", "", 40);  // the server has noticed it
    CHECK(CheckStore::all(s.check().findings) == "");                // young: somebody may be about to commit
    age(s.segment(77), 1);
    age(s.segment(78), 1);
    CheckReport report = s.check();
    CHECK(report.findings.faults() == 0);
    CHECK(CheckStore::all(report.findings) ==
          "orphan-file: segments/000078.seg (50 octets, 1 messages) is not known to mail.db\n"
          "leftover-file: segments/000077.seg (16 octets) has no row and holds no message\n");
    const RepairReport repaired = s.repair(report);
    CHECK(repaired.left.findings.notes() == 0);
    CHECK(!std::filesystem::exists(s.segment(77)));
    CHECK(std::filesystem::exists(s.store.path() + "/fsck-aside/000078.seg"));
    CHECK(s.notes_of(repaired).find("moved to fsck-aside/000078.seg") != std::string::npos);
}

TEST_CASE("a file whose row is lost is no leftover while messages lie in it") {
    CheckStore s;
    s.sql("DELETE FROM segments WHERE id = 1");
    age(s.segment(), 30);
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::segment_row_missing));
    CHECK(!report.findings.has(FaultKind::orphan_file));
    CHECK(!report.findings.has(FaultKind::leftover_file));
    // Told to remove it all the same, as if messages had come to it after the check.
    report.findings.add(FaultKind::orphan_file, 1, 0, "a stale finding");
    report.findings.add(FaultKind::leftover_file, 1, 0, "a stale finding");
    CHECK(CheckStore::all(s.repair(report).left.findings) == "");
    for (const Uid uid : {1U, 2U, 3U, 4U, 5U}) CHECK(s.body("INBOX", uid) == CheckStore::text(static_cast<int>(uid)));
}

TEST_CASE("what was taken up since the check stays") {
    CheckStore s;
    write_file(s.segment(77), format_file_header(77), 1);
    CheckReport report = s.check();
    REQUIRE(report.findings.has(FaultKind::leftover_file));
    const int writer = ::open(s.segment(77).c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(::flock(writer, LOCK_EX) == 0);
    s.repair(report);
    CHECK(std::filesystem::exists(s.segment(77)));
    CHECK(s.check().findings.notes() == 0);  // it is a writer's now
    ::close(writer);
}

TEST_CASE("old files in DATA/tmp go, young ones and directories stay, and so does what is not ours") {
    CheckStore s;
    const std::string tmp = s.store.path() + "/tmp/";
    write_file(tmp + "old", "half a message", 2);
    write_file(tmp + "new", "half a message", 0);
    std::filesystem::create_directory(tmp + "folder");
    age(tmp + "folder", 2);
    write_file(s.store.path() + "/segments/notes.txt", "mine", 2);
    CheckReport report = s.check();
    CHECK(CheckStore::all(report.findings) ==
          "orphan-file: segments/notes.txt (4 octets) is no file of this program: it is not touched\n"
          "leftover-file: tmp/old (14 octets) is 2 days old\n");
    const RepairReport repaired = s.repair(report);
    CHECK(repaired.mended == 1);
    CHECK(!std::filesystem::exists(tmp + "old"));
    CHECK(std::filesystem::exists(tmp + "new"));
    CHECK(std::filesystem::exists(tmp + "folder"));
    CHECK(std::filesystem::exists(s.store.path() + "/segments/notes.txt"));
}

TEST_CASE("the rest of a dead segment is harmless; a living one without its file is not") {
    CheckStore s;
    SUBCASE("without a file") {}
    SUBCASE("with an empty file, whose number was taken") { write_file(s.segment(90), "", 0); }
    s.sql("INSERT INTO segments (id, octets, dead_octets, sealed) VALUES (90, 1016, 1000, 1)");
    CheckReport report = s.check();
    CHECK(CheckStore::all(report.findings) ==
          "segment-row-left: 000090.seg has a row, no messages, and no file of its size any more\n");
    CHECK(report.findings.faults() == 0);
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    CHECK(s.number("SELECT count(*) FROM segments WHERE id = 90") == 0);
    CHECK(!std::filesystem::exists(s.segment(90)));
    s.sql("INSERT INTO segments (id, octets, dead_octets, sealed) VALUES (91, 1016, 10, 1)");
    CHECK(s.check().findings.has(FaultKind::segment_file_missing));
}
