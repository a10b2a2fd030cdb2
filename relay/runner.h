#pragma once
/// relay/runner: what is due, and who carries it. Takes what comes due from the feed, asks for the site of each domain,
/// puts each recipient into its lane, and gives lanes workers, round and round, up to the bound on connections. While
/// something waits in a lane only its entry is in memory (relay/fairness.h); rows and message are read when it goes.
///
/// Wakes on: commits that touched the queue, the next due time, the turn of a lane, work that ended, wake().
/// Threads: the loop's; store notices come from the commit thread and are posted.
/// Limits: recipients_in_memory_max entries, connections_max workers, kPlanningMax domains being looked up, with
/// kUnroutedMax recipients of theirs; kSettlersMax refusals at a time: a letter does not queue behind thousands.
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "relay/feed.h"
#include "relay/lane.h"

namespace posthouse::relay {

class Runner final : public LaneHost {
 public:
    explicit Runner(Core& core);

    void start();
    void stop();
    net::Task<void> join();
    void wake();
    /// On the commit thread: a commit brought something to send.
    void committed() { feed_.committed(); }
    /// So too after one that changed what may be sent, and where.
    void overtaken() { feed_.overtaken(); }
    net::Task<void> drained();

    void released(const std::vector<storage::RecipientId>& ids) override;
    void reroute(const std::vector<storage::RecipientId>& ids) override;
    void changed(const std::shared_ptr<Lane>& lane) override;
    bool is_starved() const override { return starved_; }
    bool wants_place(const Lane& lane, Time since) const override;
    net::Task<DomainPlanPtr> plan_of(std::uint32_t domain) override;
    void spawn(std::string_view name, net::Task<void> task) override { tasks_.spawn(name, std::move(task)); }

 private:
    /// Recipients of one message at one domain, whose ways are not chosen yet.
    struct Unrouted {
        storage::QueueItem item;
        std::vector<storage::QueueRecipient> recipients;
    };
    /// What goes to nobody, until a settler comes round to it.
    struct Settling {
        Parcel parcel;
        std::string way;  ///< that it was given to; "": none
        std::shared_ptr<const Unsent> unsent;
    };
    /// Entries of which the store does not know yet why they wait.
    using Marks = std::vector<std::pair<std::shared_ptr<Lane>, std::vector<storage::RecipientId>>>;

    net::Task<void> run();
    net::Task<void> recover();
    net::Task<void> refill();
    bool is_full() const;
    net::Task<void> wait_for_work();
    net::Task<void> cut_when_late();
    net::Task<void> arrive(Feed::Slice slice);
    void route(const Unrouted& mail, const DomainPlan* plan);
    net::Task<void> plan(std::string domain);
    void look_again();
    net::Task<void> route_all(std::vector<Unrouted> all, DomainPlanPtr plan);
    std::shared_ptr<Lane>& enter(const Target& target, const storage::QueueItem& item,
                                 const storage::QueueRecipient& recipient, const DomainPlan* plan);
    void tell_touched();
    void refuse(const storage::Choice& choice, const storage::QueueItem& item, storage::RecipientId id);
    void settle(Parcel parcel, const Target& target, std::shared_ptr<const Unsent> unsent);
    net::Task<void> settle_some();
    net::Task<void> settle_one(const Parcel& parcel, const Unsent& unsent);
    net::Task<void> hold(storage::RecipientId id, std::string why);
    void kick(std::vector<storage::QueueId> queues);
    bool takes_kick(storage::QueueId queue, const std::string& domain);
    bool has_kick(storage::QueueId queue, const std::string& domain) const;
    DomainPlanPtr plan_for(const std::string& domain, storage::QueueId queue);
    net::Task<void> hold_under(storage::Incident incident, std::vector<storage::RecipientId> ids);
    net::Task<void> watch();
    net::Task<void> check_addresses();
    net::Task<void> check_logins();
    std::shared_ptr<Lane>& lane_for(const Target& target, const DomainPlan* plan);
    void stand_in_line(const std::shared_ptr<Lane>& lane);
    std::shared_ptr<Lane> next_in_line(Time now);
    void pump();
    void release_idle();
    void ring_alarms();
    bool is_quiet() const;
    net::Task<void> upkeep();
    net::Task<void> follow_routes();
    net::Task<void> overdue(std::shared_ptr<Lane> lane, Parcel parcel);
    net::Task<void> write_down(std::vector<std::shared_ptr<Lane>> lanes, Marks marks);
    net::Task<void> mark(const Lane& lane, std::span<const storage::RecipientId> ids);
    net::Task<bool> save_lanes(std::vector<std::shared_ptr<Lane>> lanes);
    void count_lanes();
    void forget_finished();

    Core& core_;
    net::TaskGroup tasks_;
    net::Event wake_;
    net::Event quiet_;  ///< nothing due that may go now, nothing under way
    Feed feed_;
    DomainNames domains_;
    PlanCache plans_;
    std::map<std::string, std::vector<Unrouted>> unplanned_;  // by domain, while the DNS is asked
    std::size_t unrouted_ = 0;                                // recipients in it, whose rows are in memory whole
    bool passed_over_ = false;                                // there were too many: they are read again
    storage::RoutePicture routes_;                            // as of the last look, with what has been chosen since
    std::map<std::string, std::shared_ptr<Lane>> lanes_;
    std::unordered_map<std::string, storage::LaneRecord> learned_;  // of lanes that are not there, by key
    std::vector<std::shared_ptr<Lane>> touched_;                    // got entries that no worker was offered yet
    std::deque<std::weak_ptr<Lane>> ready_;                         // want workers, in turn
    std::deque<std::weak_ptr<Lane>> ready_letters_;                 // likewise those with letters, which go first
    std::multimap<Time, std::weak_ptr<Lane>> alarms_;
    std::unordered_set<storage::RecipientId> held_;
    /// Messages that somebody wants tried now, from the hand's stroke until they are in their lanes.
    struct Kick {
        Time until{};
        std::set<std::string> done;  ///< domains that have had it
    };
    std::map<storage::QueueId, Kick> kicks_;
    /// By which what waits was routed; memory and counts are no part of it.
    struct Rules {
        std::vector<storage::Way> ways;
        std::vector<storage::Route> routes;
        std::vector<storage::SourceAddress> addresses;
        std::vector<storage::LaneLimit> lane_limits;
        bool operator==(const Rules&) const = default;
    };
    std::optional<Rules> rules_;
    std::deque<Settling> settling_;
    std::size_t settlers_ = 0;
    std::size_t side_jobs_ = 0;  // refusals and notices under way
    bool starved_ = false;
    bool writing_down_ = false;
    Time upkeep_at_{};
    Time watch_at_{};
    Time standstill_at_{};
    Time checks_at_{};
    bool checking_ = false;
    Time logins_at_{};
    bool checking_logins_ = false;
    Time forget_at_{};
};

}  // namespace posthouse::relay
