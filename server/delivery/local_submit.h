#pragma once
/// server/delivery/local_submit: a message handed in on this machine (sendmail), straight into the store: no session,
/// no login. Whoever may open the store may do this. Threads: any but a loop's; waits for the commit.
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/random.h"
#include "protocols/base/result.h"
#include "storage/store.h"

namespace posthouse::server {

struct LocalMessage {
    std::string sender;  ///< reverse-path, "" for the null one
    std::vector<std::string> recipients;
    std::string message;    ///< CRLF line ends; Bcc is taken off, Date and Message-ID are added where missing
    std::string submitter;  ///< for the Received field: "uid 1000"
};

/// What became of it: "2 local copies, 1 recipient queued as q12". Errc::invalid (an address, a header), not_found
/// (nobody there), over_quota, no_space, io: then nothing was taken.
Result<std::string> submit_locally(storage::Store& store, const std::string& hostname, LocalMessage message,
                                   const Clock& clock, Random& random);

}  // namespace posthouse::server
