#include "storage/upkeep/segment_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <memory>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "storage/fail_point.h"
#include "storage/upkeep/copier.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kLookStep = 256;
constexpr const char* kDamagedLogName = "mail.db-wal.damaged";  // see storage/wal_check.h
constexpr std::string_view kSegmentEnding = ".seg";
constexpr std::int64_t kYoungSeconds = 600;

Result<bool> has_row(Store& store, std::int64_t segment) {
    return store.read([&](const Snapshot& snapshot) -> Result<bool> {
        Query q = context_of(snapshot).db.query("SELECT 1 FROM segments WHERE id = ?1");
        return q.bind(segment).row();
    });
}

Result<bool> any_named(Store& store, std::int64_t segment, const std::vector<MessageId>& messages) {
    return store.read([&](const Snapshot& snapshot) -> Result<bool> {
        Query q = context_of(snapshot).db.query("SELECT 1 FROM messages WHERE id = ?1 AND segment = ?2");
        for (const MessageId message : messages) {
            q.reset();
            TRY(const bool found, q.bind(message, segment).row());
            if (found) return true;
        }
        return false;
    });
}

/// By the records: a row can name this segment only for a message whose record is in it.
Result<bool> is_used_by_walk(Store& store, std::int64_t segment, std::uint64_t octets) {
    TRY(const Descriptor file, open_beneath(directory_of(store).segments(), segment_name(segment), O_RDONLY));
    bool used = false;
    std::vector<MessageId> met;
    const auto look = [&]() -> Result<> {
        if (!used) {
            TRY(used, any_named(store, segment, met));
        }
        met.clear();
        return {};
    };
    TRY_VOID(walk_records(file, octets, [&](const MetRecord& record) -> Result<> {
        met.push_back(record.header.message);
        return met.size() < kLookStep ? Result<>() : look();
    }));
    TRY_VOID(look());
    return used;
}

std::optional<std::int64_t> number_of(std::string_view name, std::string_view ending) {
    if (!name.ends_with(ending)) return std::nullopt;
    const auto number = ascii::parse_number(name.substr(0, name.size() - ending.size()));
    if (!number || *number > 1ULL << 40U) return std::nullopt;
    return static_cast<std::int64_t>(*number);
}

std::string mark_name(std::int64_t number) {
    std::string name = segment_name(number);
    return name.substr(0, name.size() - kSegmentEnding.size()).append(kOrphanMarkEnding);
}

/// Whether the octets of a file without a row may go: marks it where it is seen for the first time.
Result<bool> is_forgotten(Store& store, std::int64_t number, const struct stat& facts) {
    if (std::time(nullptr) - facts.st_mtime < kYoungSeconds) return false;  // its commit may be under way
    const Directory& directory = directory_of(store);
    if (::faccessat(directory.root().get(), kDamagedLogName, F_OK, AT_SYMLINK_NOFOLLOW) == 0) return false;
    // Its row may have been lost: fsck enters it again.
    TRY(const bool used, is_segment_used(store, number, static_cast<std::uint64_t>(facts.st_size)));
    if (used) return false;
    const std::string mark = mark_name(number);
    struct stat marked{};
    if (::fstatat(directory.segments().get(), mark.c_str(), &marked, AT_SYMLINK_NOFOLLOW) == 0) {
        return std::time(nullptr) - marked.st_mtime >= kOrphanKeptSeconds;
    }
    TRY([[maybe_unused]] const Descriptor made, open_beneath(directory.segments(), mark, O_RDWR | O_CREAT | O_EXCL));
    log::warn("storage",
              "segments/{} ({} octets) holds messages that mail.db does not know: a crash leaves such, and nobody was "
              "told that they were taken in. It is removed in {} days; posthouse fsck --repair puts it aside",
              segment_name(number), facts.st_size, kOrphanKeptSeconds / 86'400);
    return false;
}

/// A mark goes with its file, or when the file has got its row.
Result<> sweep_mark(Store& store, std::int64_t number) {
    const Descriptor& segments = directory_of(store).segments();
    TRY(const bool known, has_row(store, number));
    const bool there = ::faccessat(segments.get(), segment_name(number).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (known || !there) static_cast<void>(::unlinkat(segments.get(), mark_name(number).c_str(), 0));
    return {};
}

/// Removes one file if it is what sweep_leftovers() is for.
Result<> sweep_one(Store& store, const std::string& name, std::int64_t number) {
    const Descriptor& segments = directory_of(store).segments();
    auto file = open_beneath(segments, name, O_RDONLY);
    if (!file) return {};
    // Whoever is about to fill it holds the lock, or finds out behind it that the name is gone.
    if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) return {};
    struct stat facts{};
    if (::fstat(file->get(), &facts) != 0) return system_error(errno, fmt::format("cannot look at segments/{}", name));
    TRY(const bool known, has_row(store, number));
    if (known) return {};
    if (facts.st_size > static_cast<off_t>(kFileHeaderOctets)) {
        TRY(const bool forgotten, is_forgotten(store, number, facts));
        if (!forgotten) return {};
        log::warn("storage", "segments/{} ({} octets) is removed: mail.db has not known it for {} days", name,
                  facts.st_size, kOrphanKeptSeconds / 86'400);
    }
    static_cast<void>(::unlinkat(segments.get(), name.c_str(), 0));
    return {};
}

}  // namespace

Result<std::int64_t> reserve_segment(Store& store) {
    TRY(std::int64_t number, store.read([](const Snapshot& snapshot) -> Result<std::int64_t> {
        return next_segment_number(context_of(snapshot).db);
    }));
    for (;; ++number) {
        const auto file = open_beneath(directory_of(store).segments(), segment_name(number), O_RDWR | O_CREAT | O_EXCL);
        if (file) return number;
        if (file.error().code != Errc::already_exists) return Error(file.error());
    }
}

Result<bool> is_segment_used(Store& store, std::int64_t segment, std::uint64_t octets) {
    if (const auto walked = is_used_by_walk(store, segment, octets)) return *walked;
    return store.read([&](const Snapshot& snapshot) -> Result<bool> {
        Query q = context_of(snapshot).db.query("SELECT 1 FROM messages WHERE segment = ?1 LIMIT 1");
        return q.bind(segment).row();
    });
}

Result<Removal> remove_segment(Store& store, std::int64_t segment, std::uint64_t octets) {
    // Sealed: no row can come to name it after this look.
    TRY(const bool used, is_segment_used(store, segment, octets));
    if (used) return Removal::used;
    const Directory& directory = directory_of(store);
    TRY(const std::optional<Descriptor> lock, lock_segments(directory));
    if (!lock) return Removal::locked;
    if (::unlinkat(directory.segments().get(), segment_name(segment).c_str(), 0) != 0 && errno != ENOENT) {
        return system_error(errno, fmt::format("cannot remove segment {}", segment));
    }
    POSTHOUSE_FAIL_POINT("compact-unlinked");
    TRY_VOID(sync_directory(directory.segments()));
    segments_of(store).forget(segment);
    TRY_VOID(store.write({}, [segment](Tx& tx) -> Result<> {
        Connection& db = context_of(tx).db;
        TRY_VOID(db.query("INSERT INTO counters VALUES ('segment', ?1) ON CONFLICT (name) DO UPDATE SET "
                          "value = max(value, excluded.value)")
                     .bind(segment)
                     .run());
        return db.query("DELETE FROM segments WHERE id = ?1 AND sealed = 1").bind(segment).run();
    }));
    POSTHOUSE_FAIL_POINT("compact-row-deleted");
    return Removal::done;
}

Result<> sweep_leftovers(Store& store) {
    const int fd = ::openat(directory_of(store).segments().get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, "cannot read DATA/segments");
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd), ::closedir);
    if (!listing) return system_error(errno, "cannot read DATA/segments");
    std::vector<std::int64_t> marks;
    while (const dirent* item = ::readdir(listing.get())) {
        const std::string name = item->d_name;
        if (const auto number = number_of(name, kSegmentEnding)) TRY_VOID(sweep_one(store, name, *number));
        if (const auto number = number_of(name, kOrphanMarkEnding)) marks.push_back(*number);
    }
    for (const std::int64_t number : marks) TRY_VOID(sweep_mark(store, number));
    return {};
}

}  // namespace posthouse::storage
