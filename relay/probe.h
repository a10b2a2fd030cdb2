#pragma once
/// relay/probe: tries a way out and tells in plain sentences what was found: the connection, its TLS, the login, the
/// limits; and, where an address is given, one message handed over by it, past the queue. That message is what mail by
/// this way would be: signed, with the way's fields and return path, from an address of its pool. It is written down as
/// an event, and followed: to the mailbox where that is one of this server, else to what the remote said.
/// Threads: a loop of the caller's, which runs nothing else.   Limits: ProbeRequest::wait.
#include <chrono>
#include <string>
#include <vector>

#include "relay/service.h"
#include "storage/routes.h"

namespace posthouse::relay {

struct ProbeRequest {
    storage::Way way;
    std::string source;                      ///< of its pool: from this address; "" one that mail would leave from
    std::string from;                        ///< where a report would come back to
    std::string to;                          ///< "" sends nothing
    std::chrono::milliseconds wait{60'000};  ///< for its arrival, where `to` is at home here
    ProbeRequest() = default;
};

struct ProbeResult {
    std::vector<std::string> sentences;
    bool good = false;
    std::string dialogue;
    std::string message_id;  ///< of the message, with its brackets; "" where none was handed over
};

net::Task<ProbeResult> probe_way(RelayDeps deps, ProbeRequest request);

}  // namespace posthouse::relay
