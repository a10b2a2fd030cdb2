#include "admin/cli/queue_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/settings.h"

namespace posthouse::admin {

Result<Lanes> read_lanes(const storage::Snapshot& snapshot) {
    Lanes out;
    TRY(auto all, snapshot.queue().lanes());
    for (storage::LaneRecord& lane : all) {
        const storage::LaneId id = lane.id;
        out.emplace(id, std::move(lane));
    }
    TRY(const auto incidents, storage::IncidentView(snapshot).open());
    for (const storage::Incident& one : incidents) out.incidents.emplace(one.id, one);
    TRY(out.hold_hours, storage::setting_number(snapshot.catalog(), "incident.hold_hours"));
    return out;
}

std::string waiting_because(const storage::QueueRecipient& recipient, const Lanes& lanes) {
    const auto incident = lanes.incidents.find(recipient.incident);
    if (recipient.state == storage::RecipientState::held && incident != lanes.incidents.end()) {
        const bool by_account = incident->second.key.kind == storage::IncidentKind::account;
        const Time until = recipient.fault_since + std::chrono::hours(lanes.hold_hours);
        return fmt::format("held because of incident {}: {}, {}. {}", storage::raw(incident->first),
                           storage::describe(incident->second),
                           by_account ? std::string("until somebody has looked at it")
                                      : "at most until " + format_rfc3339(until) + ", then it is returned",
                           storage::advice(incident->second));
    }
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
