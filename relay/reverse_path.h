#pragma once
/// relay/reverse_path: the reverse-path that a message leaves with (RFC 5321 4.4), which is not always its sender:
///   - what goes by a way with a return-path domain of its own bears that domain, so that SPF is asked about it;
///   - what a domain of ours passes on for a sender outside bears that domain, since the sender's SPF does not know us.
///   - with the setting return_path.tokens, or the way's own word (storage/way_tokens), what our own people send bears
///     a token (protocols/mailauth/return_token) at the way's domain, or at the sender's where that is at home here;
///     never by a service that lets an account send as its own address alone.
/// The first two are SRS addresses (protocols/mailauth/srs): a bounce to them is turned back here. The null sender
/// stays null, and a sender at the domain in question keeps his address, as does one whose SRS address would be too
/// long.
/// reverse_path_for is pure.
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/mailauth/srs.h"
#include "storage/queue.h"
#include "storage/routes.h"
#include "storage/store.h"

namespace posthouse::relay {

/// `return_path` is the domain of the way; "" where it has none.
std::string reverse_path_for(const storage::QueueItem& item, std::string_view return_path,
                             const mailauth::SrsKeys& keys, Time now);

/// What of a way decides about the reverse-path.
struct PathWay {
    std::string name;
    std::string preset;
    std::string return_path;  ///< as above
    PathWay() = default;
    explicit PathWay(const storage::Way& way) : name(way.name), preset(way.preset), return_path(way.return_path) {}
};
/// The same, with a token where the settings ask for one; `recipients` are those of the transaction.
Result<std::string> choose_reverse_path(const storage::Snapshot& snapshot, const storage::QueueItem& item,
                                        const std::vector<storage::QueueRecipient>& recipients, const PathWay& way,
                                        std::string_view sealing_key, Time now);

/// Whether what choose_reverse_path gave is a token of ours, and not the sender's own address.
bool bears_token(const storage::QueueItem& item, std::string_view reverse_path);

}  // namespace posthouse::relay
