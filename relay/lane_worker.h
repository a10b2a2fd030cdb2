#pragma once
/// relay/lane_worker (internal): what one worker of a lane has in hand. Threads: the loop's.
#include <memory>
#include <string>

#include "relay/lane.h"

namespace posthouse::relay {

struct Lane::Worker {
    std::unique_ptr<Connection> connection;
    std::string remote;  ///< who was dialled last
};

}  // namespace posthouse::relay
