#pragma once
/// storage/lane_limits: how fast mail may go to single sites at most, set by hand over what the relay knows and learns:
/// the setting lane.limits ("SITE=connections/messages/minute", blanks between; 0 sets no bound), which
/// `posthouse queue limit` writes.
/// They bound each lane: one way or local address, and one site.
///   site   the name of a lane as `queue lanes` shows it (a provider, the first MX host, a relay's host), or the end of
///          a host's name: "example.net" is every host below it. Of several that fit the longest counts
/// Threads: pure.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::storage {

class Tx;

struct LaneLimit {
    std::string site;                   ///< lower case
    std::uint32_t connections_max = 0;  ///< at a time
    std::uint32_t messages_max = 0;     ///< on each connection
    std::uint32_t minute_max = 0;       ///< transactions a minute
    bool operator==(const LaneLimit&) const = default;
    bool is_empty() const { return connections_max == 0 && messages_max == 0 && minute_max == 0; }
};

/// Whether a lane of this name, or a row of a table, is meant.
bool is_site(std::string_view lane, std::string_view site);
/// What cannot be read is left out.
std::vector<LaneLimit> parse_lane_limits(std::string_view setting);
/// Whether all of it can be read.
bool is_lane_limits(std::string_view setting);
/// Null where nothing is set for it.
const LaneLimit* find_lane_limit(const std::vector<LaneLimit>& limits, std::string_view lane);
/// Sets or replaces; one without a bound takes it out. Errc::invalid for a name that no lane can have, not_found where
/// there is nothing to take out.
Result<> set_lane_limit(Tx& tx, LaneLimit limit);

}  // namespace posthouse::storage
