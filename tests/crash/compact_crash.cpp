// compact_crash: a process that compacts is killed (SIGKILL) at every step of a compaction; after each death the store
// is opened again, every message must read octet for octet, the counters must agree with the rows, and the next run of
// the job must finish the work and leave nothing behind.
//
// usage: compact_crash      Exit status 0 only if all of it held.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "storage/check/check.h"
#include "storage/fail_point.h"
#include "storage/upkeep/upkeep.h"
#include "tests/crash/crash_support.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::crash;

namespace {

constexpr int kMessages = 600;
constexpr int kKeptEach = 4;  // of so many one is kept
constexpr const char* kPoints[] = {"compact-filled", "compact-reserved", "compact-synced",
                                   "compact-row",    "compact-renamed",  "compact-moving",
                                   "compact-moved",  "compact-unlinked", "compact-row-deleted"};
/// Undelete of no days still covers the present millisecond: the purge sees the next second.
class Later final : public Clock {
 public:
    Time now() const override { return system_clock().now() + std::chrono::seconds(1); }
};

StoreOptions options_for(const std::string& directory) { return options_in(directory, 512UL * 1024); }

std::string body_of(int number) {
    std::string out = fmt::format("number {}\r\n\r\n", number);
    std::minstd_rand random(static_cast<unsigned>(number + 1));
    while (out.size() < 3000) out += fmt::format("w{} ", random() % 500);
    return out;
}

/// A store with sealed segments that are three quarters dead.
AccountId prepare(const std::string& directory) {
    const AccountId account = make_store(options_for(directory), [](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().set_setting("undelete.days", "0"));
        TRY_VOID(tx.catalog().set_setting("purge.messages_per_second", "100000"));
        return tx.catalog().set_setting("compact.octets_per_second", "1000000000");
    });
    auto store = need(Store::open(options_for(directory)));
    for (int i = 1; i <= kMessages; ++i) need(deliver(*store, account, body_of(i), "", Queued::no));
    need(store->write({}, [&](Tx& tx) -> Result<> {
        TRY(const Mailbox inbox, tx.mail(account).mailbox("INBOX"));
        std::vector<Uid> gone;
        for (Uid uid = 1; uid <= kMessages; ++uid) {
            if (uid % kKeptEach != 0) gone.push_back(uid);
        }
        TRY_VOID(tx.mail(account).expunge(inbox.id, gone));
        return {};
    }));
    Metrics metrics;
    const Later later;
    need(run(*make_purge_job(*store, metrics, later, {})));
    return account;
}

void check(const std::string& directory, AccountId account) {
    auto store = need(Store::open(options_for(directory)));
    int count = 0;
    each_message(*store, account, [&](const Entry& entry, const Result<std::string>& text) {
        ++count;
        expect(text && *text == body_of(static_cast<int>(entry.uid)), fmt::format("the body of UID {}", entry.uid));
    });
    expect(count == kMessages / kKeptEach, "the number of messages");
    const auto db = look_into(directory);
    expect(ask(*db,
               "SELECT count(*) FROM segments s WHERE dead_octets <> octets - 16 - (SELECT "
               "coalesce(sum(stored_octets + 32), 0) FROM messages m WHERE m.segment = s.id)") == 0,
           "dead octets");
    expect(ask(*db, "SELECT count(*) FROM messages WHERE segment NOT IN (SELECT id FROM segments)") == 0, "segments");
}

enum class Repair { no, yes };

/// Whatever was left over is harmless, and a repair may tidy it as well as the next run of the job.
void check_faults(Store& store, Repair repair) {
    CheckOptions options;
    options.young_seconds = 0;
    const auto go_on = [](auto, auto, auto, std::string_view) { return true; };
    CheckReport report = need(check_store(store, options, go_on));
    expect(report.findings.faults() == 0, fmt::format("fsck says {} faults", report.findings.faults()));
    if (repair == Repair::no || report.findings.notes() == 0) return;
    const RepairReport repaired = need(repair_store(store, report, options, {}, go_on));
    expect(repaired.left.findings.notes() + repaired.left.findings.faults() == 0, "fsck tidies what is left over");
}

void check_nothing_left(const std::string& directory) {
    const auto db = look_into(directory);
    expect(ask(*db, "SELECT count(*) FROM segments WHERE sealed = 1 AND dead_octets * 2 >= octets - 16") == 0,
           "nothing is left to compact");
    std::int64_t files = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory + "/segments")) {
        ++files;
        expect(file.file_size() > 16, "no empty file is left");
    }
    expect(files == ask(*db, "SELECT count(*) FROM segments"), "a file for each row, a row for each file");
    expect(std::filesystem::is_empty(directory + "/tmp"), "DATA/tmp is empty");
}

void child(const std::string& directory, const char* point, int count) {
    auto store = need(Store::open(options_for(directory)));
    fail_point::arm_kill(point, count);
    Metrics metrics;
    need(run(*make_compact_job(*store, metrics)));
}

void trial(const std::string& prepared, const std::string& directory, AccountId account, const char* point, int count) {
    const int before = failures();
    std::filesystem::remove_all(directory);
    std::filesystem::copy(prepared, directory, std::filesystem::copy_options::recursive);
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all);
    expect_killed(spawn([&] { child(directory, point, count); }), point);
    check(directory, account);
    {
        auto store = need(Store::open(options_for(directory)));
        check_faults(*store, count == 1 ? Repair::no : Repair::yes);
        Metrics metrics;
        need(run(*make_compact_job(*store, metrics)));
    }
    check(directory, account);
    check_nothing_left(directory);
    fmt::print("{:20} {}  {}\n", point, count, verdict_since(before));
}

}  // namespace

int main() {
    const Scratch scratch;
    const std::string prepared = scratch.path() + "/prepared";
    const AccountId account = prepare(prepared);
    for (const char* point : kPoints) {
        for (const int count : {1, 2}) trial(prepared, scratch.path() + "/data", account, point, count);
    }
    return finish();
}
