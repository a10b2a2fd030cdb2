#pragma once
/// relay/lane: one source and one site: carries out what relay/schedule decides, with workers that hold a connection
/// each.
///
/// A worker's life:   take a parcel, when the lane's window and rate allow it -> record the start, and meanwhile read
///                    and sign -> connect, or use the open connection where it serves the domain -> send, at most
///                    RCPTMAX recipients a transaction, the octets behind the recorded start -> let the lane learn
///                    -> record the outcome -> next parcel. Where all were taken, that is begun while it is recorded;
///                    one outcome a worker at most is on its way to the disk.
/// What the lane itself is the reason for (too fast, nobody reached) goes back to the head of its sender's queue: no
/// attempt is used up. Entries whose time comes while the lane stands still are looked at all the same (survey): the
/// sender hears of the delay, and of the end.
/// Threads: the loop's.   Limits: the lane's window, messages_per_connection, idle.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "relay/connect.h"
#include "relay/core.h"
#include "relay/job.h"
#include "relay/schedule.h"

namespace posthouse::relay {

class Lane;

/// What a lane needs from the runner.
class Lane;

class LaneHost {
 public:
    virtual ~LaneHost() = default;
    /// These recipients are out of the runner's hands, whatever became of them.
    virtual void released(const std::vector<storage::RecipientId>& ids) = 0;
    /// The lane may want workers now, or at another time than before.
    virtual void changed(const std::shared_ptr<Lane>& lane) = 0;
    /// These are out of its hands too, but due: their route names a way that may do better now.
    virtual void reroute(const std::vector<storage::RecipientId>& ids) = 0;
    /// Lanes wait for connections that idle ones hold.
    virtual bool is_starved() const = 0;
    /// Whether a worker of this lane, which began at `since`, is to give its place to another lane now.
    virtual bool wants_place(const Lane& lane, Time since) const = 0;
    virtual net::Task<DomainPlanPtr> plan_of(std::uint32_t domain) = 0;
    /// Runs beside all else, and is waited for at the end.
    virtual void spawn(std::string_view name, net::Task<void> task) = 0;
};

struct LaneIdentity {
    std::string key;   ///< of the target and the site
    std::string name;  ///< for people and the shaping table: a provider, the first MX, the relay host
    Target target;
    LaneIdentity() = default;
};

class Lane : public std::enable_shared_from_this<Lane> {
 public:
    Lane(Core& core, LaneIdentity identity, LaneHost& host);

    void add(storage::QueueClass priority, const std::string& flow, const LaneEntry& entry, const Target& target);
    /// More workers would help, and may begin now.
    bool wants_worker(Time now) const;
    /// When a worker may begin, where there is something to do and that lies ahead.
    std::optional<Time> alarm(Time now) const;
    /// Nothing waits, nobody works, and nothing must be kept in mind.
    bool is_over(Time now) const;
    std::size_t workers() const { return workers_; }
    std::size_t busy() const { return schedule_.busy(); }
    std::size_t waiting() const { return schedule_.queue().size(); }
    /// Interactive mail waits here.
    bool has_letters() const { return schedule_.queue().size(storage::QueueClass::interactive) > 0; }
    /// Whether one of these messages waits here. `queues` in order, also below.
    bool holds(std::span<const storage::QueueId> queues);
    /// Those of these messages that wait here are routed anew.
    void give_up(std::span<const storage::QueueId> queues);
    void give_up_all();
    /// Tries at once, whatever it waits for.
    void kick();
    /// Takes the bounds of its site anew; nothing else changes where they are what they were.
    void reshape();
    /// Idle workers close their connections: others need the room.
    void release_idle();

    /// One worker from its first parcel to its last. Spawned; `self` keeps the lane.
    static net::Task<void> work(std::shared_ptr<Lane> self);
    /// Counts a worker that is about to be spawned.
    void worker_comes() {
        ++workers_;
        ++starting_;
    }

    /// A look at those that wait: what is due for a word to its sender, and who is not marked in the store yet.
    struct Survey {
        std::vector<Parcel> overdue;
        std::vector<storage::RecipientId> unmarked;
    };
    Survey survey(Time now, std::size_t marks_max);
    /// Parcels of a survey: delay notices, the end of their time; the rest comes back.
    static net::Task<void> settle_overdue(std::shared_ptr<Lane> self, Parcel parcel);

    storage::LaneRecord record(Time now) const;
    /// What the store has of this lane from before.
    void recall(const storage::LaneRecord& record, Time now);
    void set_id(storage::LaneId id) { id_ = id; }
    storage::LaneId id() const { return id_; }
    const LaneIdentity& identity() const { return identity_; }
    LaneSchedule& schedule() { return schedule_; }
    const LaneSchedule& schedule() const { return schedule_; }

    enum class Line : std::uint8_t { none, back, front };
    Line stands_in = Line::none;    ///< the runner's: the line for workers; those with letters stand in the front one
    std::optional<Time> alarm_set;  ///< the runner's: when it is looked at again
    std::string written;            ///< the runner's: what the store knows

 private:
    struct Worker;
    std::size_t recipients_at_once() const;
    Time earliest(Time now) const;
    std::size_t workers_that_count() const;

    net::Task<std::optional<Parcel>> take(Worker& worker);
    net::Task<void> carry(Worker& worker, const Parcel& parcel);
    /// Who stays here of them. None: all were taken, and are let go when that is on disk.
    net::Task<std::optional<std::vector<Staying>>> attempt(Worker& worker, Job& job, const Parcel& parcel,
                                                           BeginningPtr beginning);
    net::Task<std::vector<Staying>> put_off_unread(const Job& job);
    net::Task<void> take_lessons(const Job& job, std::vector<Settled>& settled);
    void let_go(const Target& target, const std::vector<storage::RecipientId>& ids);
    void reroute_others();
    void reroute_those(const std::function<bool(const LaneEntry&)>& wanted);
    const Target& target_of(const Parcel& parcel) const { return targets_[parcel.entries.front().target]; }
    std::uint16_t number_of(const Target& target);
    net::Task<std::optional<std::vector<Staying>>> conclude(Worker& worker, const Job& job, const Parcel& parcel,
                                                            std::vector<Settled> settled);
    static net::Task<void> record_taken(std::shared_ptr<Lane> self, std::shared_ptr<net::Event> done,
                                        storage::QueueItem item, OutgoingMessagePtr message, Target target,
                                        std::vector<storage::RecipientId> ids, std::vector<Settled> settled);
    net::Task<void> wait_recorded(Worker& worker);
    std::vector<Staying> stay_all(const Parcel& parcel);
    void put_back(const Parcel& parcel, const std::vector<Staying>& staying, const storage::QueueItem& item);
    Destination destination(const Job& job) const;
    net::Task<std::optional<Verdict>> ensure_connection(Worker& worker, const Job& job, Dialogue& dialogue,
                                                        std::optional<net::Endpoint> avoid = std::nullopt);
    net::Task<bool> ask_another(Worker& worker, const Job& job, std::vector<Settled>& settled,
                                const std::vector<std::size_t>& which, Dialogue& dialogue, BeginningPtr beginning);
    net::Task<std::vector<Settled>> send(Worker& worker, const Job& job, Dialogue& dialogue, BeginningPtr beginning);
    net::Task<std::vector<Settled>> send_some(Worker& worker, const Job& job, std::vector<std::size_t> which,
                                              Dialogue& dialogue, BeginningPtr beginning);
    net::Task<void> close(Worker& worker);

    Core& core_;
    LaneIdentity identity_;
    LaneHost& host_;
    std::vector<Target> targets_;  // the same way, but what the routes of the mail say differs
    LaneSchedule schedule_;
    net::Event more_;
    storage::LaneId id_{};
    std::size_t workers_ = 0;
    std::size_t starting_ = 0;
    std::size_t idle_ = 0;
    std::vector<const Worker*> at_work_;  // each has a parcel
    std::uint64_t release_round_ = 0;
};

/// When an entry must be looked at though its lane stands still: the delay notice, then the end.
std::uint32_t check_time(const RelayOptions& options, const storage::QueueItem& item, bool delay_told);

}  // namespace posthouse::relay
