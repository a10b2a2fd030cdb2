#pragma once
/// relay/controller: how fast one lane may go: a window of connections and a rate of transactions, both learned from
/// what the far side answers.
///
///   window  +1 per window of clean deliveries until the first refusal; then +1 per m windows (m 4..64: doubled where
///           a probe was refused, halved where it held); -1 on the first refusal of a run, half after a full cohort
///   rate    none until the first "too fast"; then x 0.7, back to just under the ceiling, and on in small steps;
///           a time named in the reply ("try again in 300 seconds") pauses the lane and counts before all else
///   closed  no host could be reached: one probe after 1, 2, 4 .. 30 min, then open again at window 1
///   held    "a bad name, too much" (Gmail 4.7.28): nothing for 15 min, twice as long each time, 4 h at most; then, for
///   back    a day after it was said last, one connection and kFewMessages on each
///
/// Postfix probes in every window and so is refused once in 1 + W tries; with the spacing m it is once in 1 + m W.
/// The ceiling is remembered over restarts (Learned) and fades with a half-life of 7 days; the day of care after a long
/// pause is kept as it is.
/// Pure: time comes in as a parameter.   Limits: the constants below.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"

namespace posthouse::relay {

/// What is known of a site before anything was learned; a table in shaping.cpp.
struct Shaping {
    std::size_t window_start = 5;
    std::size_t window_max = 20;
    double rate_max = 0;  ///< transactions a second; 0: no limit known
    std::size_t messages_per_connection = 100;
    Shaping() = default;
    bool operator==(const Shaping&) const = default;
};

inline constexpr unsigned kSpacingMin = 4;
inline constexpr unsigned kSpacingMax = 64;
inline constexpr double kRateCut = 0.7;
inline constexpr double kRateNear = 0.97;  ///< of the ceiling: so far it comes back quickly
inline constexpr double kRateMin = 1.0 / 300;
inline constexpr double kRateFirst = 1.0 / 6;  ///< a second: where the first refusal came before anything was learned
inline constexpr Milliseconds kProbeFirst{60'000};         ///< nobody was reached
inline constexpr Milliseconds kProbeFirstRefused{15'000};  ///< somebody answered and let nobody in
inline constexpr Milliseconds kProbeMax{30 * 60'000};
inline constexpr Milliseconds kPauseMax{4 * 3'600'000LL};
inline constexpr Milliseconds kHoldBackFirst{15 * 60'000};
inline constexpr Milliseconds kCareful{24 * 3'600'000LL};  ///< so long the window stays small after it was said
inline constexpr std::size_t kFewMessages = 5;             ///< a connection
inline constexpr Milliseconds kMemoryHalfLife{7 * 24 * 3'600'000LL};

enum class LaneState : std::uint8_t {
    open,
    slowed,  ///< a rate was learned or is known
    paused,  ///< the far side named a time
    closed,  ///< nobody could be reached
};
std::string_view to_string(LaneState state);

/// What outlives the process.
struct Learned {
    std::size_t window = 0;  ///< 0: nothing was learned
    double rate = 0;         ///< ceiling; 0: likewise
    unsigned spacing = kSpacingMin;
    Time at{};
    Time careful_until{};            ///< up to then no more than careful_window connections
    std::size_t careful_window = 0;  ///< 0: as many as it bears
    bool held_back = false;          ///< and kFewMessages on each
    Milliseconds rest{0};            ///< the last long pause
    Learned() = default;
};

class LaneController {
 public:
    LaneController(const Shaping& shaping, Time now);

    /// Whether another transaction may begin.
    bool may_take(Time now) const { return earliest(now) <= now; }
    /// When the next one may; at most `now` where at once.
    Time earliest(Time now) const;
    /// A transaction begins.
    void take(Time now);
    /// How many connections `queued` jobs are worth: at most the window, and few for few.
    std::size_t connections_wanted(std::size_t queued, Time now) const;

    /// A host answered and let us in.
    void connected(Time now);
    /// A transaction went through; `busy` connections were in use.
    void delivered(Time now, std::size_t busy);
    /// "Too many connections", refused connections, 421 at the banner, while `others` of ours are let in. With none
    /// there is nothing to give back: the lane closes for a while.
    void refused_window(Time now, std::size_t others);
    /// "421 closing" inside a dialogue, and no word why: a server that starts anew says so to everybody. Nothing is
    /// learned of it before it was said as often as the window is wide; but with no other connection the lane closes.
    void turned_away(Time now, std::size_t others);
    /// "Too fast".
    void refused_rate(Time now);
    /// Our name is bad here: a long pause for the whole group, then one connection.
    void hold_back(Time now);
    /// One or two connections are what our name is worth here; else as refused_window.
    void limit(Time now, std::size_t others);
    /// The reply named a time.
    void pause(Time now, Milliseconds wait) {
        paused_until_ = std::max(paused_until_, now + std::min(wait, kPauseMax));
    }
    /// No host could be reached while `others` were. Whether the lane is closed now.
    bool unreachable(Time now, std::size_t others);
    /// A probe of a closed lane ended without a word on the network: the next may begin.
    void probe_over() { probing_closed_ = false; }
    /// Somebody asks to try now: what is waited for is over, but what was learned stays.
    void kick(Time now) {
        paused_until_ = std::min(paused_until_, now);
        probe_at_ = std::min(probe_at_, now);
        probing_closed_ = false;  // the one under way may hang
        tat_ = std::min(tat_, now);
    }
    /// Oldest job of the backlog: what waits long is worth bolder probes.
    void backlog_age(Time now, Milliseconds oldest);

    LaneState state(Time now) const;
    std::size_t window() const { return window_; }
    /// On one connection.
    std::size_t messages_max(Time now) const {
        std::size_t most = shaping_.messages_per_connection;
        if (held_back_ && now < careful_until_) most = std::min(most, kFewMessages);
        if (now < reuse_until_) most = std::min(most, reuse_max_);
        return most;
    }
    /// A connection fell silent after `messages` of them, as servers do that want no more on one and do not say so:
    /// for a day no connection carries more.
    void reuse_stalled(Time now, std::size_t messages) {
        reuse_max_ = std::max<std::size_t>(messages, 1);
        reuse_until_ = now + kCareful;
    }
    /// 0 where there is no limit.
    double rate() const { return rate_; }
    double rate_ceiling() const { return ceiling_; }
    unsigned spacing() const { return spacing_; }
    /// How often the lane was closed: what began before the last time may hang and says nothing of how it stands now.
    std::uint64_t closings() const { return closings_; }
    /// Refusals so far, for tests and metrics.
    std::uint64_t refusals() const { return refusals_; }

    /// Other bounds from now on. What holds the lane besides stays: pauses, care, what was said too fast; a window that
    /// they make narrower is kept in mind for when they go.
    void reshape(const Shaping& shaping);

    Learned learned(Time now) const;
    void recall(const Learned& learned, Time now);
    bool has_learned() const { return had_event_ || ceiling_ > 0; }

 private:
    static constexpr std::size_t kSeconds = 8;  // the sliding window over which acceptance is measured

    double bounded_rate(double rate) const;
    void note_accepted(Time now);
    double accepted_rate(Time now) const;
    void window_clean(Time now, std::size_t busy);
    std::size_t window_most(Time now) const {
        return now < careful_until_ ? std::min(careful_window_, shaping_.window_max) : shaping_.window_max;
    }
    void step_down();
    void close(Time now, Milliseconds first);
    void rate_clean(Time now);
    void idle_day(Time now);
    void recall_care(const Learned& learned, Time now);

    Shaping shaping_;
    std::size_t window_;
    std::size_t window_safe_;     // after a closed lane: the slow start ends here
    std::size_t wide_ = 0;        // what the window was before it was bounded; 0: it is not
    std::size_t credit_ = 0;      // clean deliveries towards the next step
    std::size_t run_ = 0;         // refusals in a row
    std::size_t run_window_ = 1;  // the window at which the run began
    std::size_t bare_run_ = 0;    // turned away without a reason, in a row
    unsigned spacing_ = kSpacingMin;
    bool had_event_ = false;
    bool probing_ = false;     // the window is one more than what is known to be good
    bool slow_start_ = false;  // +1 per window again, up to window_safe_

    double rate_ = 0;
    double ceiling_ = 0;
    unsigned rate_spacing_ = kSpacingMin;
    Time tat_{};  // GCRA: theoretical arrival time of the next transaction
    Time last_cut_{};
    Time last_growth_{};
    Time last_event_{};
    std::array<std::uint32_t, kSeconds> accepted_{};
    std::int64_t accepted_second_ = 0;
    Time accepted_since_{};

    Time careful_until_{};  // up to then no more than careful_window_
    std::size_t careful_window_ = 1;
    bool held_back_ = false;  // and kFewMessages
    std::size_t reuse_max_ = 0;
    Time reuse_until_{};
    Milliseconds rest_{0};    // the last pause of that kind

    Time paused_until_{};
    bool closed_ = false;
    bool probing_closed_ = false;
    Time probe_at_{};
    Milliseconds probe_delay_{0};  // grows until something was delivered
    std::uint64_t closings_ = 0;
    std::size_t failures_ = 0;  // connections that failed in a row
    Time bold_at_{};
    std::uint64_t refusals_ = 0;
};

}  // namespace posthouse::relay
