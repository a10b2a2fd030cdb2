#pragma once
/// relay/lane_worker (internal): what one worker of a lane has in hand. Threads: the loop's.
#include <memory>
#include <optional>
#include <string>

#include "relay/lane.h"

namespace posthouse::relay {

struct Lane::Worker {
    std::unique_ptr<Connection> connection;
    std::string remote;                           ///< who was dialled last
    std::optional<storage::Refusal> turned_away;  ///< what a host before it said to our address, for good
    Time since{};                                 ///< it has its place
    bool has_carried = false;
    std::uint64_t round = 0;                ///< how often the lane had been closed when it took its parcel
    std::shared_ptr<net::Event> recording;  ///< set when the outcome of the parcel before is on disk; null: none is
};

}  // namespace posthouse::relay
