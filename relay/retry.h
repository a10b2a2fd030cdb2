#pragma once
/// relay/retry: what follows for one recipient from what was said, by cause: the time of the next attempt, and whether
/// the lane must slow down.
///
///   greylisted          5, 7, 8, 15 min               the same address of ours (RFC 6647)
///   mailbox full        1, 4, 8 h
///   throttled           stays first in its lane       the lane's window or rate decides; no attempt is used up
///     421 or "too many connections" to a connection: the window; words about a rate: the rate; 421, 4.7.0 or 4.3.2
///     without a word why: the lane steps back a little, and learns nothing from the first
///     Gmail 4.7.28, Yahoo TSS04: the whole group rests, 15 min .. 4 h, then a little at a time; Outlook RP-001: one
///     or two connections; Gmail 4.2.1: this recipient alone waits, as with "all else"
///   nobody reached      stays in its lane, closed     one probe after 1, 2, 4 .. 30 min; no attempt is used up
///   DNS                 2, 5, 10 min .. 1 h
///   all else            5, 10, 20, 40 min, 1, 2, 4 h, then every 4 h
/// +-10 % at random. A time that the reply names counts instead, within kWaitMin and kWaitMax.
/// Pure.
#include <cstdint>
#include <optional>

#include "protocols/base/random.h"
#include "protocols/bounce/reply_class.h"
#include "relay/client.h"
#include "storage/queue.h"

namespace posthouse::relay {

inline constexpr Milliseconds kWaitMin{60'000};
inline constexpr Milliseconds kWaitMax{4 * 3'600'000LL};

/// Where in the dialogue the verdict fell.
enum class Stage : std::uint8_t { opening, transaction };

/// What the lane learns from it.
enum class LaneSignal : std::uint8_t {
    none,
    clean,
    turned_away,  ///< "421 closing": not now, and not a word why
    window,
    rate,
    few,        ///< no more than one or two connections
    hold_back,  ///< a long pause, then a little at a time
    unreachable,
};

struct Aftermath {
    bounce::ReplyClass what = bounce::ReplyClass::other;
    LaneSignal signal = LaneSignal::none;
    std::optional<Milliseconds> named;  ///< the time that the reply named
    storage::WaitCause cause = storage::WaitCause::none;
    bool stays_in_lane = false;  ///< waits there, without an attempt used up
    Milliseconds wait{0};        ///< until the next attempt, where it does not
    bool counts = true;          ///< as an attempt: somebody was asked
    bool slower = false;         ///< of LaneSignal::few: and it was too fast
    Aftermath() = default;
};

/// `attempts` were made before this one; `host` is who said it.
Aftermath judge(const Verdict& verdict, std::string_view host, Stage stage, std::uint32_t attempts, Random& random);

/// "421 closing" and the like: this server will not go on just now, and says nothing of us or of our pace.
bool turns_away(const Verdict& verdict, std::string_view host);
/// Too fast, too many: said of us, by one server for all of its site.
bool names_our_pace(const Verdict& verdict, std::string_view host);

/// The wait by cause alone; `attempts` have been made (at least one).
Milliseconds retry_wait(bounce::ReplyClass what, std::uint32_t attempts, Random& random);

}  // namespace posthouse::relay
