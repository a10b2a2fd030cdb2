// Without mail.db: every message that a damaged segment still has. And back into a mailbox again.
#include "storage/check/salvage.h"
#include "storage/check/rebuild.h"
#include "storage/segment.h"
#include "tests/unit/storage/check/check_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using test::CheckStore;

namespace {

constexpr auto kQuiet = [](std::uint64_t, std::uint64_t, std::uint64_t, std::string_view) { return true; };

std::string octets_of(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The contents of every salvaged file with this ending.
std::vector<std::string> salvaged(const std::string& folder, std::string_view ending) {
    std::vector<std::string> out;
    for (const auto& item : std::filesystem::recursive_directory_iterator(folder)) {
        const std::string name = item.path().filename();
        const bool whole = name.ends_with(".eml") && !name.ends_with(".damaged.eml");
        if (ending == ".eml" ? whole : name.ends_with(ending)) out.push_back(octets_of(item.path()));
    }
    std::ranges::sort(out);
    return out;
}

std::vector<std::string> texts(std::initializer_list<int> numbers) {
    std::vector<std::string> out;
    for (const int number : numbers) out.push_back(CheckStore::text(number));
    std::ranges::sort(out);
    return out;
}

std::size_t recovered_in(CheckStore& s, AccountId account) { return s.store.entries(account, "Recovered").size(); }

}  // namespace

TEST_CASE("salvage writes every message of a store without mail.db") {
    CheckStore s;
    s.store.close();
    std::filesystem::remove(s.database());
    const std::string target = s.store.path() + "/../saved";
    const auto report = salvage(s.store.path(), target, SalvageWhat::everything, kQuiet);
    REQUIRE(report);
    CHECK(report->messages == 7);
    CHECK(report->damaged == 0);
    CHECK(report->octets_skipped == 0);
    CHECK(salvaged(target, ".eml") == texts({1, 2, 3, 4, 5, 6, 9}));
    const std::string list = octets_of(target + "/salvage.tsv");
    CHECK(list.find("\twhole\t") != std::string::npos);
    CHECK(list.find("\tCarol\tletter 3\n") != std::string::npos);
    // Nothing is written over.
    const auto again = salvage(s.store.path(), target, SalvageWhat::everything, kQuiet);
    REQUIRE(!again);
    CHECK(again.error().code == Errc::already_exists);
}

TEST_CASE("salvage goes on behind damage of any shape") {
    CheckStore s;
    const std::uint64_t second = s.position_of(2);
    const std::uint64_t fourth = s.position_of(4);
    const std::uint64_t last = static_cast<std::uint64_t>(s.number("SELECT max(position) FROM messages"));
    s.store.close();
    s.overwrite(0, std::string(16, '\0'));                       // the file's head
    s.overwrite(second, "PHRC");                                 // whole, to be sure that this changes nothing
    s.overwrite(second + 8, "\xff\xff\xff\xff\xff\xff\xff");     // a header that does not check out
    s.overwrite(fourth + kRecordHeaderOctets + 30, "PHRCPHRC");  // octets that look like a record
    std::filesystem::resize_file(s.segment(), last + 60);        // and its end is gone
    const std::string target = s.store.path() + "/../saved";
    const auto report = salvage(s.store.path(), target, SalvageWhat::everything, kQuiet);
    REQUIRE(report);
    CHECK(salvaged(target, ".eml") == texts({1, 3, 5, 6}));
    const std::vector<std::string> damaged = salvaged(target, ".damaged.eml");
    REQUIRE(damaged.size() == 2);
    CHECK(std::ranges::any_of(damaged,
                              [](const std::string& text) { return text == CheckStore::text(9).substr(0, 28); }));
    CHECK(std::ranges::any_of(damaged, [](const std::string& text) {
        return text.size() == CheckStore::text(4).size() && text.find("PHRCPHRC") != std::string::npos;
    }));
    CHECK(report->octets_skipped > 0);
}

TEST_CASE("salvage of the damaged alone") {
    CheckStore s;
    s.overwrite(s.position_of(3) + kRecordHeaderOctets + 3, "!");
    const std::string target = s.store.path() + "/../saved";
    const auto report = salvage(s.store.path(), target, SalvageWhat::damaged, kQuiet);
    REQUIRE(report);
    CHECK(report->messages == 0);
    CHECK(report->damaged == 1);
    CHECK(salvaged(target, ".damaged.eml").size() == 1);
}

TEST_CASE("segments of a lost store come into a mailbox of another, once") {
    CheckStore old;
    old.store.close();
    CheckStore s;
    const std::string segments = old.store.path() + "/segments";
    const auto report = recover(*s.store, segments, "bob@a.example", kQuiet);
    REQUIRE(report);
    CHECK(report->recovered == 7);
    CHECK(recovered_in(s, s.bob) == 7);
    const auto again = recover(*s.store, segments, "bob@a.example", kQuiet);
    REQUIRE(again);
    CHECK(again->recovered == 0);
    CHECK(again->known == 7);
    CHECK(recovered_in(s, s.bob) == 7);
    CHECK(CheckStore::all(s.check().findings) == "");
}

TEST_CASE("dead records of the own store come back, living ones are left alone") {
    CheckStore s;
    // Purged for good: its row is gone, its octets are not yet.
    s.sql(
        "DELETE FROM deleted_entries; DELETE FROM messages WHERE id = 6; "
        "UPDATE segments SET dead_octets = dead_octets + 32 + " +
        std::to_string(CheckStore::text(6).size()));
    CHECK(CheckStore::all(s.check().findings) == "");
    const auto report = recover(*s.store, "", "alice@a.example", kQuiet);
    REQUIRE(report);
    CHECK(report->recovered == 1);
    CHECK(report->known == 6);
    CHECK(s.body("Recovered", 1) == CheckStore::text(6));
    CHECK(CheckStore::all(s.check().findings) == "");
}

TEST_CASE("a damaged mail.db: what can be read comes into a new one, the segments give the rest") {
    CheckStore s;
    for (int i = 0; i < 300; ++i) s.deliver(1 + i % 5);
    const std::vector<Entry> before = s.store.entries(s.alice, "INBOX");
    // The rows of one leaf of `messages`, by way of its page.
    const std::int64_t page = s.number(
        "SELECT pageno FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 3");
    const bool known = page > 0;
    const auto page_octets = static_cast<std::size_t>(s.number("PRAGMA page_size"));
    s.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    s.store.close();
    {
        std::fstream file(s.database(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(((known ? page : 40) - 1) * static_cast<std::int64_t>(page_octets)));
        const std::string zeros(page_octets, '\x55');
        file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
        file.close();
        REQUIRE(file);
    }
    s.reopen();
    CHECK(s.check(false).findings.has(FaultKind::database_damaged));
    const auto refused = rebuild_database(s.store.path(), kQuiet);
    REQUIRE(!refused);
    CHECK(refused.error().code == Errc::unavailable);
    CHECK(refused.error().context.find("stop the server") != std::string::npos);
    s.store.close();
    const auto report = rebuild_database(s.store.path(), kQuiet);
    REQUIRE_MESSAGE(report, (report ? "" : report.error().context));
    CHECK(std::filesystem::exists(s.store.path() + "/" + report->kept));
    s.reopen();
    CheckReport after = s.check(false);
    CHECK(!after.findings.has(FaultKind::database_damaged));
    const RepairReport repaired = s.repair(after);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    if (!known) return;  // another page of the database was lost: enough that it is in order again
    CHECK(report->damaged == std::vector<std::string>{"messages"});
    const std::vector<Entry> now = s.store.entries(s.alice, "INBOX");
    CHECK(now.size() == before.size());
    for (const Uid uid : {1U, 2U, 3U, 5U}) CHECK(s.body("INBOX", uid) == CheckStore::text(static_cast<int>(uid)));
}
