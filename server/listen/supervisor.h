#pragma once
/// server/listen/supervisor: what the process says to whoever started it: systemd's notify protocol (sd_notify(3)), one
/// datagram of VAR=VALUE lines to the socket named by NOTIFY_SOCKET. Silent where nobody listens.
/// Threads: any.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocols/base/result.h"

namespace posthouse::server {

/// "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=...", "STATUS=...", "WATCHDOG=1".
void notify_supervisor(std::string_view state);
/// RELOADING=1 with the time it wants beside it (sd_notify(3)).
void notify_reloading();
/// How often WATCHDOG=1 is due (half of WATCHDOG_USEC), where this process is watched.
std::optional<std::chrono::milliseconds> watchdog_period();

/// One server for one data directory: an exclusive lock on DATA/run/serve.lock, held until the process ends.
class ServeLock {
 public:
    /// Errc::conflict where another process holds it. Makes DATA/run (0700).
    static Result<ServeLock> take(const std::string& data);
    ServeLock(ServeLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ServeLock& operator=(ServeLock&&) = delete;
    ~ServeLock();

 private:
    explicit ServeLock(int fd) : fd_(fd) {}
    int fd_;
};

/// Replaces `path` whole, mode 0600.
Result<> write_run_file(const std::string& path, std::string_view text);

}  // namespace posthouse::server
