#include "storage/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "protocols/base/random.h"
#include "storage/wal_check.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kSpaceAgeMs = 250;

std::int64_t steady_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

/// Ours and closed to everybody else: rule S1 of the security rules, checked on the open descriptor.
Result<> check_owner(const Descriptor& file, const std::string& name) {
    struct stat facts{};
    if (::fstat(file.get(), &facts) != 0) return system_error(errno, fmt::format("cannot look at {}", name));
    if (facts.st_uid != ::geteuid()) {
        return Error(Errc::denied,
                     fmt::format("{} belongs to user {}, but this program runs as user {}: change the owner", name,
                                 facts.st_uid, ::geteuid()));
    }
    if ((facts.st_mode & 077U) != 0) {
        return Error(Errc::denied, fmt::format("{} is open to other users (mode {:04o}): run chmod go-rwx {}", name,
                                               facts.st_mode & 07777U, name));
    }
    return {};
}

Result<Descriptor> open_directory(const Descriptor& above, const std::string& name) {
    TRY(Descriptor fd, open_beneath(above, name, O_RDONLY | O_DIRECTORY));
    TRY_VOID(check_owner(fd, name));
    return fd;
}

Result<> make_directory(const Descriptor& above, const std::string& name) {
    if (::mkdirat(above.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_error(errno, fmt::format("cannot make the directory {}", name));
    }
    return {};
}

bool exists(const Descriptor& directory, const char* name) {
    struct stat facts{};
    return ::fstatat(directory.get(), name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace

Result<std::unique_ptr<Directory>> Directory::open(const std::string& path) {
    auto directory = std::make_unique<Directory>();
    directory->path_ = path;
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return Error(Errc::not_found, fmt::format("there is no data directory {}", path));
    if (fd < 0) return system_error(errno, fmt::format("cannot open the data directory {}", path));
    directory->root_ = Descriptor(fd);
    TRY_VOID(check_owner(directory->root_, path));
    if (!exists(directory->root_, kDatabaseName)) {
        return Error(Errc::not_found, fmt::format("there is no store in {}: make one with posthouse init", path));
    }
    TRY(const Descriptor database, open_beneath(directory->root_, kDatabaseName, O_RDONLY));
    TRY_VOID(check_owner(database, path + "/" + kDatabaseName));
    TRY_VOID(directory->open_parts());
    TRY_VOID(directory->load_key());
    return directory;
}

Result<std::unique_ptr<Directory>> Directory::create(const std::string& path) {
    auto directory = std::make_unique<Directory>();
    directory->path_ = path;
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_error(errno, fmt::format("cannot make the data directory {}", path));
    }
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot open the data directory {}", path));
    directory->root_ = Descriptor(fd);
    TRY_VOID(check_owner(directory->root_, path));
    if (exists(directory->root_, kDatabaseName)) {
        return Error(Errc::already_exists, fmt::format("there is a store in {} already", path));
    }
    TRY_VOID(make_directory(directory->root_, "segments"));
    TRY_VOID(make_directory(directory->root_, "tmp"));
    TRY_VOID(directory->open_parts());
    // A key without a database is what a creation that was cut short left behind: it is as good as a new one.
    if (!exists(directory->root_, kKeyName)) TRY_VOID(directory->make_key());
    TRY_VOID(directory->load_key());
    TRY_VOID(sync_directory(directory->root_));
    return directory;
}

Result<> Directory::open_parts() {
    TRY(segments_, open_directory(root_, "segments"));
    TRY(tmp_, open_directory(root_, "tmp"));
    return {};
}

Result<> Directory::load_key() {
    TRY(const Descriptor file, open_beneath(root_, kKeyName, O_RDONLY));
    TRY_VOID(check_owner(file, path_ + "/" + kKeyName));
    key_.resize(kKeyOctets + 1);
    TRY(const std::size_t got, read_at(file, 0, key_));
    key_.resize(got);
    if (got != kKeyOctets) return Error(Errc::corrupt, fmt::format("{}/{} is not a sealing key", path_, kKeyName));
    return {};
}

Result<> Directory::make_key() {
    unsigned char key[kKeyOctets];
    system_random().fill(key);
    TRY(const Descriptor file, open_beneath(root_, kKeyName, O_WRONLY | O_CREAT | O_EXCL));
    TRY_VOID(write_at(file, 0, std::string_view(reinterpret_cast<const char*>(key), sizeof key)));
    return sync_data(file);
}

Result<> Directory::share() {
    TRY(lock_, open_beneath(root_, "lock", O_RDWR | O_CREAT));
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) {
        TRY_VOID(empty_tmp());
        guard_wal(root_, "mail.db-wal");
    }
    while (::flock(lock_.get(), LOCK_SH) != 0) {
        if (errno != EINTR) return system_error(errno, "cannot lock the data directory");
    }
    return {};
}

Result<> Directory::empty_tmp() {
    const int fd = ::openat(tmp_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, "cannot read DATA/tmp");
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd), ::closedir);
    while (const dirent* item = ::readdir(listing.get())) {
        const std::string_view name = item->d_name;
        if (name == "." || name == "..") continue;
        // Directories are not ours: unlinkat leaves them alone.
        static_cast<void>(::unlinkat(tmp_.get(), item->d_name, 0));
    }
    return {};
}

Result<std::uint64_t> Directory::free_octets() {
    const std::lock_guard lock(space_mutex_);
    const std::int64_t now = steady_ms();
    if (asked_ms_ >= 0 && now - asked_ms_ < kSpaceAgeMs) return free_octets_;
    struct statvfs facts{};
    if (::fstatvfs(root_.get(), &facts) != 0) return system_error(errno, "cannot ask for free disk space");
    free_octets_ = static_cast<std::uint64_t>(facts.f_bavail) * facts.f_frsize;
    asked_ms_ = now;
    return free_octets_;
}

void Directory::note_written(std::uint64_t octets) {
    const std::lock_guard lock(space_mutex_);
    free_octets_ -= octets < free_octets_ ? octets : free_octets_;
}

void Directory::forget_free_octets() {
    const std::lock_guard lock(space_mutex_);
    asked_ms_ = -1;
}

}  // namespace posthouse::storage
