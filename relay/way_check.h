#pragma once
/// relay/way_check: the health of smarthosts. One that has carried nothing for a while, or rests since mail could not
/// be given to it, is tried without mail: connection, TLS, login. A backup that is dead is known before it is needed.
///
///   it does not work       the way rests until a check finds it well, and no message has to find out: the next way of
///                          its route takes the mail. The log, `way list` and `route explain` say so
///   the login is refused   an incident (credentials) besides, as if mail had been refused for it
///   all is well            it rests no more, and an open incident about the login is over
/// What was found stands in the memory of routes under kCheckSite: since = last good, probe = next try, tries = how
/// often it has failed since, reply = the last words. Choices look at what it writes about the way, as at what mail
/// teaches (way_book.h): a way without another beside it is tried whatever is remembered of it.
/// Setting "way.check_hours"; 0 is never. A way that was found dead is tried every kCheckRound, where its login was
/// refused every hour, for services lock out who keeps asking.
/// Limits: kChecksAtOnce ways a round.   Threads: the loop's.
#include "relay/core.h"

namespace posthouse::relay {

inline constexpr std::chrono::minutes kCheckRound{10};
inline constexpr std::size_t kChecksAtOnce = 20;

net::Task<void> check_ways(Core& core);

}  // namespace posthouse::relay
