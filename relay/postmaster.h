#pragma once
/// relay/postmaster: mails of ours to whoever looks after the server: where they go, how they look.
/// Threads: the loop's, but for what takes a snapshot.
#include <optional>
#include <string>
#include <string_view>

#include "relay/core.h"
#include "relay/outcome.h"

namespace posthouse::relay {

/// The setting alarm.address, else the postmaster of the first domain, who is found as for mail to that address
/// (RFC 5321 4.5.1; storage/address_walk.h). Where the address leads nowhere, the oldest account it is; `place` is
/// empty where there is nobody at all.
struct Postmaster {
    std::string address;
    SenderPlace place;
    Postmaster() = default;
    bool is_somebody() const { return !place.accounts.empty() || !place.remote.empty(); }
};
Result<Postmaster> find_postmaster(const storage::Snapshot& snapshot);

/// The whole mail; `text` has CRLF at the end of each line.
std::string postmaster_mail(const Core& core, const Postmaster& to, std::string_view subject, std::string_view text);
/// Into mailboxes here and the queue; `detail` is what the log says of it. A full mailbox takes it all the same.
storage::Delivery postmaster_delivery(const Postmaster& to, const storage::StagedBodyPtr& body, std::string_view mail,
                                      std::string detail, Time now);

}  // namespace posthouse::relay
