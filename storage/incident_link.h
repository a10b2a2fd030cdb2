#pragma once
/// storage/incident_link: the button "fixed" behind a link in the mail about an incident.
///
///   an incident begins -> its mail has a link with a token (number, end, signature) -> a page with a button -> POST ->
///   IncidentTx::mended()
/// Invariants  1. A token is good for one incident, until kIncidentLinkLasts after it was made.
///             2. Nobody can make one: it is signed with a key from the store's secret.
///             3. An account that sends as if it were stolen has none: its thief may read the mail, too.
/// Threads: as IncidentView.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "storage/incidents.h"

namespace posthouse::storage {

inline constexpr std::chrono::hours kIncidentLinkLasts{14 * 24};

/// "" where it has none. `now`: when it is made; it is told the same within an hour.
std::string incident_token(const Incident& incident, std::string_view sealing_key, Time now);
/// Until when.
Time incident_token_ends(Time now);
/// What it is about, open or over; nothing for a token that nobody here made, or that is too old.
Result<std::optional<Incident>> open_incident_token(const IncidentView& view, std::string_view token,
                                                    std::string_view sealing_key, Time now);

}  // namespace posthouse::storage
