#include "storage/queue_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/settings.h"

namespace posthouse::storage {

Result<Lanes> read_lanes(const Snapshot& snapshot) {
    Lanes out;
    TRY(auto all, snapshot.queue().lanes());
    for (LaneRecord& lane : all) {
        const LaneId id = lane.id;
        out.emplace(id, std::move(lane));
    }
    TRY(const auto incidents, IncidentView(snapshot).open());
    for (const Incident& one : incidents) out.incidents.emplace(one.id, one);
    TRY(out.hold_hours, setting_number(snapshot.catalog(), "incident.hold_hours"));
    return out;
}

std::string waiting_because(const QueueRecipient& recipient, const Lanes& lanes) {
    const auto incident = lanes.incidents.find(recipient.incident);
    if (recipient.state == RecipientState::held && incident != lanes.incidents.end()) {
        const auto until = held_until(recipient, lanes);
        return fmt::format("held because of incident {}: {}, {}. {}", raw(incident->first), describe(incident->second),
                           until ? "at most until " + format_rfc3339(*until) + ", then it is returned"
                                 : std::string("until somebody has looked at it"),
                           advice(incident->second));
    }
    if (recipient.state == RecipientState::held) return std::string(explain(WaitCause::held));
    if (recipient.state != RecipientState::waiting) return "";
    std::string out(explain(recipient.cause));
    if (recipient.cause == WaitCause::directory && incident != lanes.incidents.end()) {
        out += fmt::format(" (incident {})", raw(incident->first));
    }
    const auto lane = lanes.find(recipient.lane);
    if (lane == lanes.end()) return out;
    out += fmt::format(" (lane {}, {}", lane->second.name, lane->second.state);
    if (!lane->second.why.empty()) out += ": " + lane->second.why;
    return out + ")";
}

std::optional<Time> held_until(const QueueRecipient& recipient, const Lanes& lanes) {
    const auto incident = lanes.incidents.find(recipient.incident);
    const bool by_it = recipient.state == RecipientState::held && incident != lanes.incidents.end() &&
                       incident->second.key.kind != IncidentKind::account;
    if (!by_it) return std::nullopt;
    return recipient.fault_since + std::chrono::hours(lanes.hold_hours);
}

Time earliest_next(const QueueRecipient& recipient, const Lanes& lanes) {
    const auto lane = lanes.find(recipient.lane);
    return lane == lanes.end() ? recipient.next_attempt : std::max(recipient.next_attempt, lane->second.next);
}

}  // namespace posthouse::storage
