#pragma once
/// admin/cli/progress: how long work shows itself: rate, share and time left; rewritten in place on a terminal, one
/// line a minute elsewhere; nothing with --json. Goes to standard error, so that output stays what it is.
/// Ctrl-C sets interrupted(): the work ends its step, says how to go on, and leaves.
/// Threads: one.
#include <chrono>
#include <cstdint>
#include <string>

#include "admin/cli/output.h"

namespace posthouse::admin {

class Progress {
 public:
    /// `unit` is what is counted: "messages". `total` 0: not known.
    Progress(const Output& output, std::string unit, std::uint64_t total);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void set_total(std::uint64_t total) { total_ = total; }
    /// `done` of all; `octets` moved so far (0: not shown); `what` is the present folder or file.
    void show(std::uint64_t done, std::uint64_t octets, const std::string& what);
    /// The line as it would be shown now. Pure but for the elapsed time given.
    static std::string line(std::uint64_t done, std::uint64_t total, std::uint64_t octets, double seconds,
                            const std::string& unit, const std::string& what);
    /// Whether Ctrl-C (SIGINT) or SIGTERM came since the first Progress was made.
    static bool interrupted();

 private:
    const bool quiet_;
    const bool terminal_;
    const std::string unit_;
    std::uint64_t total_;
    std::chrono::steady_clock::time_point started_;
    std::chrono::steady_clock::time_point shown_;
    bool dirty_ = false;  ///< a line stands unfinished on the terminal
};

}  // namespace posthouse::admin
