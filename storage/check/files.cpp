// Files that no row names.
#include "storage/check/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <memory>
#include <set>

#include "storage/check/walk.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

Result<std::set<std::int64_t>> known_segments(Store& store) {
    return store.read([](const Snapshot& snapshot) -> Result<std::set<std::int64_t>> {
        std::set<std::int64_t> out;
        Query q = context_of(snapshot).db.query("SELECT id FROM segments");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            out.insert(q.i64(0));
        }
    });
}

/// The number in the name of a segment's file; 0 for any other name.
std::int64_t number_of(const std::string& name) {
    if (!name.ends_with(".seg") || name.size() < 10) return 0;
    std::int64_t number = 0;
    for (const char c : std::string_view(name).substr(0, name.size() - 4)) {
        if (c < '0' || c > '9' || number > 1'000'000'000'000) return 0;
        number = number * 10 + (c - '0');
    }
    return segment_name(number) == name ? number : 0;
}

/// A file in DATA/segments that has no row.
void judge_stranger(const Directory& directory, const FoundFile& file, std::int64_t number, CheckReport& report) {
    if (file.name.ends_with(kOrphanMarkEnding)) return;
    if (number == 0) {
        report.findings.add(FaultKind::orphan_file, 0, name_target(file.name),
                            fmt::format("segments/{} ({} octets) is no file of this program: it is not touched",
                                        file.name, file.octets));
        return;
    }
    // Messages lie in it: its row is what is missing.
    if (report.findings.targets(FaultKind::segment_row_missing).contains({number, 0})) return;
    const auto opened = open_beneath(directory.segments(), file.name, O_RDONLY);
    if (!opened || ::flock(opened->get(), LOCK_SH | LOCK_NB) != 0) return;  // locked: a writer has just begun it
    SegmentWalk walk(*opened, std::min(file.octets, kFileHeaderOctets), file.octets);
    std::uint64_t records = 0;
    while (walk.next()) ++records;
    if (records == 0) {
        report.findings.add(
            FaultKind::leftover_file, number, 0,
            fmt::format("segments/{} ({} octets) has no row and holds no message", file.name, file.octets));
    } else {
        report.findings.add(FaultKind::orphan_file, number, 0,
                            fmt::format("segments/{} ({} octets, {} messages) is not known to mail.db", file.name,
                                        file.octets, records));
    }
}

}  // namespace

std::vector<FoundFile> list_files(const Descriptor& directory) {
    std::vector<FoundFile> out;
    const int fd = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return out;
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd), ::closedir);
    while (const dirent* item = ::readdir(listing.get())) {
        const std::string_view name = item->d_name;
        struct stat facts{};
        if (::fstatat(fd, item->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(facts.st_mode)) continue;
        FoundFile file;
        file.name = name;
        file.age_seconds = static_cast<std::int64_t>(std::time(nullptr)) - static_cast<std::int64_t>(facts.st_mtime);
        file.octets = static_cast<std::uint64_t>(facts.st_size);
        out.push_back(std::move(file));
    }
    std::ranges::sort(out, {}, &FoundFile::name);
    return out;
}

std::int64_t name_target(const std::string& name) {
    return static_cast<std::int64_t>(std::hash<std::string>()(name) >> 1U);
}

Result<> check_strangers(Store& store, const CheckOptions& options, CheckReport& report) {
    const Directory& directory = directory_of(store);
    const std::vector<FoundFile> files = list_files(directory.segments());
    TRY(const std::set<std::int64_t> rows, known_segments(store));
    for (const FoundFile& file : files) {
        const std::int64_t number = number_of(file.name);
        if (rows.contains(number)) continue;
        if (file.age_seconds < options.young_seconds) continue;
        judge_stranger(directory, file, number, report);
    }
    for (const FoundFile& file : list_files(directory.tmp())) {
        if (file.age_seconds < std::max<std::int64_t>(options.young_seconds, kTmpOldSeconds)) continue;
        report.findings.add(
            FaultKind::leftover_file, kTmpTarget, name_target(file.name),
            fmt::format("tmp/{} ({} octets) is {} days old", file.name, file.octets, file.age_seconds / 86'400));
    }
    return {};
}

}  // namespace posthouse::storage
