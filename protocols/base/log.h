#pragma once
/// protocols/base/log: one escaped line a record, to standard error or a file.
/// C0, C1 and bidirectional controls never reach a terminal; a record is cut at kLogRecordOctets.
/// Threads: any. Secrets are the caller's care: nothing that was read after AUTH is ever passed in.
#include <fmt/core.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::log {

enum class Level { debug, info, warn, error };

inline constexpr std::size_t kLogRecordOctets = 4096;

/// Starts logging to `path`, or to standard error where it is empty. Called again, it reopens (log rotation).
Result<> open(const std::string& path, Level level);
void set_level(Level level);
/// "debug", "info", "warn", "error"; anything else is Errc::invalid.
Result<Level> parse_level(std::string_view name);
bool enabled(Level level);
/// `module` names the room that speaks, e.g. "smtp".
void write(Level level, std::string_view module, std::string_view message);
/// Controls as \n, \t, \xNN and \u{NNNN}: what a record looks like. Exposed for tests and for `trace`.
std::string escape(std::string_view text);

template <class... Args>
void debug(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::debug)) write(Level::debug, module, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::info)) write(Level::info, module, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
    write(Level::warn, module, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(std::string_view module, fmt::format_string<Args...> format, Args&&... args) {
    write(Level::error, module, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace posthouse::log
