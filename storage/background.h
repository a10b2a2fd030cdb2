#pragma once
/// storage/background: the quiet work of the server (indexing, purging, compaction, scheduled backups): one thread a
/// job, each a loop of small steps.
///
///   step() -> how long to rest -> rest, cut short by poke() or stop() -> step() ...
/// Invariants  1. A step is bounded: what is long is cut into steps, or asks stopping() as it goes.
///             2. A step that fails is told once in the log, counted, and tried again after kRetry.
/// A job reads and writes the store like everybody else; nothing here delays a commit.
/// Threads: add, poke, stop, report: any; step() runs on the job's own thread.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::storage {

class Job {
 public:
    virtual ~Job() = default;
    virtual std::string_view name() const = 0;
    /// One step; gives back how long to rest before the next (0: go on at once).
    virtual Result<std::chrono::milliseconds> step() = 0;

 protected:
    /// The server is ending: give back what is held and return.
    bool stopping() const { return stopping_; }

 private:
    friend class Background;
    std::atomic<bool> stopping_ = false;
};

struct JobReport {
    std::string name;
    std::uint64_t steps = 0;
    std::uint64_t failures = 0;
    std::string last_error;  ///< "" after a step that succeeded
};

class Background {
 public:
    static constexpr std::chrono::seconds kRetry{30};

    Background();
    ~Background();  ///< stop()
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;

    /// Starts its thread at once.
    void add(std::unique_ptr<Job> job);
    /// There may be something to do: jobs of this name end their rest. Quick; callable from a commit's listener.
    void poke(std::string_view name);
    /// Ends all threads after their present step. Idempotent.
    void stop();
    std::vector<JobReport> report() const;

 private:
    struct Runner;
    static void run(Runner& runner);
    mutable std::mutex mutex_;  ///< of the list; never held while a thread is waited for
    std::vector<std::unique_ptr<Runner>> runners_;
};

}  // namespace posthouse::storage
