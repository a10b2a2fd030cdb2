#pragma once
/// relay/way_check: ways with a login that carry nothing for a while are tried without mail: connection, TLS, login.
/// A backup whose password has run out is known before it is needed.
///
///   the login is refused   an incident (credentials), as if mail had been refused for it
///   nobody can be reached  the log, and `way list`; tried again sooner
///   all is well            an open incident about the login is over
/// What was found stands in the memory of routes under kCheckSite: since = last good, probe = next try, tries = how
/// often it has failed since, reply = the last words. Choices do not look at it.
/// Setting "way.check_hours"; 0 is never.   Limits: kChecksAtOnce ways a round.   Threads: the loop's.
#include "relay/core.h"

namespace posthouse::relay {

inline constexpr std::chrono::minutes kCheckRound{10};
inline constexpr std::size_t kChecksAtOnce = 20;

net::Task<void> check_ways(Core& core);

}  // namespace posthouse::relay
