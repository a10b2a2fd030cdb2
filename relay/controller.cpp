#include "relay/controller.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace posthouse::relay {

namespace {

constexpr double kBurst = 2;              // transactions that may come together without breaking the rate
constexpr double kQueueSlope = 0.023;     // connections by queue length: 1 - e^(-slope q)
constexpr Milliseconds kRunGrace{1'000};  // what was under way when the rate was cut says nothing new
constexpr double kGrowthPerMinute = 0.05;
constexpr double kGrowthPerMinuteFree = 0.5;  // once the old ceiling proved wrong
constexpr double kStepShare = 0.012;          // of the ceiling, divided by the spacing, for each clean delivery
constexpr Milliseconds kDay{24 * 3'600'000LL};
constexpr Milliseconds kLongBacklog{15 * 60'000};
constexpr std::size_t kFailuresToClose = 3;

double seconds(Milliseconds span) { return static_cast<double>(span.count()) / 1000.0; }
Milliseconds from_seconds(double s) { return Milliseconds(static_cast<std::int64_t>(std::ceil(s * 1000.0))); }
std::int64_t second_of(Time t) { return to_unix_ms(t) / 1000; }

}  // namespace

std::string_view to_string(LaneState state) {
    switch (state) {
        case LaneState::open: return "open";
        case LaneState::slowed: return "slowed";
        case LaneState::paused: return "paused";
        case LaneState::closed: return "closed";
    }
    return "unknown";
}

LaneController::LaneController(const Shaping& shaping, Time now)
    : shaping_(shaping),
      window_(std::clamp<std::size_t>(shaping.window_start, 1, std::max<std::size_t>(shaping.window_max, 1))),
      window_safe_(window_),
      rate_(shaping.rate_max),
      last_growth_(now),
      last_event_(now),
      accepted_second_(second_of(now)),
      accepted_since_(now),
      bold_at_(now) {}

Time LaneController::earliest(Time now) const {
    if (closed_) return probing_closed_ ? now + probe_delay_ : std::max(probe_at_, paused_until_);
    Time at = paused_until_;
    if (rate_ > 0) at = std::max(at, tat_ - from_seconds((kBurst - 1) / rate_));
    return at;
}

void LaneController::take(Time now) {
    if (closed_) probing_closed_ = true;
    if (rate_ > 0) tat_ = std::max(tat_, now) + from_seconds(1 / rate_);
}

std::size_t LaneController::connections_wanted(std::size_t queued, Time now) const {
    if (queued == 0) return 0;
    if (closed_) return earliest(now) <= now ? 1 : 0;
    const double share = 1 - std::exp(-kQueueSlope * static_cast<double>(queued));
    const auto worth = static_cast<std::size_t>(std::ceil(static_cast<double>(shaping_.window_max) * share));
    return std::min(window_, std::max<std::size_t>(worth, 1));
}

void LaneController::connected(Time now) {
    failures_ = 0;
    if (!closed_) return;
    closed_ = false;
    probing_closed_ = false;
    window_safe_ = std::clamp<std::size_t>(window_, 1, window_most(now));
    window_ = 1;
    credit_ = 0;
    slow_start_ = true;
    last_event_ = now;
}

void LaneController::delivered(Time now, std::size_t busy) {
    connected(now);
    idle_day(now);
    probe_delay_ = Milliseconds(0);
    run_ = 0;
    bare_run_ = 0;
    note_accepted(now);
    window_clean(now, busy);
    rate_clean(now);
}

// A step needs a window in use: credit that was not used proves nothing.
void LaneController::window_clean(Time now, std::size_t busy) {
    if (busy + 1 < window_) return;
    ++credit_;
    const bool quick = !had_event_ || slow_start_;
    if (credit_ < (quick ? window_ : window_ * spacing_)) return;
    credit_ = 0;
    if (probing_ && !slow_start_) {
        probing_ = false;
        spacing_ = std::max(kSpacingMin, spacing_ / 2);
    }
    if (window_ >= window_most(now)) return;
    ++window_;
    if (slow_start_ && window_ >= window_safe_) slow_start_ = false;
    probing_ = had_event_ && !slow_start_;
}

void LaneController::refused_window(Time now, std::size_t others) {
    ++refusals_;
    had_event_ = true;
    last_event_ = now;
    failures_ = 0;
    if (others == 0 || closed_) {
        close(now, kProbeFirstRefused);
    } else {
        step_down();
    }
}

void LaneController::turned_away(Time now, std::size_t others) {
    ++refusals_;
    last_event_ = now;
    failures_ = 0;
    if (others == 0 || closed_) {
        bare_run_ = 0;
        close(now, kProbeFirstRefused);
    } else if (++bare_run_ >= window_) {
        bare_run_ = 0;
        had_event_ = true;
        step_down();
    }
}

void LaneController::step_down() {
    wide_ = 0;  // this is news
    credit_ = 0;
    slow_start_ = false;
    if (run_ == 0) run_window_ = window_;
    ++run_;
    if (run_ == 1) {
        if (probing_) spacing_ = std::min(kSpacingMax, spacing_ * 2);
        probing_ = false;
        window_ = std::max<std::size_t>(window_ - 1, 1);
    } else if (run_ % std::max<std::size_t>(run_window_, 1) == 0) {
        window_ = std::max<std::size_t>(window_ / 2, 1);
        run_window_ = window_;
    }
}

void LaneController::close(Time now, Milliseconds first) {
    if (closed_ && !probing_closed_) return;  // what was under way when it closed says nothing new
    // Let in and turned away again is no better than not let in.
    probe_delay_ = std::clamp(probe_delay_ * 2, first, kProbeMax);
    wide_ = 0;
    if (!closed_) ++closings_;
    closed_ = true;
    probing_closed_ = false;
    probe_at_ = now + probe_delay_;
}

void LaneController::refused_rate(Time now) {
    connected(now);  // whoever says "too fast" can be reached
    ++refusals_;
    last_event_ = now;
    // What was sent before the last cut came back: no news.
    const Milliseconds grace = std::max(kRunGrace, rate_ > 0 ? from_seconds(kBurst / rate_) : kRunGrace);
    if (ceiling_ > 0 && now - last_cut_ < grace) return;
    const double measured = std::max(accepted_rate(now), kRateMin);
    // The first cut on a lane where little went says next to nothing of what it would take.
    const double was =
        rate_ > 0 ? std::min(rate_, std::max(measured, rate_ * kRateCut)) : std::max(measured, kRateFirst);
    if (ceiling_ > 0 && was > ceiling_ * kRateNear * kRateNear) {
        rate_spacing_ = std::min(kSpacingMax, rate_spacing_ * 2);  // a probe at the ceiling was refused
    }
    ceiling_ = was;
    rate_ = std::max(was * kRateCut, kRateMin);
    tat_ = std::max(tat_, now + from_seconds(1 / rate_));
    last_cut_ = now;
    last_growth_ = now;
}

// Quickly back to just below the ceiling; from there in steps that count deliveries, not minutes, so that a slow lane
// is not refused more often than a fast one.
void LaneController::rate_clean(Time now) {
    if (rate_ <= 0 || ceiling_ <= 0) return;
    const double span = seconds(now - last_growth_);
    last_growth_ = now;
    if (rate_ < ceiling_ * kRateNear) {
        const double back = std::max(10.0, 20 / ceiling_);  // seconds from the cut to the ceiling
        rate_ = bounded_rate(std::min(ceiling_ * kRateNear, rate_ + ceiling_ * (1 - kRateCut) * span / back));
        return;
    }
    const bool is_free = rate_ > ceiling_ * 1.05;  // the far side takes more than it did
    if (is_free) {
        ceiling_ = rate_;
        rate_spacing_ = std::max(kSpacingMin, rate_spacing_ / 2);
    }
    const double by_count = ceiling_ * kStepShare / rate_spacing_;
    const double by_time =
        ceiling_ * (rate_spacing_ == kSpacingMin ? kGrowthPerMinuteFree : kGrowthPerMinute) * span / 60;
    rate_ += std::min(by_count, by_time);
    rate_ = bounded_rate(rate_);
}

void LaneController::hold_back(Time now) {
    connected(now);  // whoever says so can be reached
    ++refusals_;
    last_event_ = now;
    had_event_ = true;
    const bool is_new = now >= paused_until_;  // others that were under way bring no news
    if (now >= careful_until_) rest_ = Milliseconds(0);
    window_ = window_safe_ = run_window_ = 1;
    wide_ = 0;
    credit_ = 0;
    slow_start_ = probing_ = false;
    careful_window_ = 1;
    held_back_ = true;
    if (is_new || rest_.count() == 0) {
        rest_ = std::clamp(rest_ * 2, kHoldBackFirst, kPauseMax);
        paused_until_ = std::max(paused_until_, now + rest_);
    }
    careful_until_ = std::max(careful_until_, paused_until_ + kCareful);
}

void LaneController::limit(Time now, std::size_t others) {
    constexpr std::size_t kLimited = 2;
    if (now >= careful_until_) held_back_ = false;
    careful_window_ = held_back_ ? 1 : kLimited;
    careful_until_ = std::max(careful_until_, now + kCareful);
    window_ = std::min(window_, careful_window_);
    wide_ = 0;
    refused_window(now, others);
    window_safe_ = std::min(window_safe_, careful_window_);
}

bool LaneController::unreachable(Time now, std::size_t others) {
    ++refusals_;
    ++failures_;
    last_event_ = now;
    if (closed_ || others == 0 || failures_ >= std::max(kFailuresToClose, window_)) {
        close(now, kProbeFirst);
    } else {
        had_event_ = true;  // others are let in: there is a bound, and every host keeps to it
        step_down();
    }
    return closed_;
}

void LaneController::backlog_age(Time now, Milliseconds oldest) {
    if (oldest < kLongBacklog || now - bold_at_ < kLongBacklog) return;
    bold_at_ = now;
    spacing_ = kSpacingMin;
    rate_spacing_ = std::max(kSpacingMin, rate_spacing_ / 2);
}

void LaneController::idle_day(Time now) {
    if (now - last_event_ < kDay) return;
    last_event_ = now;
    spacing_ = kSpacingMin;
    rate_spacing_ = kSpacingMin;
}

void LaneController::note_accepted(Time now) {
    const std::int64_t second = second_of(now);
    if (second - accepted_second_ >= static_cast<std::int64_t>(kSeconds)) {
        accepted_.fill(0);
        if (second - accepted_second_ > static_cast<std::int64_t>(4 * kSeconds)) accepted_since_ = now;
    } else {
        for (std::int64_t s = accepted_second_ + 1; s <= second; ++s) {
            accepted_[static_cast<std::size_t>(s) % kSeconds] = 0;
        }
    }
    accepted_second_ = second;
    ++accepted_[static_cast<std::size_t>(second) % kSeconds];
}

// Over the last seconds, or as long as there was traffic at all.
double LaneController::accepted_rate(Time now) const {
    const std::int64_t second = second_of(now);
    if (second - accepted_second_ >= static_cast<std::int64_t>(kSeconds)) return 0;
    double sum = 0;
    for (const std::uint32_t count : accepted_) sum += count;
    return sum / std::clamp(seconds(now - accepted_since_), 1.0, static_cast<double>(kSeconds));
}

LaneState LaneController::state(Time now) const {
    if (closed_) return LaneState::closed;
    if (paused_until_ > now) return LaneState::paused;
    return rate_ > 0 ? LaneState::slowed : LaneState::open;
}

double LaneController::bounded_rate(double rate) const {
    return shaping_.rate_max > 0 ? std::min(rate, shaping_.rate_max) : rate;
}

void LaneController::reshape(const Shaping& shaping) {
    const Shaping before = std::exchange(shaping_, shaping);
    const std::size_t most = std::max<std::size_t>(shaping.window_max, 1);
    if (window_ > most) {
        wide_ = std::max(wide_, window_);
        window_ = most;
    } else if (window_ >= before.window_max && wide_ > window_) {  // the bound held it, and nothing else
        window_ = std::min(wide_, most);
    }
    window_safe_ = std::min(window_safe_, most);
    if (wide_ <= window_) wide_ = 0;
    if (shaping.rate_max == before.rate_max) return;
    const bool was_bound = before.rate_max > 0 && rate_ >= before.rate_max;
    if (was_bound || rate_ <= 0) rate_ = ceiling_ > 0 ? ceiling_ * kRateNear : shaping.rate_max;
    rate_ = bounded_rate(rate_);
}

Learned LaneController::learned(Time now) const {
    Learned out;
    if (had_event_) out.window = std::max({window_, wide_, slow_start_ ? window_safe_ : window_});
    out.rate = ceiling_;
    out.spacing = spacing_;
    out.at = now;
    if (now >= careful_until_) return out;
    out.careful_until = careful_until_;
    out.careful_window = careful_window_;
    out.held_back = held_back_;
    out.rest = rest_;
    return out;
}

void LaneController::recall_care(const Learned& learned, Time now) {
    if (learned.careful_window == 0 || now >= learned.careful_until) return;
    careful_until_ = std::min(learned.careful_until, now + kPauseMax + kCareful);
    careful_window_ = learned.careful_window;
    held_back_ = learned.held_back;
    rest_ = std::min(learned.rest, kPauseMax);
    window_ = std::min(window_, careful_window_);
    window_safe_ = std::min(window_safe_, careful_window_);
    wide_ = 0;
}

// What was learned long ago binds less: half of the way to "no limit" in a half-life.
void LaneController::recall(const Learned& learned, Time now) {
    const double age = std::max(0.0, seconds(now - learned.at) / seconds(kMemoryHalfLife));
    if (age > 5) return;  // a day of care is over, too
    const double kept = std::exp2(-age);
    if (learned.window > 0) {
        had_event_ = true;
        spacing_ = age > 0.5 ? kSpacingMin : std::clamp(learned.spacing, kSpacingMin, kSpacingMax);
        const auto most = static_cast<double>(shaping_.window_max);
        const double faded = most - (most - static_cast<double>(learned.window)) * kept;
        window_ =
            std::clamp<std::size_t>(static_cast<std::size_t>(faded), 1, std::max<std::size_t>(shaping_.window_max, 1));
        window_safe_ = window_;
        const auto before = std::max<std::size_t>(static_cast<std::size_t>(faded), learned.window);
        wide_ = before > window_ ? before : 0;
    }
    if (learned.rate > 0) {
        ceiling_ = std::max(learned.rate / kept, kRateMin);
        rate_ = bounded_rate(ceiling_ * kRateNear);
        last_growth_ = now;
    }
    recall_care(learned, now);
}

}  // namespace posthouse::relay
