#include "storage/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "storage/fail_point.h"

namespace posthouse::storage {

Error system_error(int error_number, std::string_view what) {
    Errc code = Errc::io;
    switch (error_number) {
        case ENOSPC:
        case EDQUOT: code = Errc::no_space; break;
        case ENOENT: code = Errc::not_found; break;
        case EEXIST: code = Errc::already_exists; break;
        case EACCES:
        case EPERM:
        case EROFS:
        case ELOOP: code = Errc::denied; break;
        default: break;
    }
    return Error(code, fmt::format("{}: {}", what, std::strerror(error_number)));
}

Result<Descriptor> open_beneath(const Descriptor& directory, const std::string& name, int flags, unsigned mode) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("open"); injected != 0) {
        return system_error(injected, fmt::format("cannot open {}", name));
    }
    const int fd = ::openat(directory.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) return system_error(errno, fmt::format("cannot open {}", name));
    return Descriptor(fd);
}

Result<> write_at(const Descriptor& file, std::uint64_t offset, std::string_view octets) {
    while (!octets.empty()) {
        iovec piece{};
        piece.iov_base = const_cast<char*>(octets.data());
        piece.iov_len = std::min(octets.size(), kWriteStepOctets);
        const std::size_t step = piece.iov_len;
        TRY_VOID(write_pieces(file, offset, std::span<iovec>(&piece, 1)));
        offset += step;
        octets.remove_prefix(step);
    }
    return {};
}

Result<> write_pieces(const Descriptor& file, std::uint64_t offset, std::span<iovec> pieces) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("write"); injected != 0) {
        return system_error(injected, "cannot write message octets");
    }
    while (!pieces.empty()) {
        const ssize_t wrote =
            ::pwritev(file.get(), pieces.data(), static_cast<int>(pieces.size()), static_cast<off_t>(offset));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return system_error(errno, "cannot write message octets");
        // A file system that takes nothing without an error would loop for ever.
        if (wrote == 0) return Error(Errc::io, "cannot write message octets: nothing was taken");
        offset += static_cast<std::uint64_t>(wrote);
        auto left = static_cast<std::size_t>(wrote);
        while (!pieces.empty() && left >= pieces.front().iov_len) {
            left -= pieces.front().iov_len;
            pieces = pieces.subspan(1);
        }
        if (left > 0) {
            pieces.front().iov_base = static_cast<char*>(pieces.front().iov_base) + left;
            pieces.front().iov_len -= left;
        }
    }
    return {};
}

Result<std::size_t> read_at(const Descriptor& file, std::uint64_t offset, std::span<char> into) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("read"); injected != 0) {
        return system_error(injected, "cannot read message octets");
    }
    std::size_t done = 0;
    while (done < into.size()) {
        const ssize_t got =
            ::pread(file.get(), into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error(errno, "cannot read message octets");
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

Result<> sync_data(const Descriptor& file) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("sync"); injected != 0) {
        return system_error(injected, "cannot sync message octets");
    }
    // Never tried again: after a failure the kernel may have dropped the very pages it could not write.
    if (::fdatasync(file.get()) != 0) return system_error(errno, "cannot sync message octets");
    return {};
}

Result<> cut_to(const Descriptor& file, std::uint64_t octets) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("cut"); injected != 0) {
        return system_error(injected, "cannot cut a file");
    }
    if (::ftruncate(file.get(), static_cast<off_t>(octets)) != 0) return system_error(errno, "cannot cut a file");
    return {};
}

Result<> rename_new(const Descriptor& from, const std::string& name, const Descriptor& to,
                    const std::string& new_name) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("rename"); injected != 0) {
        return system_error(injected, fmt::format("cannot move {} into its place", new_name));
    }
    if (::renameat2(from.get(), name.c_str(), to.get(), new_name.c_str(), RENAME_NOREPLACE) != 0) {
        return system_error(errno, fmt::format("cannot move {} into its place", new_name));
    }
    return {};
}

Result<> sync_directory(const Descriptor& directory) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("sync-directory"); injected != 0) {
        return system_error(injected, "cannot sync a directory");
    }
    if (::fsync(directory.get()) != 0) return system_error(errno, "cannot sync a directory");
    return {};
}

Result<std::uint64_t> size_of(const Descriptor& file) {
    if (const int injected = POSTHOUSE_FAIL_ERRNO("size"); injected != 0) {
        return system_error(injected, "cannot ask for a file's size");
    }
    struct stat facts{};
    if (::fstat(file.get(), &facts) != 0) return system_error(errno, "cannot ask for a file's size");
    return static_cast<std::uint64_t>(facts.st_size);
}

}  // namespace posthouse::storage
