#include "admin/transfer/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace posthouse::transfer {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
constexpr int kFileFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

FileInfo info_of(const struct stat& found) {
    FileInfo info;
    if (S_ISREG(found.st_mode)) info.kind = Kind::file;
    if (S_ISDIR(found.st_mode)) info.kind = Kind::directory;
    if (S_ISLNK(found.st_mode)) info.kind = Kind::link;
    info.octets = static_cast<std::uint64_t>(found.st_size);
    info.modified_s = found.st_mtim.tv_sec;
    return info;
}

Error no_regular_file(Kind kind) {
    if (kind == Kind::link) return Error(Errc::invalid, "it is a symbolic link, which is not followed");
    if (kind == Kind::directory) return Error(Errc::invalid, "it is a directory where a message should be");
    return Error(Errc::invalid, "it is no regular file");
}

}  // namespace

Error file_error(int error_number, std::string_view what) {
    Errc code = Errc::io;
    if (error_number == ENOENT) code = Errc::not_found;
    if (error_number == EACCES || error_number == EPERM) code = Errc::denied;
    if (error_number == EEXIST) code = Errc::already_exists;
    if (error_number == ENOSPC || error_number == EDQUOT) code = Errc::no_space;
    return Error(code, fmt::format("{}: {}", what, std::strerror(error_number)));
}

Result<File> open_directory(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return file_error(errno, fmt::format("cannot open the directory {}", path));
    return File(fd);
}

Result<File> open_directory_beneath(const File& from, std::string_view path) {
    File at(::openat(from.get(), ".", kDirectoryFlags));
    if (!at) return file_error(errno, "it cannot be opened");
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string level(path.substr(0, slash));
        path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
        const int fd = ::openat(at.get(), level.c_str(), kDirectoryFlags);
        if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) return Error(Errc::invalid, "it is no directory");
        if (fd < 0) return file_error(errno, "it cannot be opened");
        at = File(fd);
    }
    return at;
}

Result<FileInfo> look_at(const File& directory, const std::string& name) {
    struct stat found{};
    if (::fstatat(directory.get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
        return file_error(errno, "it cannot be looked at");
    }
    return info_of(found);
}

Result<File> open_regular(const File& directory, const std::string& name, FileInfo& info) {
    // Looked at first: opening a device can have effects of its own. Then again, for it may have been exchanged.
    TRY(info, look_at(directory, name));
    if (info.kind != Kind::file) return no_regular_file(info.kind);
    File file(::openat(directory.get(), name.c_str(), kFileFlags));
    if (!file && errno == ELOOP) return no_regular_file(Kind::link);
    if (!file) return file_error(errno, "it cannot be opened");
    struct stat found{};
    if (::fstat(file.get(), &found) != 0) return file_error(errno, "it cannot be looked at");
    info = info_of(found);
    if (info.kind != Kind::file) return no_regular_file(info.kind);
    return file;
}

Result<> each_name(const File& directory, const std::function<void(std::string_view)>& visit) {
    const int copy = ::openat(directory.get(), ".", kDirectoryFlags);
    if (copy < 0) return file_error(errno, "it cannot be opened");
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(copy), ::closedir);
    if (!listing) {
        ::close(copy);
        return file_error(errno, "it cannot be listed");
    }
    for (;;) {
        errno = 0;
        const dirent* entry = ::readdir(listing.get());
        if (entry == nullptr) return errno == 0 ? Result<>() : file_error(errno, "it cannot be listed");
        const std::string_view name(entry->d_name);
        if (name != "." && name != "..") visit(name);
    }
}

Result<std::size_t> read_some(const File& file, std::span<char> into) {
    std::size_t got = 0;
    while (got < into.size()) {
        const ssize_t n = ::read(file.get(), into.data() + got, into.size() - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(errno, "it cannot be read");
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    return got;
}

Result<std::size_t> read_some_at(const File& file, std::uint64_t offset, std::span<char> into) {
    std::size_t got = 0;
    while (got < into.size()) {
        const ssize_t n = ::pread(file.get(), into.data() + got, into.size() - got, static_cast<off_t>(offset + got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(errno, "it cannot be read");
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    return got;
}

std::string read_small(const File& directory, const std::string& name, std::size_t octets_max) {
    FileInfo info;
    const auto file = open_regular(directory, name, info);
    if (!file) return {};
    std::string out(octets_max, '\0');
    const auto got = read_some(*file, out);
    out.resize(got ? *got : 0);
    return out;
}

Result<File> make_directory(const File& directory, const std::string& name) {
    if (::mkdirat(directory.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
        return file_error(errno, fmt::format("cannot make the directory {}", name));
    }
    File made(::openat(directory.get(), name.c_str(), kDirectoryFlags));
    if (!made) return file_error(errno, fmt::format("cannot open the directory {}", name));
    return made;
}

Result<File> create_file(const File& directory, const std::string& name) {
    remove_file(directory, name);
    File made(::openat(directory.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!made) return file_error(errno, fmt::format("cannot make the file {}", name));
    return made;
}

Result<> write_all(const File& file, std::string_view octets) {
    while (!octets.empty()) {
        const ssize_t n = ::write(file.get(), octets.data(), octets.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(errno, "cannot write");
        octets.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

Result<> move_file(const File& from, const std::string& old_name, const File& to, const std::string& new_name) {
    if (::renameat(from.get(), old_name.c_str(), to.get(), new_name.c_str()) == 0) return {};
    return file_error(errno, fmt::format("cannot put the file {} into its place", new_name));
}

void remove_file(const File& directory, const std::string& name) {
    static_cast<void>(::unlinkat(directory.get(), name.c_str(), 0));
}

Result<> write_small(const File& directory, const std::string& name, std::string_view octets) {
    const std::string temporary = name + ".posthouse";
    TRY(const File file, create_file(directory, temporary));
    TRY_VOID(write_all(file, octets));
    return move_file(directory, temporary, directory, name);
}

}  // namespace posthouse::transfer
