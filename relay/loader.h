#pragma once
/// relay/loader: reads jobs. What is asked for while others are read is read together behind them, in one snapshot and
/// one step to another thread and back; a job that comes alone waits for nobody.
/// Threads: the loop's; the reading itself is the pool's.   Limits: kReadsAtOnce reads, kLoadedAtOnce jobs in each:
/// signing takes its time, and the readers serve others too.
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/task.h"

namespace posthouse::relay {

struct Core;
struct Job;
struct Parcel;
struct Target;

enum class Loading { rows, rows_and_message };

inline constexpr std::size_t kReadsAtOnce = 2;
inline constexpr std::size_t kLoadedAtOnce = 8;

class Loader {
 public:
    /// As load_job (relay/job.h).
    net::Task<Result<Job>> load(Core& core, const Parcel& parcel, const Target& target, Loading what);

 private:
    struct Wish;
    struct Batch;
    using Wishes = std::vector<std::shared_ptr<Wish>>;
    void begin(Core& core);
    void done_with(Core& core, const Wishes& some);

    std::deque<std::shared_ptr<Wish>> waiting_;
    std::size_t under_way_ = 0;
};

}  // namespace posthouse::relay
