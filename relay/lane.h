#pragma once
/// relay/lane: one destination: its jobs in order, and the workers that carry them, each with a connection of its own.
///
/// A worker's life:   take a job -> record the start -> read and sign -> connect, or use the open connection
///                    -> send, at most RCPTMAX recipients a transaction -> record the outcome -> next job
/// Where no connection can be had, the jobs that already waited share the verdict: one dead host is dialled once, not
/// once a message. A job that came later dials anew.
/// Threads: the loop's.   Limits: connections_per_lane_max workers, messages_per_connection_max, idle.
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "relay/connect.h"
#include "relay/core.h"
#include "relay/job.h"
#include "relay/outcome.h"

namespace posthouse::relay {

class Lane {
 public:
    /// `released` is told when a job is over, whatever became of it.
    using Released = std::function<void(const Job&)>;

    Lane(Core& core, Target target, Released released);

    void add(Job job);
    bool has_jobs() const { return !jobs_.empty(); }
    std::size_t workers() const { return workers_; }
    /// More workers would help: there are jobs that no idle or coming worker will take.
    bool wants_worker() const;
    /// Idle workers close their connections: others need the room.
    void release_idle();

    /// One worker from its first job to its last. Spawned; `self` keeps the lane.
    static net::Task<void> work(std::shared_ptr<Lane> self);
    /// Counts a worker that is about to be spawned.
    void worker_comes() {
        ++workers_;
        ++starting_;
    }

 private:
    struct Worker;

    net::Task<std::optional<Job>> take(Worker& worker);
    net::Task<void> carry(Worker& worker, Job job);
    net::Task<void> take_lessons(const Job& job, std::vector<Settled>& settled);
    Destination destination(const Job& job) const;
    net::Task<std::optional<Verdict>> ensure_connection(Worker& worker, const Job& job, Dialogue& dialogue);
    net::Task<std::vector<Settled>> send(Worker& worker, const Job& job, OutgoingMessagePtr message,
                                         Dialogue& dialogue);
    net::Task<std::vector<Settled>> send_some(Worker& worker, const Job& job, OutgoingMessagePtr message,
                                              std::vector<std::size_t> which, Dialogue& dialogue);
    net::Task<void> close(Worker& worker);

    struct Down {
        Verdict verdict;
        std::string remote;
        std::uint64_t jobs_until = 0;  ///< jobs up to this number, for the same hosts, share the verdict
        std::string hosts;
    };

    Core& core_;
    Target target_;
    Released released_;
    std::deque<Job> jobs_;
    net::Event more_;
    std::size_t workers_ = 0;
    std::size_t starting_ = 0;
    std::size_t idle_ = 0;
    std::uint64_t release_round_ = 0;
    std::optional<Down> down_;
};

}  // namespace posthouse::relay
