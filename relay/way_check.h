#pragma once
/// relay/way_check: the health of smarthosts. One that has carried nothing for a while, or rests since mail could not
/// be given to it, is tried without mail: connection, TLS, login. A backup that is dead is known before it is needed.
///
///   it does not work       the next way of its route takes the mail until a check finds it well, and no message has to
///                          find out; where no other is open it is tried all the same (storage/route_choice.h)
///   the login is refused   an incident (credentials) besides, as if mail had been refused for it
///   it says "not now"      is not dead: it is asked again when it said, in an hour at least
///   all is well            what rests since mail met something there is tried by the next message, for that may lie
///                          behind the login; an incident about the login itself is over
/// What was found stands in the memory of routes under kCheckSite: since = last good, probe = next try, tries = how
/// often it was found dead since, reply = the last words. A way that was changed while it was tried is tried anew.
/// Setting "way.check_hours"; 0 is never. A way that was found dead is tried every round (kCheckRound, or as long as
/// the checks of one take), where its login was refused every hour, for services lock out who keeps asking.
/// Limits: kChecksAtOnce ways a round.   Threads: the loop's.
#include "relay/core.h"

namespace posthouse::relay {

inline constexpr std::chrono::minutes kCheckRound{10};
inline constexpr std::size_t kChecksAtOnce = 20;

net::Task<void> check_ways(Core& core);

}  // namespace posthouse::relay
