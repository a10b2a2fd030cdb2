#pragma once
/// protocols/net/memory: a pair of connected streams inside the process, for tests, transcripts and fuzzers.
/// Octets written to one side can be read at the other in order; TLS is played: start_tls_* only marks the stream.
#include <memory>
#include <utility>

#include "protocols/net/dialer.h"
#include "protocols/net/loop.h"
#include "protocols/net/stream.h"

namespace posthouse::net {

struct MemoryPair {
    std::unique_ptr<Stream> first;
    std::unique_ptr<Stream> second;
};

/// `peer` is what `first.peer()` says, i.e. the address of whoever holds `second`. Deadlines are real timers of `loop`.
MemoryPair make_memory_pair(Loop& loop, Endpoint first_local, Endpoint peer);

}  // namespace posthouse::net
