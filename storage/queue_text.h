#pragma once
/// storage/queue_text: why a recipient waits and when it is tried next, in words and for machines.
#include <map>
#include <optional>
#include <string>

#include "storage/incidents.h"
#include "storage/queue.h"
#include "storage/store.h"

namespace posthouse::storage {

/// What explains why mail waits: lanes and incidents by id.
struct Lanes : std::map<LaneId, LaneRecord> {
    std::map<IncidentId, Incident> incidents;
    std::int64_t hold_hours = 0;  ///< of what an incident holds
};
Result<Lanes> read_lanes(const Snapshot& snapshot);

/// "greylisted: the other side wants to see it again", "... (lane google: 421 4.7.0 Too many)"; "" for none.
std::string waiting_because(const QueueRecipient& recipient, const Lanes& lanes);
/// The later of the row's own time and its lane's turn.
Time earliest_next(const QueueRecipient& recipient, const Lanes& lanes);

/// Of what an incident holds: when it is returned if nothing changes; none: only somebody ends it, or none holds it.
std::optional<Time> held_until(const QueueRecipient& recipient, const Lanes& lanes);

}  // namespace posthouse::storage
