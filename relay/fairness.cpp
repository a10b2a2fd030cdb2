#include "relay/fairness.h"

#include <algorithm>

namespace posthouse::relay {

namespace {

constexpr std::int64_t kQuantum = 16;                        // cost a turn adds
constexpr std::array<std::uint64_t, 3> kSlowness{1, 4, 16};  // 16 : 4 : 1 turned round

std::size_t place_of(storage::QueueClass priority) {
    return std::min<std::size_t>(static_cast<std::size_t>(priority), kSlowness.size() - 1);
}

bool goes_with(const LaneEntry& a, const LaneEntry& b) {
    return !a.is_alone && a.queue == b.queue && a.domain == b.domain && a.target == b.target;
}

}  // namespace

std::uint16_t recipient_cost(std::uint64_t size_octets) {
    return static_cast<std::uint16_t>(std::min<std::uint64_t>(1 + size_octets / 65'536, UINT16_MAX));
}

FairQueue::Flow& FairQueue::flow_of(Class& in, const std::string& name) {
    const auto found = in.by_name.find(name);
    if (found != in.by_name.end()) return *found->second;
    if (in.turns.empty()) {
        // Whoever was idle starts where the busiest of the others stands: neither behind them nor with savings.
        std::uint64_t least = UINT64_MAX;
        for (const Class& other : classes_) {
            if (!other.turns.empty()) least = std::min(least, other.used);
        }
        if (least != UINT64_MAX) in.used = std::max(in.used, least);
    }
    in.turns.push_back(Flow{name, {}, kQuantum});
    const auto at = std::prev(in.turns.end());
    in.by_name.emplace(name, at);
    return *at;
}

void FairQueue::push(storage::QueueClass priority, const std::string& flow, const LaneEntry& entry) {
    Class& in = classes_[place_of(priority)];
    flow_of(in, flow).entries.push_back(entry);
    ++in.size;
    ++size_;
}

void FairQueue::put_back(const Parcel& parcel) {
    const std::size_t place = place_of(parcel.priority);
    Class& in = classes_[place];
    Flow& flow = flow_of(in, parcel.flow);
    for (std::size_t i = parcel.entries.size(); i > 0; --i) {
        const LaneEntry& entry = parcel.entries[i - 1];
        flow.entries.push_front(entry);
        flow.deficit += entry.cost;
        in.used -= std::min<std::uint64_t>(in.used, entry.cost * kSlowness[place]);
        ++in.size;
        ++size_;
    }
}

// The class that had least, measured by its weight; of equals the more urgent.
FairQueue::Class* FairQueue::next_class() {
    Class* best = nullptr;
    for (Class& one : classes_) {
        if (!one.turns.empty() && (best == nullptr || one.used < best->used)) best = &one;
    }
    return best;
}

// Brings a flow to the front that may spend.
void FairQueue::turn(Class& in) {
    while (in.turns.front().deficit <= 0) {
        in.turns.front().deficit += kQuantum;
        in.turns.splice(in.turns.end(), in.turns, in.turns.begin());
    }
}

void FairQueue::drop(Class& in, std::list<Flow>::iterator flow) {
    in.by_name.erase(flow->name);
    in.turns.erase(flow);
}

std::optional<Parcel> FairQueue::take(std::size_t count_max) {
    Class* const in = next_class();
    if (in == nullptr) return std::nullopt;
    const auto place = static_cast<std::size_t>(in - classes_.data());
    turn(*in);
    const auto flow = in->turns.begin();
    Parcel out;
    out.priority = static_cast<storage::QueueClass>(place);
    out.flow = flow->name;
    while (!flow->entries.empty() && out.entries.size() < std::min(count_max, kRunMax)) {
        const LaneEntry& next = flow->entries.front();
        if (!out.entries.empty() && !goes_with(out.entries.front(), next)) break;
        flow->deficit -= next.cost;
        in->used += next.cost * kSlowness[place];
        out.entries.push_back(next);
        flow->entries.pop_front();
    }
    in->size -= out.entries.size();
    size_ -= out.entries.size();
    if (flow->entries.empty()) {
        drop(*in, flow);
    } else if (flow->deficit <= 0) {
        turn(*in);
    }
    return out;
}

std::vector<Parcel> FairQueue::extract(const std::function<bool(const LaneEntry&)>& wanted, std::size_t count_max) {
    std::vector<Parcel> out;
    std::size_t taken = 0;
    for (std::size_t place = 0; place < classes_.size(); ++place) {
        Class& in = classes_[place];
        for (auto flow = in.turns.begin(); flow != in.turns.end();) {
            std::erase_if(flow->entries, [&](const LaneEntry& entry) {
                if (taken >= count_max || !wanted(entry)) return false;
                const bool joins =
                    !out.empty() && out.back().entries.size() < kRunMax && goes_with(out.back().entries.front(), entry);
                if (!joins) {
                    out.emplace_back();
                    out.back().priority = static_cast<storage::QueueClass>(place);
                    out.back().flow = flow->name;
                }
                out.back().entries.push_back(entry);
                ++taken;
                --in.size;
                --size_;
                return true;
            });
            const auto next = std::next(flow);
            if (flow->entries.empty()) drop(in, flow);
            flow = next;
        }
    }
    return out;
}

void FairQueue::for_each(const std::function<bool(LaneEntry&)>& visit) {
    for (Class& in : classes_) {
        for (Flow& flow : in.turns) {
            for (LaneEntry& entry : flow.entries) {
                if (!visit(entry)) return;
            }
        }
    }
}

std::uint32_t DomainNames::number_of(const std::string& domain) {
    const auto [at, is_new] = numbers_.try_emplace(domain, static_cast<std::uint32_t>(names_.size()));
    if (is_new) names_.push_back(&at->first);
    return at->second;
}

void DomainNames::clear() {
    numbers_.clear();
    names_.clear();
}

}  // namespace posthouse::relay
