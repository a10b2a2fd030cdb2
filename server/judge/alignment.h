#pragma once
/// server/judge/alignment: what DMARC will say at the receiver of a message that our own people send: judged from our
/// keys, the way that the route of each recipient takes (its addresses, its return-path domain, what the service behind
/// it asks customers to put into SPF) and the DNS. Where neither our keys nor the way will do, the signatures that are
/// in the message already are looked at: another server of the house may have signed it.
/// Ways that the route names behind the one it takes now are judged too: where DMARC would fail by one of them, the log
/// says so before the day on which the first way is refused (submission_dmarc_weak_total counts it), but the message is
/// taken.
/// An answer is kept for kAlignmentKept; the DNS failing, or taking longer than kAlignmentWaitMax, and ways of which
/// nothing is known are in the sender's favour: a slow DNS holds no letter up, its answer counts for the next one.
/// Setting "dmarc.submission": refuse or warn.
/// A sender whom every service of the route has said it does not know is refused with that service's words while what
/// it said stands (storage/route_choice, sender_site).
/// Threads: the loop's.   Limits: kAlignmentsMax kept answers, kWaysJudgedMax ways and kRecipientsRouted recipients of
/// one message.
#include <memory>
#include <string>

#include "server/judge/deps.h"
#include "server/smtp/alignment.h"

namespace posthouse::server {

inline constexpr Milliseconds kAlignmentKept{10 * 60'000};
inline constexpr Milliseconds kRefusalKept{60'000};  ///< whoever is refused mends his DNS and tries again
inline constexpr Milliseconds kAlignmentWaitMax{2'000};
inline constexpr std::size_t kAlignmentsMax = 1000;
inline constexpr std::size_t kWaysJudgedMax = 4;
inline constexpr std::size_t kRecipientsRouted = 50;
inline constexpr std::size_t kProvidersAsked = 8;  ///< domains of one message whose MX is asked for, for their route

std::unique_ptr<smtp::AlignmentCheck> make_alignment_check(CheckDeps deps);

}  // namespace posthouse::server
