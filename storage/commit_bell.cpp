#include "storage/commit_bell.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "storage/file.h"

namespace posthouse::storage {
namespace {

constexpr const char* kFolder = "run";
constexpr const char* kName = "run/commits";

/// By way of the descriptor: the path of a data directory may be longer than a socket's may be.
sockaddr_un address_in(const Descriptor& data) {
    sockaddr_un out{};
    out.sun_family = AF_UNIX;
    const std::string path = fmt::format("/proc/self/fd/{}/{}", data.get(), kName);
    std::copy_n(path.begin(), std::min(path.size(), sizeof out.sun_path - 1), out.sun_path);
    return out;
}

}  // namespace

void ring_commit_bell(const Descriptor& data) {
    const Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) return;
    const sockaddr_un to = address_in(data);
    const ssize_t ignored = ::sendto(socket.get(), "c", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                                     reinterpret_cast<const sockaddr*>(&to), sizeof to);
    static_cast<void>(ignored);
}

Result<std::unique_ptr<CommitBell>> CommitBell::listen(const Descriptor& data, std::function<void()> on_ring) {
    if (::mkdirat(data.get(), kFolder, 0700) != 0 && errno != EEXIST) {
        return system_error(errno, "cannot make the folder run in the data directory");
    }
    static_cast<void>(::unlinkat(data.get(), kName, 0));  // of a server that was killed
    Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) return system_error(errno, "cannot make a socket");
    const sockaddr_un at = address_in(data);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
        return system_error(errno, "cannot listen for commits of other processes");
    }
    return std::unique_ptr<CommitBell>(new CommitBell(data, std::move(socket), std::move(on_ring)));
}

CommitBell::CommitBell(const Descriptor& data, Descriptor socket, std::function<void()> on_ring)
    : data_(data), socket_(std::move(socket)), on_ring_(std::move(on_ring)), thread_([this] { run(); }) {}

CommitBell::~CommitBell() {
    stopping_ = true;
    ::shutdown(socket_.get(), SHUT_RDWR);  // ends the wait
    thread_.join();
    static_cast<void>(::unlinkat(data_.get(), kName, 0));
}

void CommitBell::run() {
    std::array<char, 16> drop{};
    while (!stopping_) {
        const ssize_t got = ::recv(socket_.get(), drop.data(), drop.size(), 0);
        if (got < 0 && errno != EINTR) return;
        if (got <= 0) continue;
        while (::recv(socket_.get(), drop.data(), drop.size(), MSG_DONTWAIT) > 0) continue;
        on_ring_();
    }
}

}  // namespace posthouse::storage
