#pragma once
/// relay/route: from the routes to a target: by which way a recipient's mail leaves now, from which address, and in
/// which lane. The choice itself is storage/route_choice. Pure.
#include <optional>
#include <string>
#include <string_view>

#include "protocols/net/address.h"
#include "protocols/smtp/relay_url.h"
#include "storage/queue.h"
#include "storage/route_choice.h"

namespace posthouse::relay {

struct Target {
    std::string domain;  ///< by MX; "" for a relay host
    smtp::RelayUrl url;  ///< of the relay host
    std::string route;   ///< name of the route, for sentences
    storage::Way way;
    std::optional<net::IpAddress> source;  ///< local address to dial from; none: the system chooses
    std::string ehlo_name;                 ///< what we call ourselves from there; "": the server's name
    bool has_other = false;                ///< another way or address may do better
    bool has_end = false;                  ///< behind its ways the route says "hold" or "fail"
    bool probe = false;                    ///< this message tries a way that was refused
    bool slow = false;                     ///< from a drained address, since there is no other: a little at a time
    std::string provider;                  ///< as in storage/reputation: "google", "other"; "" for a relay

    Target() = default;
    bool is_mx() const { return !domain.empty(); }
    /// Equal for what may share a lane; by MX all that come from one address, where the site makes the difference.
    std::string lane_key() const;
    /// "the mail servers of b.example", "relay.example:587"
    std::string describe() const;
};

/// What a route asks about a queued recipient. Points into its arguments.
storage::ChoiceInput choice_input(const storage::QueueItem& item, const storage::QueueRecipient& recipient,
                                  std::string_view site, std::string_view provider, Time now);
/// For Choice::Kind::take. Errc::invalid where the way cannot be read: put off, and say so.
Result<Target> make_target(const storage::Choice& choice, std::string_view recipient_domain);
/// Why nothing can take it now: one sentence of all that were passed over.
std::string why_waiting(const storage::Choice& choice);
/// Why the route says "fail" to it: likewise.
std::string why_failed(const storage::Choice& choice);

}  // namespace posthouse::relay
