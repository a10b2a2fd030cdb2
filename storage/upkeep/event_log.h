#pragma once
/// storage/upkeep/event_log (internal): keeps the log of events, and the figures made of it, from growing for ever.
///
/// A message's events go together, `events.days` after the last of them, and never while it is in the queue; those
/// about no message one by one. Then the day from which the log is whole is written down: figures of earlier days can
/// no longer be made anew. Figures go after `report.days`. With the log goes what hangs off it: notes of programs about
/// messages of which no event is left; recipients of lists and takers of mail that nothing was sent to for long
/// (storage/streams, storage/takers).
/// Threads: the job's.
#include <cstdint>

#include "storage/store.h"

namespace posthouse::storage {

struct LogLimits {
    std::int64_t event_days = 0;   ///< 0: for ever
    std::int64_t report_days = 0;  ///< likewise
    bool operator==(const LogLimits&) const = default;
};

/// Takes the log away step by step; a step is one small transaction.
class LogTrimmer {
 public:
    explicit LogTrimmer(Store& store) : store_(store) {}
    /// One step; gives back how many rows went, and sets `more` where the next step may find some.
    Result<std::uint64_t> step(const LogLimits& limits, Time now, bool& more);

 private:
    Result<std::uint64_t> drop_messages(Time before, bool& more);
    Result<std::uint64_t> drop_loose(Time before, bool& more);
    Result<std::uint64_t> drop_keys(bool& more);
    Result<std::uint64_t> drop_figures(std::int64_t before_day, bool& more);
    Result<std::uint64_t> drop_hangers_on(std::int64_t today, bool& more);
    Store& store_;
    std::int64_t message_ = 0;  ///< looked at up to here
    std::int64_t bucket_ = -1;  ///< likewise, of event_keys
    std::int64_t row_ = 0;      ///< likewise, of the table of the stage
    int stage_ = 0;             ///< which of the seven is next
};

}  // namespace posthouse::storage
