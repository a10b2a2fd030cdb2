#include "storage/segments_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace posthouse::storage {
namespace {

Result<> share(const Descriptor& file) {
    while (::flock(file.get(), LOCK_SH) != 0) {
        if (errno != EINTR) return system_error(errno, "cannot lock the segments");
    }
    return {};
}

}  // namespace

Result<Descriptor> hold_segments(const Directory& directory) {
    TRY(Descriptor file, open_beneath(directory.root(), kSegmentsLockName, O_RDWR | O_CREAT));
    TRY_VOID(share(file));
    return file;
}

Descriptor hold_segments_beneath(const std::string& data) {
    if (::access((data + "/segments").c_str(), F_OK) != 0) return Descriptor();
    const std::string path = data + "/" + kSegmentsLockName;
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file && !share(file)) return Descriptor();
    return file;
}

Result<std::optional<Descriptor>> lock_segments(const Directory& directory) {
    TRY(Descriptor file, open_beneath(directory.root(), kSegmentsLockName, O_RDWR | O_CREAT));
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return std::optional<Descriptor>(std::move(file));
    if (errno == EWOULDBLOCK || errno == EINTR) return std::optional<Descriptor>();
    return system_error(errno, "cannot lock the segments");
}

}  // namespace posthouse::storage
