#pragma once
/// server/judge: who sent what comes in from strangers, and what follows from it. protocols/mailauth finds out (SPF,
/// DKIM, DMARC, ARC), the setting "dmarc.policy" decides, the header, the events, the log and the metrics tell.
///
///   enforce   p=reject is refused with 550 5.7.26, p=quarantine goes to Junk; not where an ARC chain of those in the
///             setting "arc.trusted" says that DMARC passed before the message was passed on. A message with the
///             null sender (a report) is never refused: it goes to Junk.
///   junk      both go to Junk            report    nothing follows            off   nothing is looked at
/// Invariants  1. All that is asked for one message is kJudgeQueriesMax questions to the DNS, within kJudgeTimeMax;
///                what is not known by then is "temperror", and the message is taken. While the DNS is silent the
///                next ones wait for kSilentTimeMax only: a dead DNS slows mail down, and does not stop it.
///             2. The check ends before the message is acknowledged: what was acknowledged is never judged.
///             3. At most kJudgedMax messages are judged at a time; the next one is taken as "temperror".
/// Threads: the loop's; bodies over kJudgeHereOctetsMax are hashed on the pool.
#include <memory>

#include "server/judge/deps.h"
#include "server/smtp/sender_check.h"

namespace posthouse::server {

inline constexpr unsigned kJudgeQueriesMax = 40;
inline constexpr Milliseconds kJudgeTimeMax{20'000};
inline constexpr Milliseconds kSilentTimeMax{1'000};  ///< while the DNS is silent, a message waits no longer
inline constexpr std::size_t kJudgedMax = 1000;
inline constexpr std::uint64_t kJudgeHereOctetsMax = 256 * 1024;

std::unique_ptr<smtp::SenderCheck> make_sender_check(CheckDeps deps, Milliseconds time_max = kJudgeTimeMax);

}  // namespace posthouse::server
