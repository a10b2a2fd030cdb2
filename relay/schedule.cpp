#include "relay/schedule.h"

#include <algorithm>

namespace posthouse::relay {

namespace {

// Of several signals in one transaction the lane hears the gravest.
int gravity(LaneSignal signal) {
    switch (signal) {
        case LaneSignal::none: return 0;
        case LaneSignal::clean: return 1;
        case LaneSignal::turned_away: return 2;
        case LaneSignal::window: return 3;
        case LaneSignal::rate: return 4;
        case LaneSignal::few: return 5;
        case LaneSignal::hold_back: return 6;
        case LaneSignal::unreachable: return 7;
    }
    return 0;
}

}  // namespace

LaneSignal gravest_of(std::span<const Aftermath> all) {
    LaneSignal out = LaneSignal::none;
    for (const Aftermath& one : all) {
        if (gravity(one.signal) > gravity(out)) out = one.signal;
    }
    return out;
}

std::optional<Parcel> LaneSchedule::take(Time now, std::size_t recipients_max) {
    if (queue_.empty() || !controller_.may_take(now)) return std::nullopt;
    auto parcel = queue_.take(recipients_max);
    if (!parcel) return std::nullopt;
    controller_.take(now);
    ++busy_;
    return parcel;
}

void LaneSchedule::opened(Time now) {
    ++open_;
    controller_.connected(now);
}

void LaneSchedule::reshape(const Shaping& shaping) {
    shaping_ = shaping;
    controller_.reshape(shaping);
}

// False where the lane goes on although nobody was reached: then it is that message's trouble.
bool LaneSchedule::learn(const Aftermath& after, Stage stage, Time now) {
    // Besides the one that was refused, which counts as open until its worker has closed it.
    const std::size_t others = stage == Stage::opening || open_ == 0 ? open_ : open_ - 1;
    if (after.signal == LaneSignal::hold_back) controller_.hold_back(now);
    if (after.named && after.stays_in_lane) controller_.pause(now, *after.named);
    switch (after.signal) {
        case LaneSignal::none: controller_.probe_over(); break;
        case LaneSignal::clean: controller_.delivered(now, busy_); break;
        case LaneSignal::window: controller_.refused_window(now, others); break;
        case LaneSignal::turned_away: controller_.turned_away(now, others); break;
        case LaneSignal::rate: controller_.refused_rate(now); break;
        case LaneSignal::few:
            if (after.slower) controller_.refused_rate(now);
            controller_.limit(now, others);
            break;
        case LaneSignal::hold_back: break;
        case LaneSignal::unreachable: return controller_.unreachable(now, others);
    }
    return true;
}

std::vector<Aftermath> LaneSchedule::settle(std::span<const Said> all, std::string_view host, Stage stage, Time now,
                                            Random& random) {
    std::vector<Aftermath> out;
    std::size_t gravest = 0;
    for (const Said& one : all) {
        out.push_back(judge(one.verdict, host, stage, one.attempts, random));
        if (gravity(out.back().signal) > gravity(out[gravest].signal)) gravest = out.size() - 1;
    }
    if (out.empty()) return out;
    const LaneSignal signal = out[gravest].signal;
    const bool lane_has_it = learn(out[gravest], stage, now);
    if (gravity(signal) > gravity(LaneSignal::clean)) {
        why_ = all[gravest].verdict.reply;
        cause_ = out[gravest].cause;
    }
    if (!lane_has_it) {
        for (Aftermath& one : out) {
            if (one.signal != LaneSignal::unreachable) continue;
            one.stays_in_lane = false;
            one.cause = storage::WaitCause::retry;
        }
    }
    return out;
}

storage::WaitCause LaneSchedule::cause(Time now) const {
    switch (controller_.state(now)) {
        case LaneState::closed: return cause_ == storage::WaitCause::lane_window ? cause_ : storage::WaitCause::network;
        case LaneState::paused: return storage::WaitCause::lane_rate;
        case LaneState::slowed:
            return controller_.may_take(now) ? storage::WaitCause::lane_window : storage::WaitCause::lane_rate;
        case LaneState::open: break;
    }
    return storage::WaitCause::lane_window;
}

}  // namespace posthouse::relay
