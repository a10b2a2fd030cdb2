#pragma once
/// storage/checkpointer (internal): folds the WAL into mail.db on a thread and connection of its own, so that no waiter
/// of the commit thread pays for it (measured: a quarter of the rate and the worst of the waits).
///
/// The checkpoint is passive: it copies what is committed and stops for nobody. What was committed meanwhile is left
/// for a last short checkpoint by the commit thread, after which the WAL begins anew.
/// Threads: ask, take: the commit thread. The work happens on a thread that lives as long as this object.
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "protocols/base/result.h"

namespace posthouse::storage {

class Checkpointer {
 public:
    explicit Checkpointer(std::string database_path);
    /// Waits for a checkpoint that runs.
    ~Checkpointer();
    Checkpointer(const Checkpointer&) = delete;
    Checkpointer& operator=(const Checkpointer&) = delete;

    /// Begins one; false where one runs or waits to be taken.
    bool ask();
    /// What became of the one that was asked for; nothing while it runs or where none was.
    std::optional<Result<>> take();

 private:
    enum class State { resting, asked, done };
    void run();

    const std::string database_path_;
    std::mutex mutex_;
    std::condition_variable wake_;
    State state_ = State::resting;
    bool stopping_ = false;
    Result<> outcome_;
    std::thread thread_;  ///< last: it uses all of the above
};

}  // namespace posthouse::storage
