// A disk driver that lies: preloaded, it makes fsync and fdatasync of files whose path ends with $NO_SYNC do nothing.
// The harness proves with it that it would see a store that forgets to sync.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool is_spared(int fd) {
    const char* const part = std::getenv("NO_SYNC");
    if (part == nullptr) return false;
    char link[64];
    char path[4096];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = ::readlink(link, path, sizeof path - 1);
    if (length < 0) return false;
    path[length] = '\0';
    const std::size_t tail = std::strlen(part);
    const auto whole = static_cast<std::size_t>(length);
    return whole >= tail && std::strcmp(path + whole - tail, part) == 0;
}

using Sync = int (*)(int);

int really(const char* name, int fd) { return reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, name))(fd); }

}  // namespace

extern "C" int fsync(int fd) { return is_spared(fd) ? 0 : really("fsync", fd); }
extern "C" int fdatasync(int fd) { return is_spared(fd) ? 0 : really("fdatasync", fd); }
