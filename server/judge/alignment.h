#pragma once
/// server/judge/alignment: what DMARC will say at the receiver, judged from our keys, our routes and the DNS.
/// An answer is kept for kAlignmentKept; the DNS failing, or taking longer than kAlignmentWaitMax, and mail that leaves
/// by a relay service are in the sender's favour: a slow DNS holds no letter up, its answer counts for the next one.
/// Setting "dmarc.submission": refuse or warn.
/// Threads: the loop's.   Limits: kAlignmentsMax kept answers.
#include <memory>
#include <string>

#include "server/judge/deps.h"
#include "server/smtp/alignment.h"

namespace posthouse::server {

inline constexpr Milliseconds kAlignmentKept{10 * 60'000};
inline constexpr Milliseconds kRefusalKept{60'000};  ///< whoever is refused mends his DNS and tries again
inline constexpr Milliseconds kAlignmentWaitMax{2'000};
inline constexpr std::size_t kAlignmentsMax = 1000;

std::unique_ptr<smtp::AlignmentCheck> make_alignment_check(CheckDeps deps);

}  // namespace posthouse::server
