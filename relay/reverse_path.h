#pragma once
/// relay/reverse_path: the reverse-path that a message leaves with (RFC 5321 4.4), which is not always its sender:
///   - what goes by a way with a return-path domain of its own bears that domain, so that SPF is asked about it;
///   - what a domain of ours passes on for a sender outside bears that domain, since the sender's SPF does not know us.
/// Both are SRS addresses (protocols/mailauth/srs): a bounce to them is turned back here. The null sender stays null,
/// and a sender at the domain in question keeps his address, as does one whose SRS address would be too long.
/// Pure.
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/mailauth/srs.h"
#include "storage/queue.h"

namespace posthouse::relay {

/// `return_path` is the domain of the way; "" where it has none.
std::string reverse_path_for(const storage::QueueItem& item, std::string_view return_path,
                             const mailauth::SrsKeys& keys, Time now);

}  // namespace posthouse::relay
