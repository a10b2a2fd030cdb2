#pragma once
/// relay/fairness: what a lane carries next. Classes share by weight (interactive : transactional : bulk as 16 : 4 : 1,
/// and who comes back from idleness goes first); within a class the senders take turns by deficit round robin, where a
/// recipient costs 1 + size / 64 KiB. So a job of 100,000 recipients delays a single letter by the transactions that
/// are under way, not by those that wait.
///
/// An entry is what must be in memory while a recipient waits in its lane, and nothing more: with a million of them
/// it is the only thing that counts.
/// Pure.   Limits: kRunMax recipients of one message are given out at once.
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/queue.h"

namespace posthouse::relay {

inline constexpr std::size_t kRunMax = 100;

struct LaneEntry {
    storage::RecipientId recipient{};
    storage::QueueId queue{};
    std::uint32_t domain = 0;      ///< number of the domain in DomainNames
    std::uint32_t entered_s = 0;   ///< unix seconds; when it came into the lane
    std::uint32_t check_at_s = 0;  ///< unix seconds; when it must be looked at though the lane stands still
    std::uint16_t cost = 1;
    std::uint16_t target : 14 = 0;  ///< number of the target in its lane: what its route said
    bool is_alone : 1 = false;      ///< its copy is like no other: it goes in a transaction of its own
    bool is_marked : 1 = false;     ///< the store knows why it waits
};

static_assert(sizeof(LaneEntry) == 32);

/// Entries of one message, domain and target, and whose they are.
struct Parcel {
    std::vector<LaneEntry> entries;  ///< of one message and one domain
    storage::QueueClass priority = storage::QueueClass::interactive;
    std::string flow;
    Parcel() = default;
};

class FairQueue {
 public:
    /// Behind the others of its sender. `flow`: account, client or address that submitted it.
    void push(storage::QueueClass priority, const std::string& flow, const LaneEntry& entry);
    /// Back to where it came from: it was taken, but could not go. What its sender was charged comes back too.
    void put_back(const Parcel& parcel);
    /// The next message's recipients, at most `count_max` of one domain.
    std::optional<Parcel> take(std::size_t count_max);

    std::size_t size() const { return size_; }
    std::size_t size(storage::QueueClass of) const { return classes_[static_cast<std::size_t>(of)].size; }
    bool empty() const { return size_ == 0; }
    /// Entries for which `wanted` holds are taken out, at most `count_max`.
    std::vector<Parcel> extract(const std::function<bool(const LaneEntry&)>& wanted, std::size_t count_max);
    /// Calls `visit` for each entry until it says false.
    void for_each(const std::function<bool(LaneEntry&)>& visit);

 private:
    struct Flow {
        std::string name;
        std::deque<LaneEntry> entries;
        std::int64_t deficit = 0;
    };
    struct Class {
        std::list<Flow> turns;  ///< flows with entries; the front is at turn
        std::unordered_map<std::string, std::list<Flow>::iterator> by_name;
        std::uint64_t used = 0;  ///< cost given out over weight: virtual time
        std::size_t size = 0;
    };
    static constexpr std::size_t kClasses = 3;

    Flow& flow_of(Class& in, const std::string& name);
    Class* next_class();
    void turn(Class& in);
    void drop(Class& in, std::list<Flow>::iterator flow);

    std::array<Class, kClasses> classes_;
    std::size_t size_ = 0;
};

/// Domains by number: a domain name is kept once, however many wait for it.
class DomainNames {
 public:
    std::uint32_t number_of(const std::string& domain);
    const std::string& name(std::uint32_t number) const { return *names_[number]; }
    /// When nothing waits any more.
    void clear();
    std::size_t size() const { return names_.size(); }

 private:
    std::unordered_map<std::string, std::uint32_t> numbers_;
    std::vector<const std::string*> names_;
};

/// 1 + size / 64 KiB.
std::uint16_t recipient_cost(std::uint64_t size_octets);

}  // namespace posthouse::relay
