// Octets and files: what a disk can do to them, what the check says, and what the repair may and may not do.
#include "storage/segment.h"
#include "tests/unit/storage/check/check_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using test::CheckStore;

TEST_CASE("damaged octets are named with account, mailbox and UID, and stay where they are") {
    CheckStore s;
    s.overwrite(s.position_of(3) + kRecordHeaderOctets + 5, "XX");
    CheckReport report = s.check();
    CHECK(CheckStore::all(report.findings) ==
          "body-damaged: message 3 (alice@a.example, INBOX, UID 3): its octets do not match their checksum\n");
    const RepairReport repaired = s.repair(report);
    CHECK(repaired.left.findings.faults() == 1);
    CHECK(repaired.mended == 0);
    CHECK(s.store.entries(s.alice, "INBOX").size() == 5);
    CHECK(s.body("INBOX", 2) == CheckStore::text(2));
}

TEST_CASE("octets behind a damaged header are stored anew, if they are beyond doubt") {
    CheckStore s;
    const std::uint64_t at = s.position_of(2);  // also in Archive
    s.overwrite(at, "GARBAGE");
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::body_unreadable));
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    CHECK(repaired.report_file.empty());
    CHECK(s.body("INBOX", 2) == CheckStore::text(2));
    CHECK(s.body("Archive", 2) == CheckStore::text(2));
    CHECK(s.store.entries(s.alice, "INBOX").size() == 5);
}

TEST_CASE("octets that are nowhere: the entry goes as an ordinary expunge and is noted; all else stays") {
    CheckStore s;
    const std::uint64_t at = s.position_of(2);
    s.overwrite(at, std::string(60, '\0'));  // header and the beginning of the octets
    const Mailbox before = s.store.mailbox(s.alice, "INBOX");
    CheckReport report = s.check();
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    const std::string notes = s.notes_of(repaired);
    CHECK(notes.find("removed from alice@a.example, INBOX, UID 2 (subject \"letter 2\", from Carol)") !=
          std::string::npos);
    CHECK(notes.find("removed from alice@a.example, Archive, UID 2") != std::string::npos);
    const std::vector<Entry> left = s.store.entries(s.alice, "INBOX");
    CHECK(left.size() == 4);
    // Mail programs with QRESYNC hear of it.
    const auto gone = s.store->read([&](const Snapshot& snapshot) {
        return snapshot.mail(s.alice).expunged_since(before.id, before.highest_modseq);
    });
    REQUIRE(gone);
    CHECK(*gone == std::vector<Uid>{2});
    for (const Uid uid : {1U, 3U, 4U, 5U}) CHECK(s.body("INBOX", uid) == CheckStore::text(static_cast<int>(uid)));
}

TEST_CASE("a queued message whose octets are nowhere leaves the queue, with an event") {
    CheckStore s;
    const std::uint64_t at = static_cast<std::uint64_t>(
        s.number("SELECT position FROM messages WHERE id = (SELECT message FROM queue_items)"));
    s.overwrite(at, std::string(60, '\0'));
    CheckReport report = s.check();
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    CHECK(s.number("SELECT count(*) FROM queue_items") == 0);
    CHECK(s.number("SELECT count(*) FROM events WHERE queue = 1 AND detail LIKE '%taken out of the queue by fsck%'") ==
          1);
    CHECK(s.notes_of(repaired).find("q1 from <alice@a.example> taken out of the queue") != std::string::npos);
}

TEST_CASE("a row that leads elsewhere finds its record again") {
    CheckStore s;
    s.sql("UPDATE messages SET position = position + 7 WHERE id = 3");
    CheckReport report = s.check();
    CHECK(report.findings.faults() >= 1);
    CHECK(CheckStore::all(s.repair(report).left.findings) == "");
    CHECK(s.body("INBOX", 3) == CheckStore::text(3));
}

TEST_CASE("a message may hold what looks like a record: it is not mistaken for one") {
    CheckStore s;
    // Whoever writes to alice puts a record of message 3 into a letter, in the hope of it being taken for the real one.
    const std::string forged = "forged";
    const std::string trap =
        "Subject: trap\r\n\r\n" + format_record_header(RecordHeader{MessageId{3}, 6, 0xb7aaf1c0, 0}) + forged;
    REQUIRE(s.store.deliver(s.alice, trap));
    s.sql("DELETE FROM messages WHERE id = 3");
    s.overwrite(s.position_of(2), "GARBAGE");  // the walk must search from here on
    CheckReport report = s.check();
    s.repair(report);
    CHECK(s.body("INBOX", 3) == CheckStore::text(3));
}

TEST_CASE("a segment that was cut: what is before the cut stays, the rest is set aside") {
    CheckStore s;
    const std::uint64_t cut = s.position_of(4) + 20;
    s.store.close();
    std::filesystem::resize_file(s.segment(), cut);
    s.reopen();
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::segment_short));
    CHECK(report.findings.has(FaultKind::body_unreadable));
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    for (const Uid uid : {1U, 2U, 3U}) CHECK(s.body("INBOX", uid) == CheckStore::text(static_cast<int>(uid)));
    s.deliver(8);
    CHECK(CheckStore::all(s.check().findings) == "");
}

TEST_CASE("a segment whose file is gone") {
    CheckStore s;
    s.store.close();
    std::filesystem::remove(s.segment());
    s.reopen();
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::segment_file_missing));
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    CHECK(s.store.entries(s.alice, "INBOX").empty());
    s.deliver(8);
    CHECK(CheckStore::all(s.check().findings) == "");
}

TEST_CASE("the head of a segment's file is written again") {
    CheckStore s;
    s.overwrite(0, "NONSENSE");
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::segment_header));
    CHECK(CheckStore::all(s.repair(report).left.findings) == "");
}
