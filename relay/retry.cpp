#include "relay/retry.h"

#include <algorithm>
#include <span>

#include "protocols/base/ascii.h"

namespace posthouse::relay {

namespace {

using bounce::ReplyClass;
using storage::WaitCause;

constexpr int kGreylist[] = {5, 7, 8, 15};
constexpr int kQuota[] = {60, 240, 480};
constexpr int kDns[] = {2, 5, 10, 20, 40, 60};
constexpr int kDefault[] = {5, 10, 20, 40, 60, 120, 240};

std::span<const int> schedule_of(ReplyClass what) {
    switch (what) {
        case ReplyClass::greylisted: return kGreylist;
        case ReplyClass::mailbox_full: return kQuota;
        case ReplyClass::dns: return kDns;
        default: return kDefault;
    }
}

WaitCause cause_of(ReplyClass what) {
    switch (what) {
        case ReplyClass::greylisted: return WaitCause::greylist;
        case ReplyClass::mailbox_full: return WaitCause::mailbox_full;
        case ReplyClass::dns: return WaitCause::dns;
        case ReplyClass::tls: return WaitCause::security;
        default: return WaitCause::retry;
    }
}

// Too many at once, or too many a while? Only the words tell.
bool speaks_of_connections(std::string_view text) {
    const std::string lower = ascii::to_lower(text);
    return lower.contains("connection") || lower.contains("concurren") || lower.contains("sessions");
}

bounce::Classification classify(const Verdict& verdict, std::string_view host, std::uint32_t attempts) {
    bounce::ReplyFacts facts;
    facts.code = verdict.code;
    facts.enhanced = verdict.enhanced;
    facts.text = verdict.reply;
    facts.host = host;
    facts.first_contact = attempts == 0;
    return bounce::classify(facts);
}

// What keeps us from opening a connection is the lane's trouble, but for what one domain asks: its names, its policy.
bool is_of_the_lane(ReplyClass what) {
    return what != ReplyClass::dns && what != ReplyClass::tls && what != ReplyClass::policy &&
           what != ReplyClass::ip_blocked;
}

}  // namespace

bool turns_away(const Verdict& verdict, std::string_view host) {
    if (!verdict.from_remote || verdict.code != 421) return false;
    const bounce::Classification found = classify(verdict, host, 1);
    if (found.what == ReplyClass::throttled) return found.is_bare && found.pace == bounce::Pace::usual;
    return found.what == ReplyClass::network || found.what == ReplyClass::protocol || found.what == ReplyClass::other;
}

bool names_our_pace(const Verdict& verdict, std::string_view host) {
    if (!verdict.from_remote || verdict.fate == Fate::delivered) return false;
    const bounce::Classification found = classify(verdict, host, 1);
    return found.what == ReplyClass::throttled && !found.permanent && !found.is_bare;
}

Milliseconds retry_wait(ReplyClass what, std::uint32_t attempts, Random& random) {
    const std::span<const int> minutes = schedule_of(what);
    const std::size_t step = std::min<std::size_t>(attempts > 0 ? attempts - 1 : 0, minutes.size() - 1);
    const double jitter = 0.9 + 0.2 * static_cast<double>(random.below(10'001)) / 10'000.0;
    return Milliseconds(static_cast<std::int64_t>(minutes[step] * 60'000 * jitter));
}

Aftermath judge(const Verdict& verdict, std::string_view host, Stage stage, std::uint32_t attempts, Random& random) {
    Aftermath out;
    if (verdict.fate == Fate::delivered) {
        out.what = ReplyClass::delivered;
        out.signal = LaneSignal::clean;
        return out;
    }
    const bounce::Classification found = classify(verdict, host, attempts);
    out.what = found.what;
    out.named = found.wait;
    const bool is_throttled = found.what == ReplyClass::throttled && !found.permanent;
    if (is_throttled && found.pace == bounce::Pace::group) {
        out.signal = LaneSignal::hold_back;
        out.cause = WaitCause::lane_rate;
        out.stays_in_lane = true;
        return out;
    }
    if (is_throttled && found.pace == bounce::Pace::few) {
        out.signal = LaneSignal::few;
        out.slower = stage == Stage::transaction && !speaks_of_connections(verdict.reply);
        out.cause = WaitCause::lane_window;
        out.stays_in_lane = true;
        return out;
    }
    if (is_throttled && found.pace != bounce::Pace::recipient) {
        const bool connections = stage == Stage::opening || speaks_of_connections(verdict.reply);
        out.signal = connections ? LaneSignal::window : found.is_bare ? LaneSignal::turned_away : LaneSignal::rate;
        out.cause = out.signal == LaneSignal::rate ? WaitCause::lane_rate : WaitCause::lane_window;
        out.stays_in_lane = true;
        return out;
    }
    if (verdict.fate == Fate::failed) return out;
    // A greeting that finds fault with our address for now is said to each connection: that is the lane's, too.
    const bool for_now = found.what == ReplyClass::ip_blocked && verdict.from_remote && verdict.code < 500;
    if (stage == Stage::opening && (for_now || is_of_the_lane(found.what))) {
        // 421 at the banner: they let nobody in just now, whatever they call it. Everything else closes the lane.
        out.signal = verdict.from_remote ? LaneSignal::window : LaneSignal::unreachable;
        out.cause = verdict.from_remote ? WaitCause::lane_window : WaitCause::network;
        out.stays_in_lane = true;
        out.wait = retry_wait(found.what, attempts + 1, random);  // where the lane stays open after all
        return out;
    }
    out.cause = cause_of(found.what);
    out.wait = retry_wait(found.what, attempts + 1, random);
    if (out.named) out.wait = std::clamp(*out.named, kWaitMin, kWaitMax);
    return out;
}

}  // namespace posthouse::relay
