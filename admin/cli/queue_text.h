#pragma once
/// admin/cli/queue_text: why a recipient waits and when it is tried next, in words and for machines.
#include <map>
#include <string>

#include "storage/incidents.h"
#include "storage/queue.h"
#include "storage/store.h"

namespace posthouse::admin {

/// What explains why mail waits: lanes and incidents by id.
struct Lanes : std::map<storage::LaneId, storage::LaneRecord> {
    std::map<storage::IncidentId, storage::Incident> incidents;
    std::int64_t hold_hours = 0;  ///< of what an incident holds
};
Result<Lanes> read_lanes(const storage::Snapshot& snapshot);

/// "greylisted: the other side wants to see it again", "... (lane google: 421 4.7.0 Too many)"; "" for none.
std::string waiting_because(const storage::QueueRecipient& recipient, const Lanes& lanes);
/// The later of the row's own time and its lane's turn.
Time earliest_next(const storage::QueueRecipient& recipient, const Lanes& lanes);

}  // namespace posthouse::admin
