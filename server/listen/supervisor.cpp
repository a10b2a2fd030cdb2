#include "server/listen/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "protocols/base/ascii.h"

namespace posthouse::server {

void notify_supervisor(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path == nullptr || *path == '\0' || std::strlen(path) >= sizeof address.sun_path) return;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path, std::strlen(path));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // the abstract namespace
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    // A supervisor that does not read must not stop the server: what cannot be sent at once is dropped.
    static_cast<void>(::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                               reinterpret_cast<const sockaddr*>(&address), length));
    ::close(fd);
}

void notify_reloading() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    notify_supervisor(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000 + now.tv_nsec / 1000));
}

std::optional<std::chrono::milliseconds> watchdog_period() {
    const char* span = std::getenv("WATCHDOG_USEC");
    const char* pid = std::getenv("WATCHDOG_PID");
    if (span == nullptr) return std::nullopt;
    if (pid != nullptr && ascii::parse_number(pid) != static_cast<std::uint64_t>(::getpid())) return std::nullopt;
    const auto us = ascii::parse_number(span);
    if (!us || *us < 2000) return std::nullopt;
    return std::chrono::milliseconds(*us / 2000);
}

Result<ServeLock> ServeLock::take(const std::string& data) {
    const std::string folder = data + "/run";
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
        return Error(Errc::io, fmt::format("{} cannot be made: {}", folder, std::strerror(errno)));
    }
    const std::string path = folder + "/serve.lock";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return Error(Errc::io, fmt::format("{} cannot be opened: {}", path, std::strerror(errno)));
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return ServeLock(fd);
    ::close(fd);
    return Error(Errc::conflict, fmt::format("another posthouse serves {} already; stop it first", data));
}

ServeLock::~ServeLock() {
    if (fd_ >= 0) ::close(fd_);
}

Result<> write_run_file(const std::string& path, std::string_view text) {
    const std::string next = path + ".new";
    const int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return Error(Errc::io, fmt::format("{} cannot be made: {}", next, std::strerror(errno)));
    const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::close(fd);
    if (whole && std::rename(next.c_str(), path.c_str()) == 0) return {};
    return Error(Errc::io, fmt::format("{} cannot be written: {}", path, std::strerror(errno)));
}

}  // namespace posthouse::server
