// leftover_crash: a process that takes in mail is killed where a file lies in the data directory that no row names yet:
// a new segment, a large message before and after its rename, a record behind the committed end. fsck must call what is
// left harmless and tidy it, or the server does by itself when it has lain there long enough; mail stays as it was.
//
// usage: leftover_crash      Exit status 0 only if all of it held.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <set>

#include "storage/check/check.h"
#include "storage/fail_point.h"
#include "storage/upkeep/upkeep.h"
#include "tests/crash/crash_support.h"

using namespace posthouse;
using namespace posthouse::storage;
using namespace posthouse::crash;

namespace {

constexpr int kKept = 5;  // acknowledged, the last of them by the process that dies
constexpr std::size_t kSmallOctets = 3000;

struct Case {
    const char* point;
    bool large;
    std::set<FaultKind> left;  ///< what fsck names
};

const Case kCases[] = {
    {"after-new-segment", false, {FaultKind::leftover_file}},
    {"after-append", false, {FaultKind::orphan_file}},
    {"after-sync", false, {FaultKind::orphan_file}},
    {"before-commit", false, {FaultKind::orphan_file}},
    {"before-rename", true, {}},  // the next start empties DATA/tmp
    {"after-rename", true, {FaultKind::orphan_file}},
    {"before-commit", true, {FaultKind::orphan_file}},
};

StoreOptions options_for(const std::string& directory) { return options_in(directory, 64UL * 1024); }

std::string body_of(int number, std::size_t octets) {
    std::string out = fmt::format("Subject: number {}\r\n\r\n", number);
    out.resize(octets, static_cast<char>('a' + number));
    return out;
}

AccountId prepare(const std::string& directory) {
    const AccountId account = make_store(options_for(directory));
    const auto store = need(Store::open(options_for(directory)));
    for (int i = 1; i < kKept; ++i) need(deliver(*store, account, body_of(i, kSmallOctets), "", Queued::no));
    return account;
}

/// Behind one that takes up the open segment; even a small one is too large for what is left of it.
void child(const std::string& directory, AccountId account, const Case& one) {
    const auto store = need(Store::open(options_for(directory)));
    need(deliver(*store, account, body_of(kKept, kSmallOctets), "", Queued::no));
    fail_point::arm_kill(one.point, 1);
    const std::size_t octets = one.large ? kSpoolOctets + 1000 : 60UL * 1024;
    need(deliver(*store, account, body_of(9, octets), "", Queued::no));
}

std::set<FaultKind> kinds_of(const Findings& findings) {
    std::set<FaultKind> out;
    for (const auto& [kind, group] : findings.groups()) out.insert(kind);
    return out;
}

void check_mail(Store& store, AccountId account) {
    int count = 0;
    each_message(store, account, [&](const Entry& entry, const Result<std::string>& text) {
        ++count;
        expect(text && *text == body_of(static_cast<int>(entry.uid), kSmallOctets),
               fmt::format("the body of UID {}", entry.uid));
    });
    expect(count == kKept, "what was acknowledged is there, and nothing else");
}

enum class Tidied { by_fsck, by_the_server };

void age_segments(const std::string& directory) {
    constexpr auto kOld = std::chrono::hours(24 * 40);
    for (const auto& file : std::filesystem::directory_iterator(directory + "/segments")) {
        std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() - kOld);
    }
}

void trial(const std::string& directory, const Case& one, Tidied tidied) {
    const int before = failures();
    std::filesystem::remove_all(directory);
    const AccountId account = prepare(directory);
    expect_killed(spawn([&] { child(directory, account, one); }), one.point);
    const auto store = need(Store::open(options_for(directory)));
    const auto go_on = [](auto, auto, auto, std::string_view) { return true; };
    CheckOptions options;
    options.young_seconds = 0;
    CheckReport report = need(check_store(*store, options, go_on));
    expect(kinds_of(report.findings) == one.left, "fsck names what is left, and nothing else");
    expect(report.findings.faults() == 0, "and calls it harmless");
    check_mail(*store, account);
    if (tidied == Tidied::by_fsck) {
        need(repair_store(*store, report, options, {}, go_on));
    } else {
        // Noticed by one start, removed by one long after; a third takes the mark of it away.
        Metrics metrics;
        for (int start = 0; start < 3; ++start) {
            age_segments(directory);
            need(run(*make_compact_job(*store, metrics)));
        }
    }
    report = need(check_store(*store, options, go_on));
    expect(report.findings.groups().empty(), "nothing is left");
    std::int64_t files = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(directory + "/segments")) ++files;
    expect(files == ask(*look_into(directory), "SELECT count(*) FROM segments"), "a file for each row");
    check_mail(*store, account);
    fmt::print("{:20} {:5} {:14} {}\n", one.point, one.large ? "large" : "small",
               tidied == Tidied::by_fsck ? "by fsck" : "by the server", verdict_since(before));
}

}  // namespace

int main() {
    const Scratch scratch;
    const std::string directory = scratch.path() + "/data";
    for (const Case& one : kCases) {
        for (const Tidied tidied : {Tidied::by_fsck, Tidied::by_the_server}) trial(directory, one, tidied);
    }
    return finish();
}
