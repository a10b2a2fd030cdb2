#pragma once
/// server/returns/report_proof: who vouches for a report that bears no token of ours. Anybody who knows a Message-ID
/// and its recipient can write one; only those who run the recipient's domain, or the host that took the message, can
/// send it with an SPF or DKIM result of theirs.
/// Invariants  1. Only the first Authentication-Results field of our own name is read: forged ones were taken off at
///                the door, and ours was put on top (RFC 8601 5).
///             2. A name vouches for itself, for names below it, and for what it lies below; a single label for nobody.
/// Threads: pure.   Limits: kCandidatesMax.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/mailauth/return_token.h"

namespace posthouse::server {

inline constexpr std::size_t kCandidatesMax = 50;  ///< looked at for a token, in one mail

/// Domains that SPF (HELO or MAIL FROM) or DKIM passed for, lower case, as `authserv_id` found when the mail came in.
std::vector<std::string> vouching_domains(std::string_view message, std::string_view authserv_id);
/// Whether one of them may speak for mail to this domain, or for this host. "" names nobody.
bool vouches(const std::vector<std::string>& domains, std::string_view name);
/// The first good token of ours in the mail: of whom it came to, or of what it brings back.
std::optional<mailauth::ReturnToken> find_token(std::string_view message, const mailauth::ReturnKeys& keys, Time now);

}  // namespace posthouse::server
