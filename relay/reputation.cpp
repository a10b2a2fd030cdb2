#include "relay/reputation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/transport.h"

namespace posthouse::relay {

using storage::Reputation;
using storage::Standing;

namespace {

double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : std::min(1.0, static_cast<double>(part) / static_cast<double>(whole));
}

constexpr double kListTakes = 25;
constexpr double kTakesWatched = 100 - kScoreWatched + 1;  // so much alone makes it watched
constexpr double kTakesDrained = 100 - kScoreDrained;      // and so much drains it

// A share between its marks: less than "watched" below the first, "drained" from the second on.
double graded(double of, double mark, double stop) {
    if (of >= stop) return kTakesDrained;
    if (of < mark) return (kTakesWatched - 2) * of / mark;
    return kTakesWatched + (kTakesDrained - kTakesWatched - 1) * (of - mark) / (stop - mark);
}

double of_complaints(const Counts& c) {
    if (c.tried < kVolumeComplaints || c.complained < kComplaintsWatched) return 0;
    const double takes = graded(share(c.complained, c.tried), kComplaintMark, kComplaintStop);
    return c.complained < kComplaintsStop ? std::min(takes, kTakesWatched) : takes;
}

// A slow hour is no reason to leave; days of it are.
double of_deferrals(const Counts& c, bool is_sustained) {
    const double of = share(c.deferred, c.tried);
    if (of < 0.5) return (kTakesWatched - 2) * of / 0.5;
    return is_sustained ? kTakesDrained : kTakesWatched;
}

double of_unknown(const Counts& c) {
    const double takes = graded(share(c.bounced, c.tried), 0.10, 0.30);
    return c.tried < kVolumeWindow ? std::min(takes, kTakesWatched) : takes;
}

// How much a window takes from the score, and what takes most: that counts whole, the others half.
double penalty_of(const Counts& c, std::string_view window, bool is_sustained, std::string& why) {
    struct Part {
        double takes;
        std::uint64_t count;
        std::string_view what;
    };
    const Part parts[] = {
        {kTakesDrained * std::min(1.0, share(c.blocked, c.tried) / 0.10), c.blocked, "were refused for our address"},
        {of_complaints(c), c.complained, "called it spam"},
        {of_deferrals(c, is_sustained), c.deferred, "were put off as too fast"},
        {of_unknown(c), c.bounced, "do not exist"}};
    double sum = 0;
    const Part* worst = &parts[0];
    for (const Part& part : parts) {
        sum += part.takes;
        if (part.takes > worst->takes) worst = &part;
    }
    if (worst->takes > 0) {
        why = fmt::format("{} of {} recipients in {} {}", worst->count, c.tried, window, worst->what);
    }
    return (worst->takes + sum) / 2;
}

Reputation turn(Reputation out, Standing standing, Time now, std::string why) {
    if (standing == Standing::drained) ++out.falls;
    if (standing == Standing::healthy) out.falls = 0;
    out.standing = standing;
    out.step = 0;
    out.since = now;
    out.clean = 0;
    out.why = std::move(why);
    return out;
}

std::string names_of(const std::vector<std::string>& lists) { return fmt::format("{}", fmt::join(lists, ", ")); }

Reputation judge_probation(Reputation out, const StandingFacts& facts, Time now) {
    if (facts.fresh.blocked > 0) {
        return turn(std::move(out), Standing::drained, now, "it was refused again while on probation");
    }
    // What was said before it fell was answered: this is new.
    std::string why;
    const int score = score_of(facts, why);
    if (score <= kScoreDrained) {
        out.score = score;
        return turn(std::move(out), Standing::drained, now, std::move(why));
    }
    out.clean += facts.fresh_clean;
    const bool is_last = out.step + 1 >= storage::kProbationPercent.size();
    const Milliseconds takes = is_last ? Milliseconds(kLastStepTime) : Milliseconds(kStepTime);
    if (now - out.since < takes || out.clean < kStepClean) return out;
    if (is_last) {
        out.score = 100;
        return turn(std::move(out), Standing::healthy, now, "");
    }
    ++out.step;
    out.since = now;
    out.clean = 0;
    out.why = fmt::format("on probation: it takes {} % of the mail", storage::kProbationPercent[out.step]);
    return out;
}

}  // namespace

Milliseconds rest_of_fall(std::uint32_t falls) {
    const std::uint32_t steps = std::min<std::uint32_t>(falls > 0 ? falls - 1 : 0, 10);
    return std::min<Milliseconds>(Milliseconds(kRestFirst) * (std::int64_t{1} << steps), Milliseconds(kRestMax));
}

bool is_spoilt(std::uint64_t complained, std::uint64_t tried) {
    return complained >= kComplaintsWatched && share(complained, tried) >= kComplaintMark;
}

int score_of(const StandingFacts& facts, std::string& why) {
    double worst = 0;
    const bool is_sustained = facts.deferred_days >= kDeferredDays;
    const auto weigh = [&](const Counts& counts, bool speaks, std::string_view window) {
        std::string reason;
        const double takes = speaks ? penalty_of(counts, window, is_sustained, reason) : 0;
        if (takes <= worst) return;
        worst = takes;
        why = std::move(reason);
    };
    weigh(facts.day, facts.day.tried >= kVolumeDay || facts.day.blocked >= kBlockedAlone, "a day");
    // What is refused once a day, at each try, is refused.
    weigh(facts.week, facts.week.tried >= kVolumeWindow || facts.week.blocked >= kBlockedAlone, "7 days");
    weigh(facts.month, facts.month.tried >= kVolumeWindow, "30 days");
    double out = 100 - worst;
    if (!facts.lists.empty()) {
        out -= kListTakes;
        if (worst < kListTakes) why = "listed by " + names_of(facts.lists);
    }
    return static_cast<int>(std::clamp(out, 0.0, 100.0));
}

Reputation judge_standing(Reputation out, const StandingFacts& facts, Time now) {
    if (out.by_hand && out.standing == Standing::drained) return out;
    // At one provider a listing only weighs: it is the row for everywhere that falls by lists.
    const bool is_listed = out.provider.empty() && (facts.is_spamhaus || facts.lists.size() >= 2);
    if (is_listed) {
        const std::string why = "listed by " + names_of(facts.lists);
        out.score = 0;
        if (out.standing != Standing::drained) return turn(std::move(out), Standing::drained, now, why);
        out.why = why;
        return out;
    }
    if (out.standing == Standing::drained) {
        // What a list said is over with the listing; what receivers said, or what comes again, after a while.
        const bool is_over = out.provider.empty() && out.falls <= 1;
        if (!is_over && now - out.since < rest_of_fall(out.falls)) return out;
        out.score = kScoreDrained;
        out.from_day = std::max(out.from_day, storage::day_of(out.since) + 1);
        return turn(std::move(out), Standing::probation, now, "on probation: it takes 1 % of the mail");
    }
    if (out.standing == Standing::probation) return judge_probation(std::move(out), facts, now);
    std::string why;
    out.score = score_of(facts, why);
    if (out.score <= kScoreDrained) return turn(std::move(out), Standing::drained, now, why);
    const bool is_watched = out.standing == Standing::watched;
    if (out.score < kScoreWatched && !is_watched) return turn(std::move(out), Standing::watched, now, why);
    if (out.score >= kScoreHealthy && is_watched) return turn(std::move(out), Standing::healthy, now, why);
    out.why = why;
    return out;
}

// ---- counting

ReputationBook::ReputationBook(Metrics& metrics)
    : metrics_(metrics),
      drained_(metrics.counter("relay_addresses_drained_total", "Times an address of ours was drained")) {}

namespace {
std::string source_of(const Target& target) { return target.source ? target.source->to_string() : std::string(); }

storage::WarmUp& warm_up_in(storage::RoutePicture& picture, const std::string& source, const std::string& provider) {
    for (storage::WarmUp& one : picture.book.warm_ups) {
        if (one.source == source && one.provider == provider) return one;
    }
    storage::WarmUp& fresh = picture.book.warm_ups.emplace_back();
    fresh.source = source;
    fresh.provider = provider;
    return fresh;
}

bool is_warming(const storage::RoutePicture& picture, const std::string& source) {
    return std::ranges::any_of(picture.addresses, [&](const storage::SourceAddress& one) {
        return one.address == source && one.warm_since != Time{};
    });
}
}  // namespace

ReputationBook::Hour& ReputationBook::hour_of(const Key& key, const storage::RoutePicture& picture, Time now) {
    const std::int64_t hour = storage::hour_number(now);
    const auto [at, is_new] = hours_.try_emplace(key);
    Hour& out = at->second;
    if (is_new) {
        const storage::WarmUp* const known = picture.book.warm_up(key.first, key.second);
        if (known != nullptr && known->hour == hour) out.used = known->hour_used;
    } else if (out.hour != hour) {
        if (out.unwritten > 0) used_.push_back(Used{key, out.hour, std::exchange(out.unwritten, 0)});
        out.used = 0;
    }
    out.hour = hour;
    return out;
}

void ReputationBook::apply(storage::RoutePicture& picture, Time now) {
    const std::int64_t hour = storage::hour_number(now);
    for (const auto& [key, used] : hours_) {
        if (used.hour != hour) continue;
        storage::WarmUp& one = warm_up_in(picture, key.first, key.second);
        one = storage::turn_day(one, now);
        one.hour_used = std::max(one.hour == hour ? one.hour_used : 0, used.used);
        one.hour = hour;
    }
    for (Reputation& one : picture.book.standings) {
        const auto used = last_uses_.find(Key(one.source, one.provider));
        if (used != last_uses_.end()) one.last_use = std::max(one.last_use, used->second);
    }
}

void ReputationBook::taken(const Target& target, storage::RoutePicture& picture, Time now) {
    if (!target.is_mx()) return;
    const std::string source = source_of(target);
    if (is_warming(picture, source)) {
        Hour& hour = hour_of(Key(source, target.provider), picture, now);
        ++hour.used;
        ++hour.unwritten;
        storage::WarmUp& one = warm_up_in(picture, source, target.provider);
        one = storage::turn_day(one, now);
        one.hour = hour.hour;
        one.hour_used = hour.used;
    }
    for (Reputation& one : picture.book.standings) {
        const bool concerns = one.source == source && (one.provider.empty() || one.provider == target.provider);
        if (!concerns || one.standing != Standing::probation) continue;
        one.last_use = now;
        last_uses_[Key(one.source, one.provider)] = now;
    }
}

void ReputationBook::untaken(const Target& target, std::size_t recipients) {
    const auto found = hours_.find(Key(source_of(target), target.provider));
    if (found == hours_.end()) return;
    Hour& hour = found->second;
    const std::uint64_t back = std::min<std::uint64_t>(hour.unwritten, recipients);
    hour.used -= std::min(hour.used, back);
    hour.unwritten -= back;
}

ReputationBook::Tally& ReputationBook::tally_of(const Key& key, Time now) {
    const std::int64_t day = storage::day_of(now);
    Tally& out = tallies_[DayKey(day, key)];
    out.day.source = key.first;
    out.day.provider = key.second;
    out.day.day = day;
    return out;
}

void ReputationBook::note(const Target& target, const std::vector<SaidClass>& said, Time now) {
    using bounce::ReplyClass;
    if (!target.is_mx() || target.provider.empty()) return;
    const Key key(source_of(target), target.provider);
    Tally& tally = tally_of(key, now);
    Tally& everywhere = tally_of(Key(key.first, ""), now);
    const auto spoil = [&] { bad_days_.emplace(tally.day.day, key); };
    for (const SaidClass& one : said) {
        tally.day.tried.add(one.address);
        everywhere.day.tried.add(one.address);
        switch (one.what) {
            case ReplyClass::delivered:
                ++tally.clean;
                ++everywhere.clean;
                break;
            case ReplyClass::ip_blocked: {
                const bool is_one = target.provider != storage::kOtherProviders || one.network.empty();
                const std::string& who = is_one ? one.address : one.network;
                tally.day.blocked.add(who);
                everywhere.day.blocked.add(who);
                spoil();
                is_urgent_ = true;
                break;
            }
            case ReplyClass::throttled:
                tally.day.deferred.add(one.address);
                spoil();
                break;
            // No fault of the address, but nobody should send more before it is mended.
            case ReplyClass::sender_auth: spoil(); break;
            case ReplyClass::recipient_unknown: tally.day.bounced.add(one.address); break;
            default: break;
        }
    }
}

}  // namespace posthouse::relay
