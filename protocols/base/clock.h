#pragma once
/// protocols/base/clock: time as a parameter, so that tests turn the hands. Threads: now() may be called from any.
#include <chrono>
#include <cstdint>
#include <string>

namespace posthouse {

/// Wall-clock time, UTC, milliseconds.
using Time = std::chrono::sys_time<std::chrono::milliseconds>;
using Milliseconds = std::chrono::milliseconds;

class Clock {
 public:
    virtual ~Clock() = default;
    virtual Time now() const = 0;
};

/// The machine's clock.
Clock& system_clock();

inline std::int64_t to_unix_ms(Time t) { return t.time_since_epoch().count(); }
inline Time from_unix_ms(std::int64_t ms) { return Time(Milliseconds(ms)); }
/// "2026-11-23T20:11:05.123Z" (RFC 3339), for logs, JSON and the command line.
std::string format_rfc3339(Time t);

}  // namespace posthouse
