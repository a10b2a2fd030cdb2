#include "admin/cli/queue_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace posthouse::admin {

Result<Lanes> read_lanes(const storage::Snapshot& snapshot) {
    Lanes out;
    TRY(auto all, snapshot.queue().lanes());
    for (storage::LaneRecord& lane : all) {
        const storage::LaneId id = lane.id;
        out.emplace(id, std::move(lane));
    }
    return out;
}

std::string waiting_because(const storage::QueueRecipient& recipient, const Lanes& lanes) {
    if (recipient.state == storage::RecipientState::held) return std::string(explain(storage::WaitCause::held));
    if (recipient.state != storage::RecipientState::waiting) return "";
    std::string out(explain(recipient.cause));
    const auto lane = lanes.find(recipient.lane);
    if (lane == lanes.end()) return out;
    out += fmt::format(" (lane {}, {}", lane->second.name, lane->second.state);
    if (!lane->second.why.empty()) out += ": " + lane->second.why;
    return out + ")";
}

Time earliest_next(const storage::QueueRecipient& recipient, const Lanes& lanes) {
    const auto lane = lanes.find(recipient.lane);
    return lane == lanes.end() ? recipient.next_attempt : std::max(recipient.next_attempt, lane->second.next);
}

}  // namespace posthouse::admin
