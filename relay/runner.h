#pragma once
/// relay/runner: what is due, and who carries it. Keeps due recipients in memory up to a bound and leaves the rest on
/// disk; groups them into jobs by message and way; gives lanes workers, round and round, up to the bound on
/// connections.
///
/// Wakes on: commits that touched the queue, the next due time, jobs that ended, wake().
/// Threads: the loop's; store notices come from the commit thread and are posted.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "relay/lane.h"

namespace posthouse::relay {

class Runner {
 public:
    explicit Runner(Core& core);

    void start();
    void stop();
    net::Task<void> join();
    void wake();
    net::Task<void> drained();

 private:
    /// Recipients of one message at one domain, whose ways are not chosen yet.
    struct Unrouted {
        storage::QueueItem item;
        std::vector<storage::QueueRecipient> recipients;
    };
    /// A look at the queue on disk.
    struct Picture {
        std::vector<storage::QueueRecipient> due;
        std::map<storage::QueueId, storage::QueueItem> items;
        storage::RoutePicture routes;
        std::optional<Time> next_due;
    };

    net::Task<void> run();
    net::Task<void> recover();
    net::Task<void> refill();
    net::Task<void> wait_for_work();
    net::Task<void> cut_when_late();
    net::Task<Result<Picture>> look();
    void enqueue(Picture picture);
    void route(Unrouted mail, DomainPlanPtr plan);
    void give(Target target, Unrouted mail, DomainPlanPtr plan);
    void refuse(const storage::Choice& choice, Unrouted mail);
    void dispatch(Target target, Job job);
    net::Task<void> plan(std::string domain);
    net::Task<void> settle(Job job, Verdict verdict);
    net::Task<void> hold(Job job, std::string why);
    void pump();
    void released(const Job& job);

    Core& core_;
    net::TaskGroup tasks_;
    net::Event wake_;
    net::Event quiet_;  ///< nothing due, nothing under way
    std::map<std::string, std::shared_ptr<Lane>> lanes_;
    std::string last_lane_;  ///< the round goes on behind it
    std::set<storage::RecipientId> held_;
    PlanCache plans_;
    std::map<std::string, std::vector<Unrouted>> unplanned_;  // by domain, while the DNS is asked
    storage::RoutePicture routes_;                            // as of the last look, with what has been chosen since
    std::uint64_t jobs_made_ = 0;
    std::optional<Time> next_due_;
    bool more_on_disk_ = false;
};

}  // namespace posthouse::relay
