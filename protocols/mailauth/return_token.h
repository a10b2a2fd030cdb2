#pragma once
/// protocols/mailauth/return_token: reverse-paths that say which message, and which recipient, a bounce is about, and
/// that nobody else can make (VERP with a signature):
///
///   PHT0=HHHHHHHHHH=TT=Q[=RRRR]      @ the domain of the way, or of the sender
/// TT counts days modulo 1024, Q is the number of the queued message, RRRR 20 bits of a hash of the recipient where the
/// transaction had one alone, of "@" and the domain where all were of one: whoever gets a token says nothing with it of
/// those whom others keep. H is HMAC-SHA-256 over what follows it, 50 bits; all of it is base32 in lower case, for
/// local parts may lose their case on the way.
/// Invariants  1. What make() made is read back for kReturnDaysMax days, in whatever case; 40 octets at most.
///             2. Nothing else is.
/// Threads: pure functions.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"

namespace posthouse::mailauth {

/// A bounce may come so long after the message was accepted: our days in the queue, theirs, and some.
inline constexpr int kReturnDaysMax = 21;

/// Keys, the newest first: it signs, all of them are good for checking.
using ReturnKeys = std::vector<std::string>;
/// The keys of a store, from the secret that seals what lies in it.
ReturnKeys return_keys(std::string_view sealing_key);

struct ReturnToken {
    std::uint64_t queue = 0;
    std::optional<std::uint32_t> recipient;  ///< as return_hash or return_hash_of_domain gives it; none: of several
                                             ///< domains that one server takes mail for
    bool operator==(const ReturnToken&) const = default;
};

/// 20 bits of the address in lower case.
std::uint32_t return_hash(std::string_view recipient);
/// Of all recipients there.
std::uint32_t return_hash_of_domain(std::string_view recipient);
bool is_about(const ReturnToken& token, std::string_view recipient);
/// The local part. `accepted`: when the message was taken; the same for each try, so that greylists know it again.
std::string make_return_token(const ReturnKeys& keys, const ReturnToken& token, Time accepted);
bool is_return_token(std::string_view local_part);
/// Errc::denied (nobody here signed it), timeout (too old), invalid (no token): each with its sentence.
Result<ReturnToken> read_return_token(const ReturnKeys& keys, std::string_view local_part, Time now);

}  // namespace posthouse::mailauth
