#pragma once
/// server/imap/progress: tells a client that its long command goes on, and how far it is (RFC 9585).
/// While a command waits for the store a task of its own writes: so a command whose row asks for that (command.h) may
/// gather output but not flush it.
/// Threads: the loop's.   Limits: progress_interval (protocols/imap/limits.h).
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/net/loop.h"
#include "protocols/net/task.h"

namespace posthouse::server::imap {

class Session;

/// How many of the items of a command are done; `goal` 0: nobody knows.
struct ProgressCount {
    std::uint64_t done = 0;
    std::uint64_t goal = 0;

    ProgressCount() = default;
    ProgressCount(std::uint64_t items_done, std::uint64_t items) : done(items_done), goal(items) {}
};

/// resp-text of an untagged OK: `[INPROGRESS ("a" 454 1000)] 45% done`. A tag that would end the code is left out.
std::string format_progress(std::string_view tag, const ProgressCount& count);

class ProgressTeller {
 public:
    explicit ProgressTeller(Session& session);
    ProgressTeller(const ProgressTeller&) = delete;
    ProgressTeller& operator=(const ProgressTeller&) = delete;

    void start();
    /// Must be awaited before the object goes.
    net::Task<void> stop();

 private:
    net::Task<void> run();

    Session& session_;
    net::Event stopped_;
    net::TaskGroup group_;
};

}  // namespace posthouse::server::imap
