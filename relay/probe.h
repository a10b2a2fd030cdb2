#pragma once
/// relay/probe: tries a way out and tells in plain sentences what was found: the connection, its TLS, the login, the
/// limits; and, where an address is given, one message handed over by it, past the queue.
/// Threads: a loop of the caller's, which runs nothing else.
#include <string>
#include <vector>

#include "relay/service.h"
#include "storage/routes.h"

namespace posthouse::relay {

struct ProbeRequest {
    storage::Way way;
    std::string from;  ///< where a report would come back to
    std::string to;    ///< "" sends nothing
    ProbeRequest() = default;
};

struct ProbeResult {
    std::vector<std::string> sentences;
    bool good = false;
    std::string dialogue;
};

net::Task<ProbeResult> probe_way(RelayDeps deps, ProbeRequest request);

}  // namespace posthouse::relay
