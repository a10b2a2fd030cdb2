// Segments as the compactor leaves them, their records packed with zstd: the check beside a compaction, and what damage
// to a packed record does to it, to its neighbours, to a backup and to an export.
#include <fcntl.h>
#include <sys/file.h>

#include <atomic>
#include <thread>

#include "admin/transfer/export.h"
#include "protocols/crypto/crypto.h"
#include "storage/backup/backup.h"
#include "storage/check/salvage.h"
#include "storage/context.h"
#include "storage/segments_lock.h"
#include "storage/upkeep/upkeep.h"
#include "tests/unit/storage/check/check_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using test::CheckStore;

namespace {

constexpr auto kQuiet = [](std::uint64_t, std::uint64_t, std::uint64_t, std::string_view) { return true; };
// Messages 1 to 6 fill one segment, the queued one begins the next.
constexpr std::uint64_t kSegmentOctets = 4096;

class Later final : public Clock {
 public:
    Time now() const override { return system_clock().now() + std::chrono::hours(1); }
};

void run(Job& job) {
    for (;;) {
        const auto rest = job.step();
        if (!rest) FAIL(rest.error().context);
        if (rest->count() > 0) return;
    }
}

/// CheckStore with segment 1 sealed, and UID 6, which lies in it, purged.
class CompactedStore : public CheckStore {
 public:
    CompactedStore() : CheckStore(kSegmentOctets) {
        for (const auto& [key, value] : {std::pair("undelete.days", "0"), std::pair("compact.dead_percent", "10")}) {
            REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_setting(key, value); }));
        }
        run(*make_purge_job(*store, metrics_, Later(), {}));
    }
    void compact() {
        run(*make_compact_job(*store, metrics_));
        packed = static_cast<int>(number("SELECT segment FROM messages WHERE id = 1"));
    }
    void must_be_compacted() {
        compact();
        REQUIRE(number("SELECT count(*) FROM segments WHERE id = 1") == 0);
        REQUIRE(number("SELECT count(*) FROM messages WHERE stored_octets < size_octets") == 5);
    }
    /// All that was not touched still reads.
    void check_others(Uid broken) {
        for (Uid uid = 1; uid <= 5; ++uid) {
            if (uid != broken) CHECK(body("INBOX", uid) == text(static_cast<int>(uid)));
        }
    }
    std::uint64_t payload_octets_of(int message) {
        return static_cast<std::uint64_t>(
            number(fmt::format("SELECT stored_octets FROM messages WHERE id = {}", message)));
    }

    int packed = 0;  ///< number of the compacted segment

 private:
    Metrics metrics_;
};

/// Messages written and failed by an export of alice's mail.
std::pair<std::uint64_t, std::uint64_t> export_all(CompactedStore& s, const std::string& target) {
    REQUIRE(std::filesystem::create_directory(target));
    const transfer::File root(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    transfer::ExportStatistics figures;
    const auto done = transfer::export_account(*s.store, s.alice, root, {}, {}, {}, figures);
    if (!done) FAIL(done.error().context);
    return {figures.written, figures.failed};
}

/// Sentences about the store in a backup of it.
std::size_t back_up(CompactedStore& s, const std::string& directory) {
    REQUIRE(crypto::init());
    backup::Target target;
    target.directory = directory;
    REQUIRE(backup::init(target));
    const auto made = backup::create(*s.store, target, {}, {});
    if (!made) FAIL(made.error().context);
    const auto verified = backup::verify(target, "", s.store.path() + "/tmp", {});
    if (!verified) FAIL(verified.error().context);
    CHECK(verified->faults.count == 0);  // of the backup itself
    return made->damage.count;
}

}  // namespace

TEST_CASE("a compaction waits with taking a segment away while a check runs") {
    CompactedStore s;
    int asked = 0;
    const auto compacting = [&](std::uint64_t, std::uint64_t, std::uint64_t, std::string_view) {
        ++asked;
        s.compact();
        return true;
    };
    auto report = check_store(*s.store, CheckOptions{}, compacting);
    REQUIRE(report);
    CHECK(CheckStore::all(report->findings) == "");
    CHECK(asked >= 2);
    CHECK(s.number("SELECT count(*) FROM segments WHERE id = 1") == 1);
    // A repair that has something to do keeps it away, too.
    s.sql("UPDATE mailboxes SET messages = messages + 1 WHERE name = 'INBOX'");
    report = check_store(*s.store, CheckOptions{}, kQuiet);
    REQUIRE(report);
    asked = 0;
    REQUIRE(repair_store(*s.store, *report, CheckOptions{}, RepairOptions{}, compacting));
    CHECK(asked >= 1);
    CHECK(s.number("SELECT count(*) FROM segments WHERE id = 1") == 1);
    s.must_be_compacted();
    CHECK(CheckStore::all(s.check().findings) == "");
}

TEST_CASE("a check waits for the end of a compaction's step") {
    CompactedStore s;
    std::atomic<bool> released = false;
    std::atomic<bool> began_early = false;
    auto lock = lock_segments(directory_of(*s.store));
    REQUIRE((lock && *lock));
    std::thread checker([&] {
        const auto report = check_store(*s.store, CheckOptions{}, [&](auto, auto, auto, std::string_view) {
            if (!released) began_early = true;
            return true;
        });
        CHECK(report);
    });
    // Until the kernel says that somebody waits for the lock; it has no event for that.
    const auto waiting = [] {
        std::ifstream locks("/proc/locks");
        for (std::string line; std::getline(locks, line);) {
            if (line.find("-> FLOCK  ADVISORY  READ") != std::string::npos) return true;
        }
        return !std::filesystem::exists("/proc/locks");
    };
    while (!waiting() && !began_early) std::this_thread::yield();
    released = true;
    lock->reset();
    checker.join();
    CHECK(!began_early);
}

TEST_CASE("salvage and recover keep a compaction away as well") {
    CompactedStore s;
    const auto compacting = [&](auto, auto, auto, std::string_view) {
        s.compact();
        return true;
    };
    const auto recovered = recover(*s.store, "", "bob@a.example", compacting);
    REQUIRE(recovered);
    CHECK(recovered->recovered == 1);  // UID 6
    CHECK(s.number("SELECT count(*) FROM segments WHERE id = 1") == 1);
    const auto held = hold_segments_beneath(s.store.path());
    CHECK(held);
    CHECK(!hold_segments_beneath(s.store.path() + "/tmp"));
}

TEST_CASE("an octet flipped in a packed record") {
    CompactedStore s;
    s.must_be_compacted();
    const std::uint64_t at = s.position_of(3) + kRecordHeaderOctets + s.payload_octets_of(3) / 2;
    s.overwrite(at, "\xff\x00\xff", s.packed);
    CheckReport report = s.check();
    CHECK(CheckStore::all(report.findings) ==
          "body-damaged: message 3 (alice@a.example, INBOX, UID 3): its octets do not match their checksum\n");
    CHECK(s.body("INBOX", 3).starts_with("no: "));
    s.check_others(3);
    CHECK(export_all(s, s.store.path() + "/../exported") == std::pair<std::uint64_t, std::uint64_t>(6, 1));
    CHECK(back_up(s, s.store.path() + "/../backup") == 1);
    const auto saved = salvage(s.store.path(), s.store.path() + "/../saved", SalvageWhat::damaged, kQuiet);
    REQUIRE(saved);
    CHECK(saved->damaged == 1);
    CHECK(saved->messages == 0);
    // Nothing is taken from anybody: what is there may be of use to somebody with better tools.
    const RepairReport repaired = s.repair(report);
    CHECK(repaired.left.findings.faults() == 1);
    CHECK(s.store.entries(s.alice, "INBOX").size() == 5);
    s.check_others(3);
}

TEST_CASE("the header of a packed record is damaged: its octets are beyond doubt and stored anew") {
    CompactedStore s;
    s.must_be_compacted();
    s.overwrite(s.position_of(2), "GARBAGE", s.packed);
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::body_unreadable));
    CHECK(CheckStore::all(s.repair(report).left.findings) == "");
    s.check_others(0);
    CHECK(s.body("Archive", 2) == CheckStore::text(2));
}

TEST_CASE("a packed record overwritten from its head on: its entries go and are noted, the others stay") {
    CompactedStore s;
    s.must_be_compacted();
    s.overwrite(s.position_of(2), std::string(kRecordHeaderOctets + 20, '\0'), s.packed);
    CheckReport report = s.check();
    CHECK(CheckStore::all(report.findings) ==
          "body-unreadable: message 2 (alice@a.example, INBOX, UID 2; alice@a.example, Archive, UID 2): no record of a "
          "segment begins here\n");
    CHECK(export_all(s, s.store.path() + "/../exported") == std::pair<std::uint64_t, std::uint64_t>(5, 2));
    CHECK(back_up(s, s.store.path() + "/../backup") >= 1);
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    CHECK(s.notes_of(repaired).find("removed from alice@a.example, INBOX, UID 2 (subject \"letter 2\", from Carol)") !=
          std::string::npos);
    CHECK(s.store.entries(s.alice, "INBOX").size() == 4);
    s.check_others(2);
}

TEST_CASE("a compacted segment that was cut within a packed record") {
    CompactedStore s;
    s.must_be_compacted();
    // The last one by place is UID 5.
    const std::uint64_t cut = s.position_of(5) + kRecordHeaderOctets + 30;
    s.store.close();
    std::filesystem::resize_file(s.segment(s.packed), cut);
    s.reopen();
    CheckReport report = s.check();
    const std::string said = CheckStore::all(report.findings);
    CAPTURE(said);
    CHECK(said.find(fmt::format("segment-short: {:06}.seg has {} octets, but", s.packed, cut)) != std::string::npos);
    CHECK(said.find(fmt::format("body-damaged: message 5 (alice@a.example, INBOX, UID 5): only 30 of its {} octets are "
                                "there: its file was cut",
                                s.payload_octets_of(5))) != std::string::npos);
    CHECK(report.findings.faults() == 2);
    s.check_others(5);
    CHECK(export_all(s, s.store.path() + "/../exported") == std::pair<std::uint64_t, std::uint64_t>(6, 1));
    CHECK(back_up(s, s.store.path() + "/../backup") >= 1);
    const auto saved = salvage(s.store.path(), s.store.path() + "/../saved", SalvageWhat::damaged, kQuiet);
    REQUIRE(saved);
    CHECK(saved->damaged == 1);
    s.repair(report);
    s.check_others(5);
    s.deliver(8);
    s.check_others(5);
}

TEST_CASE("mail.db says another size of a message than its packed record has: put right, nothing lost") {
    CompactedStore s;
    s.must_be_compacted();
    SUBCASE("size unpacked, too large") { s.sql("UPDATE messages SET size_octets = size_octets + 7 WHERE id = 3"); }
    SUBCASE("size unpacked, too small") { s.sql("UPDATE messages SET size_octets = size_octets - 7 WHERE id = 3"); }
    SUBCASE("size packed") { s.sql("UPDATE messages SET stored_octets = stored_octets - 7 WHERE id = 3"); }
    CheckReport report = s.check();
    const std::string said = CheckStore::all(report.findings);
    CAPTURE(said);
    CHECK(said.find("body-unreadable: message 3 (alice@a.example, INBOX, UID 3): ") != std::string::npos);
    CHECK(said.find(", mail.db says ") != std::string::npos);
    s.check_others(3);
    CHECK(CheckStore::all(s.repair(report).left.findings) == "");
    s.check_others(0);
    CHECK(s.store.entries(s.alice, "INBOX").size() == 5);
}

TEST_CASE("the same of a record as it came in") {
    CheckStore s;
    s.sql("UPDATE messages SET size_octets = size_octets + 7 WHERE id = 3");
    CheckReport report = s.check();
    CHECK(report.findings.has(FaultKind::body_unreadable));
    CHECK(CheckStore::all(s.repair(report).left.findings) == "");
    CHECK(s.body("INBOX", 3) == CheckStore::text(3));
}

TEST_CASE("a flipped octet anywhere in a compacted segment: never wrong octets, never a healthy message lost") {
    CompactedStore s;
    s.must_be_compacted();
    std::ifstream in(s.segment(s.packed), std::ios::binary);
    const std::string good{std::istreambuf_iterator<char>(in), {}};
    for (std::size_t at = 0; at < good.size(); at += 5) {
        CAPTURE(at);
        const char flipped = static_cast<char>(good[at] ^ 0x10);
        s.overwrite(at, std::string_view(&flipped, 1), s.packed);
        s.reopen();
        const CheckReport report = s.check(false);
        CHECK(report.findings.faults() == 1);
        std::size_t wrong = 0;
        for (Uid uid = 1; uid <= 5; ++uid) {
            const std::string octets = s.body("INBOX", uid);
            const bool told = octets.starts_with("no: ");
            CHECK((told || octets == CheckStore::text(static_cast<int>(uid))));
            wrong += told ? 1 : 0;
        }
        CHECK(wrong <= 1);
        s.overwrite(at, std::string_view(good).substr(at, 1), s.packed);
    }
    s.reopen();
    CHECK(CheckStore::all(s.check().findings) == "");
}
