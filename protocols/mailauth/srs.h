#pragma once
/// protocols/mailauth/srs: reverse-paths of mail that is passed on, in a domain of ours, so that SPF of the next hop
/// looks at us; a bounce to such a path is turned back into the address it stands for (the Sender Rewriting Scheme).
///
///   bob@b.example            -> SRS0=HHHHHHH=TT=b.example=bob@ours
///   SRS0=...@other           -> SRS1=HHHHHHH=other==...@ours    a second forwarder: the way back leads to the first
///   SRS1=H=first==...@other  -> SRS1=HHHHHHH=first==...@ours    a third one replaces the second
/// TT counts days modulo 1024. H is HMAC-SHA-256 over what follows it, in lower case, as base32: local parts may lose
/// their case on the way, and the address comes back in the case it has then.
/// Invariants  1. What forward() made and nobody changed, reverse() turns back, for kSrsDaysMax days.
///             2. Nothing else is turned back: no open relay for whoever guesses less than 35 bits.
/// Threads: pure functions.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"

namespace posthouse::mailauth {

inline constexpr int kSrsDaysMax = 21;
inline constexpr std::size_t kLocalPartOctetsMax = 64;  ///< RFC 5321 4.5.3.1.1

/// A mailbox in its parts; the local part without quotes.
struct SrsMailbox {
    std::string local;
    std::string domain;
    bool operator==(const SrsMailbox&) const = default;
};

/// Keys, the newest first: it signs, all of them are good for checking.
using SrsKeys = std::vector<std::string>;
/// The keys of a store, from the secret that seals what lies in it: nothing more to keep, to back up or to lose.
SrsKeys srs_keys(std::string_view sealing_key);

/// The local part to use at a domain of ours. Nothing where it would be too long: then the sender's own must do.
std::optional<std::string> srs_forward(const SrsKeys& keys, const SrsMailbox& sender, Time now);

bool is_srs(std::string_view local_part);
/// Errc::denied (nobody here signed it), timeout (too old), invalid (no SRS address): each with its sentence.
Result<SrsMailbox> srs_reverse(const SrsKeys& keys, std::string_view local_part, Time now);

}  // namespace posthouse::mailauth
