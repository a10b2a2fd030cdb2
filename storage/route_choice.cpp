#include "storage/route_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "protocols/base/ascii.h"

namespace posthouse::storage {

namespace {

// One walk over the steps of a route.
class Chooser {
 public:
    /// `heeds_checks`: ways that were found dead without mail are passed over.
    Chooser(const RoutePicture& picture, const ChoiceInput& input, bool heeds_checks)
        : picture_(picture), input_(input), heeds_checks_(heeds_checks) {}

    bool has_heeded() const { return has_heeded_; }

    Choice run() {
        const Route* const route = match_route(picture_.routes, input_.mail);
        if (route == nullptr) {
            out_.why = "no route fits, so it goes directly";
            steps_.resize(1);
            steps_.front().shares.push_back(Step::Share{"direct", 1});
        } else {
            out_.route = route->name;
            out_.why = fmt::format("route \"{}\" (priority {}) applies because {}", route->name, route->priority,
                                   conditions_of(*route));
            steps_ = route->steps;
        }
        count_ways();
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            // Where nothing stands behind it, a message that was let go is held again: no other way is named.
            skips_hold_ = input_.released && i + 1 < steps_.size();
            if (take_step(steps_[i])) return std::move(out_);
        }
        // What only waits for its hour or its day does not need anybody to mend it.
        out_.kind = out_.incident && !out_.is_temporary ? Choice::Kind::incident : Choice::Kind::wait;
        if (out_.until == Time{}) out_.until = input_.now + std::chrono::hours(1);
        return std::move(out_);
    }

 private:
    struct Candidate {
        Way way;
        std::uint32_t weight = 1;
        std::optional<SourceAddress> source;
        bool probe = false;
        bool slow = false;
    };
    // One address of a pool, and why it may not send there now.
    struct Judged {
        SourceAddress address;
        enum class Why : std::uint8_t { open, probe, refused, incident, drained, sparing, warming } why = Why::open;
        const Memory* memory = nullptr;
        const Reputation* standing = nullptr;
        std::uint64_t weight = 1;
        std::uint32_t percent = 0;  ///< on probation: of the mail, at most; 0: it is not
        bool is_due = false;        ///< on probation, and nothing went by it for a while
    };

    // Ways that carry mail, and whether something stands behind them for what none may carry.
    void count_ways() {
        std::size_t carry = 0;
        for (const Step& step : steps_) {
            for (const Step::Share& share : step.shares) {
                const auto way = find_way(picture_.ways, share.way);
                const bool ends = way && (way->kind == WayKind::hold || way->kind == WayKind::fail);
                if (!ends) ++carry;
                if (ends && carry > 0) out_.has_end = true;
            }
        }
        has_way_ = carry > 1;
        out_.has_other = has_way_;
    }

    // The shares that can be taken now, one of them by weight. A probe goes before all: it is due once a day.
    bool take_step(const Step& step) {
        std::vector<Candidate> open;
        std::uint64_t sum = 0;
        shares_ = 0;
        for (const Step::Share& share : step.shares) shares_ += share.weight;
        shares_ = std::max<std::uint64_t>(shares_, 1);
        for (const Step::Share& share : step.shares) {
            auto candidate = judge(share);
            if (!candidate) continue;
            sum += candidate->weight;
            open.push_back(*std::move(candidate));
        }
        if (open.empty()) return false;
        std::uint64_t at = input_.ticket % sum;
        auto chosen = open.begin();
        while (at >= chosen->weight) at -= (chosen++)->weight;
        const auto before = std::ranges::find_if(open, [this](const Candidate& one) {
            return one.source && !input_.last_source.empty() && one.source->address == input_.last_source;
        });
        if (before != open.end()) chosen = before;
        const auto probe = std::ranges::find(open, true, &Candidate::probe);
        if (probe != open.end()) chosen = probe;
        out_.way = std::move(chosen->way);
        out_.source = std::move(chosen->source);
        out_.probe = chosen->probe;
        out_.slow = chosen->slow;
        out_.kind = out_.way.kind == WayKind::hold   ? Choice::Kind::hold
                    : out_.way.kind == WayKind::fail ? Choice::Kind::fail
                                                     : Choice::Kind::take;
        return true;
    }

    std::optional<Candidate> judge(const Step::Share& share) {
        Candidate out;
        out.weight = share.weight;
        auto way = find_way(picture_.ways, share.way);
        if (!way) return pass("{}: there is no such way any more", share.way);
        out.way = *std::move(way);
        if (out.way.kind == WayKind::hold && skips_hold_) return pass("{}: it was released", share.way);
        if (out.way.kind == WayKind::hold || out.way.kind == WayKind::fail) {
            if (resting_) return pass("{}: it is not for ways that only rest for a while", share.way);
            return out;
        }
        const WayLimits& limits = out.way.limits;
        if (limits.message_octets_max != 0 && input_.mail.size_octets > limits.message_octets_max) {
            return pass("{}: it takes messages of at most {} octets, this one has {}", share.way,
                        limits.message_octets_max, input_.mail.size_octets);
        }
        const auto used = picture_.used_today.find(share.way);
        if (limits.day_max != 0 && used != picture_.used_today.end() && used->second >= limits.day_max) {
            wait_until(from_unix_ms((day_number(input_.now) + 1) * kDayMs));
            resting_ = true;
            return pass("{}: its allowance of {} recipients a day is used up", share.way, limits.day_max);
        }
        if (out.way.kind == WayKind::direct) return judge_direct(std::move(out));
        if (const Memory* const dead = heeds_checks_ && has_way_ ? found_dead(share.way) : nullptr; dead != nullptr) {
            has_heeded_ = resting_ = true;
            const std::string since = dead->since == Time{} ? "never" : format_rfc3339(dead->since);
            return pass("{}: it was tried without mail {} times and did not work (last good: {}): {}", share.way,
                        dead->tries, since, dead->reply);
        }
        for (const std::string& site : {std::string(kAccountSite), std::string(), sender_site(input_.mail.sender)}) {
            const bool matters = has_way_ || site == kAccountSite || (out_.has_end && !site.empty());
            const Memory* const known = matters ? remembered(share.way, "", site) : nullptr;
            if (known == nullptr) continue;
            if (!is_due(*known)) return pass_remembered(*known);
            out.probe = true;
        }
        if (!out.probe && is_stopped(share.way, "")) return std::nullopt;
        return out;
    }

    std::optional<Candidate> judge_direct(Candidate out) {
        std::vector<Judged> pool;
        for (const SourceAddress& address : picture_.addresses) {
            if (address.pool == out.way.pool && !address.pool.empty()) pool.push_back(judge_address(out.way, address));
        }
        if (!out.way.pool.empty() && pool.empty()) {
            return pass("{}: the pool {} has no address; posthouse address add puts one in", out.way.name,
                        out.way.pool);
        }
        if (out.way.pool.empty()) pool.push_back(judge_address(out.way, SourceAddress()));
        const Judged* chosen = draw(pool);
        if (chosen == nullptr) chosen = last_resort(pool, out);
        if (chosen == nullptr) {
            for (const Judged& one : pool) {
                note(out.way, one);
                wait_for(out.way, one);
            }
            return std::nullopt;
        }
        for (const Judged& one : pool) {
            if (pool.size() > 1 && &one != chosen && one.why != Judged::Why::sparing) note(out.way, one);
        }
        out.probe = chosen->why == Judged::Why::probe;
        out_.has_other = out_.has_other || pool.size() > 1;
        if (!chosen->address.address.empty()) out.source = chosen->address;
        return out;
    }

    Judged judge_address(const Way& way, const SourceAddress& address) const {
        using Why = Judged::Why;
        Judged out;
        out.address = address;
        const std::string_view provider = input_.mail.provider;
        out.standing = picture_.book.standing(address.address, provider);
        const int score = out.standing == nullptr ? 100 : std::clamp(out.standing->score, 1, 100);
        out.weight = std::uint64_t{std::max<std::uint32_t>(address.weight, 1)} * static_cast<std::uint64_t>(score);
        out.memory = refusal(way.name, address.address);
        if (out.standing != nullptr && out.standing->standing == Standing::drained) {
            out.why = Why::drained;
        } else if (out.memory != nullptr && (has_way_ || is_in_pool(way) || ends_for(out.memory))) {
            out.why = is_due(*out.memory) ? Why::probe : Why::refused;
        } else if (!input_.tried && incident_at(way.name, address.address) != nullptr) {
            out.why = Why::incident;
        } else if (address.warm_since != Time{} && warm_up_left(warm_up_of(address), input_.now) == 0) {
            out.why = Why::warming;
        } else if (out.standing != nullptr && out.standing->standing == Standing::probation && !input_.tried) {
            out.percent = kProbationPercent[out.standing->step];
            out.weight = std::uint64_t{std::max<std::uint32_t>(address.weight, 1)} * 100;  // the percent is the score
            // Where little is sent, a message every half hour is what there is to judge by.
            out.is_due = input_.now - out.standing->last_use >= std::chrono::minutes(30);
        }
        return out;
    }

    // Among those that are open; one whose probe is due goes before all, it is due once a day. Where only those on
    // probation are left, what is more than their percentage is for nobody here.
    const Judged* draw(std::vector<Judged>& pool) const {
        std::vector<Judged*> open;
        for (Judged& one : pool) {
            if (one.why == Judged::Why::probe) return &one;
            if (one.why == Judged::Why::open) open.push_back(&one);
        }
        for (const Judged* one : open) {
            if (!input_.last_source.empty() && one->address.address == input_.last_source) return one;
        }
        for (const Judged* one : open) {
            if (one->percent != 0 && one->is_due) return one;
        }
        if (open.empty()) return nullptr;
        const bool are_equal = std::ranges::all_of(
            open, [&](const Judged* one) { return one->percent == 0 && one->weight == open.front()->weight; });
        // One after the other. The ticket's remainder has chosen among the ways already: what is above it counts.
        if (are_equal) return open[input_.ticket / shares_ % open.size()];
        double all = 0;
        double free = 0;  // of those that are not on probation
        for (const Judged* one : open) {
            all += static_cast<double>(one->weight);
            if (one->percent == 0) free += static_cast<double>(one->weight);
        }
        return free > 0 ? draw_by_weight(open, all, free) : draw_probation(open);
    }

    const Judged* draw_by_weight(const std::vector<Judged*>& open, double all, double free) const {
        const auto share = [&](const Judged& one) {
            return std::min(one.percent / 100.0, static_cast<double>(one.weight) / all);
        };
        double spared = 1;
        for (const Judged* one : open) {
            if (one->percent != 0) spared -= share(*one);
        }
        const Judged* best = nullptr;
        double least = 0;
        for (const Judged* one : open) {
            const double weight = one->percent == 0 ? static_cast<double>(one->weight) : share(*one) / spared * free;
            const double distance = -std::log(drawn(one->address.address)) / weight;
            if (best != nullptr && distance >= least) continue;
            best = one;
            least = distance;
        }
        return best;
    }

    const Judged* draw_probation(const std::vector<Judged*>& open) const {
        double sum = 0;
        for (const Judged* one : open) sum += one->percent / 100.0;
        double at = drawn("") * std::max(sum, 1.0);
        for (const Judged* one : open) {
            at -= one->percent / 100.0;
            if (at < 0) return one;
        }
        for (Judged* one : open) one->why = Judged::Why::sparing;
        return nullptr;
    }

    // In (0, 1): the same for a ticket and an address, always (FNV-1a, spread).
    double drawn(std::string_view address) const {
        std::uint64_t hash = 0xcbf29ce484222325ULL;
        for (const char c : address) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
        const std::uint64_t mixed = spread(spread(input_.ticket) ^ hash);
        return (static_cast<double>(mixed >> 11U) + 0.5) / 9007199254740992.0;
    }

    // Nobody else would take it: waiting would not make the address better.
    const Judged* last_resort(const std::vector<Judged>& pool, Candidate& out) {
        using Why = Judged::Why;
        if (has_way_) return nullptr;
        if (std::ranges::any_of(pool, [](const Judged& one) { return one.why == Why::warming; })) return nullptr;
        const Judged* best = nullptr;
        for (const Judged& one : pool) {
            if (!input_.tried && incident_at(out.way.name, one.address.address) != nullptr) continue;
            if (one.why == Why::refused && ends_for(one.memory)) continue;
            if (best == nullptr || rank(one) < rank(*best)) best = &one;
        }
        if (best != nullptr) out.slow = best->why == Why::drained || best->why == Why::sparing;
        return best;
    }
    static int rank(const Judged& one) {
        switch (one.why) {
            case Judged::Why::sparing: return 0;
            case Judged::Why::refused: return 1;
            default: return 2;
        }
    }

    // Why an address was not taken.
    void note(const Way& way, const Judged& one) {
        using Why = Judged::Why;
        const std::string name = one.address.address.empty() ? "our address" : one.address.address;
        if (one.why == Why::refused) note(*one.memory);
        if (one.why == Why::drained) {
            out_.passed_over.push_back(fmt::format("{}: {} is drained since {}: {}", way.name, name,
                                                   format_rfc3339(one.standing->since), one.standing->why));
        }
        if (one.why == Why::sparing) {
            out_.passed_over.push_back(fmt::format("{}: {} is on probation and takes {} % of the mail", way.name, name,
                                                   kProbationPercent[one.standing->step]));
        }
        if (one.why == Why::warming) {
            out_.passed_over.push_back(
                fmt::format("{}: {} is warmed up: its {} recipients of this hour are used", way.name, name,
                            warm_up_allowance(turn_day(warm_up_of(one.address), input_.now).level)));
        }
        if (one.why == Why::incident) static_cast<void>(is_stopped(way.name, one.address.address));
    }

    // When it may be again.
    void wait_for(const Way& way, const Judged& one) {
        using Why = Judged::Why;
        if (one.why == Why::refused) later(one.memory->probe);
        const bool is_outage = one.why == Why::refused && !is_refusal(*one.memory);
        if (is_outage || one.why == Why::drained || one.why == Why::sparing || one.why == Why::warming) resting_ = true;
        if (one.why == Why::sparing) later(input_.now + std::chrono::minutes(30));
        if (one.why == Why::warming) wait_until(from_unix_ms((hour_number(input_.now) + 1) * kHourMs));
        keep_incident(way.name, one.address.address, is_outage);
    }

    // What rests without an incident will do again by itself: nothing is held for the others' sake.
    void keep_incident(std::string_view way, std::string_view source, bool is_outage) {
        const Incident* const known = incident_at(way, source);
        if (known != nullptr) out_.incident = *known;
        if (known == nullptr && is_outage) out_.is_temporary = true;
    }

    WarmUp warm_up_of(const SourceAddress& address) const {
        const WarmUp* const known = picture_.book.warm_up(address.address, input_.mail.provider);
        return known == nullptr ? WarmUp() : *known;
    }
    bool is_in_pool(const Way& way) const {
        return std::ranges::count(picture_.addresses, way.pool, &SourceAddress::pool) > 1;
    }
    // So that neighbours among tickets do not end up together (splitmix64).
    static std::uint64_t spread(std::uint64_t ticket) {
        ticket += 0x9e3779b97f4a7c15ULL;
        ticket = (ticket ^ (ticket >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        ticket = (ticket ^ (ticket >> 27U)) * 0x94d049bb133111ebULL;
        return ticket ^ (ticket >> 31U);
    }

    const Incident* incident_at(std::string_view way, std::string_view source) const {
        const std::string domain = address_domain(input_.mail.sender);
        const auto found = std::ranges::find_if(
            picture_.incidents, [&](const Incident& one) { return stops(one, way, source, input_.site, domain); });
        return found == picture_.incidents.end() ? nullptr : &*found;
    }
    // Passes over a way that an incident stops, and keeps which.
    bool is_stopped(std::string_view way, std::string_view source) {
        if (input_.tried) return false;
        const Incident* const known = incident_at(way, source);
        if (known == nullptr) return false;
        out_.incident = *known;
        if (known->key.site.empty()) resting_ = true;
        out_.passed_over.push_back(
            fmt::format("{}: incident {}: {}: {}", way, raw(known->id), describe(*known), known->reply));
        return true;
    }

    // What is known against an address here: the whole way first, then the site.
    const Memory* refusal(std::string_view way, std::string_view source) const {
        const Memory* const everywhere = remembered(way, source, "");
        if (everywhere != nullptr || input_.site.empty()) return everywhere;
        const Memory* const here = remembered(way, source, input_.site);
        if (here != nullptr) return here;
        const Memory* const silent = remembered(way, source, silent_site(input_.site));
        return silent != nullptr && silent->tries > 0 ? silent : nullptr;
    }
    const Memory* remembered(std::string_view way, std::string_view source, std::string_view site) const {
        const auto found = std::ranges::find_if(picture_.memory, [&](const Memory& memory) {
            return memory.way == way && memory.source == source && memory.site == site;
        });
        return found == picture_.memory.end() ? nullptr : &*found;
    }
    // Where no check has looked again in time, it is as if none had been made.
    const Memory* found_dead(std::string_view way) const {
        const Memory* const known = remembered(way, "", kCheckSite);
        const bool counts = known != nullptr && counts_against(*known) && input_.now < known->probe + kCheckCounts;
        return counts && !input_.asked && !input_.tried ? known : nullptr;
    }
    bool is_due(const Memory& memory) const {
        const bool is_again =
            !input_.probing_way.empty() && memory.way == input_.probing_way && memory.source == input_.probing_source;
        return input_.asked || input_.tried || is_again || memory.probe <= input_.now;
    }
    // A refusal, not an outage or an allowance: "hold" or "fail" is what the route says to it.
    static bool is_refusal(const Memory& memory) {
        return !memory.site.empty() && memory.site != kAccountSite && !memory.site.starts_with(kSilentSite);
    }
    bool ends_for(const Memory* memory) const { return out_.has_end && memory != nullptr && is_refusal(*memory); }

    void wait_until(Time at) {
        out_.is_temporary = true;
        later(at);
    }
    void later(Time at) {
        if (out_.until == Time{} || at < out_.until) out_.until = at;
    }
    void note(const Memory& memory) {
        const std::string from = memory.source.empty() ? "" : fmt::format(" from {}", memory.source);
        out_.passed_over.push_back(fmt::format("{}{} {} since {}, tried again at {}: {}", memory.way, from,
                                               describe(memory), format_rfc3339(memory.since),
                                               format_rfc3339(memory.probe), memory.reply));
    }
    std::nullopt_t pass_remembered(const Memory& memory) {
        later(memory.probe);
        if (!is_refusal(memory)) resting_ = true;
        note(memory);
        keep_incident(memory.way, memory.source, !is_refusal(memory));
        return std::nullopt;
    }
    template <class... Args>
    std::nullopt_t pass(fmt::format_string<const Args&...> text, const Args&... args) {
        out_.passed_over.push_back(fmt::format(text, args...));
        return std::nullopt;
    }

    static constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;
    static constexpr std::int64_t kHourMs = 3600LL * 1000;
    const RoutePicture& picture_;
    const ChoiceInput& input_;
    const bool heeds_checks_;
    bool has_heeded_ = false;
    std::vector<Step> steps_;
    bool skips_hold_ = false;
    bool resting_ = false;      // a way before was passed over that will do again soon
    bool has_way_ = false;      ///< the route names several
    std::uint64_t shares_ = 1;  ///< of the step, together
    Choice out_;
};

}  // namespace

std::int64_t day_number(Time now) { return std::chrono::floor<std::chrono::days>(now).time_since_epoch().count(); }

std::string sender_site(std::string_view sender) { return "from:" + address_domain(sender); }

std::string silent_site(std::string_view site) { return std::string(kSilentSite) + std::string(site); }

std::string probed_site(RecipientId recipient) { return fmt::format("{}{}", kProbedSite, raw(recipient)); }

bool counts_against(const Memory& memory) {
    if (memory.site == kCheckSite) return memory.tries > 0;
    return !memory.site.starts_with(kProbedSite);
}

std::string describe(const Memory& memory) {
    const std::string_view site = ascii::trim(memory.site);
    if (site.empty()) return "does not work";
    if (site == kCheckSite) return "did not work when it was tried without mail";
    if (site == kAccountSite) return "takes no more from us for now";
    if (site.starts_with("from:")) return fmt::format("refuses mail {}", site);
    if (site.starts_with(kSilentSite)) return fmt::format("gets no answer at {}", site.substr(kSilentSite.size()));
    return fmt::format("is refused at {}", site);
}

Choice choose_way(const RoutePicture& picture, const ChoiceInput& input) {
    Chooser heeding(picture, input, true);
    Choice out = heeding.run();
    const bool is_none = out.kind == Choice::Kind::wait || out.kind == Choice::Kind::incident;
    // Nothing waits for the sake of a check: where no other way is open, mail finds out itself.
    return is_none && heeding.has_heeded() ? Chooser(picture, input, false).run() : out;
}

bool needs_site(const RoutePicture& picture, const ChoiceInput& input) {
    if (asks_for_provider(picture.routes, input.mail)) return true;
    const Route* const route = match_route(picture.routes, input.mail);
    if (route == nullptr) return true;  // it goes directly
    for (const Step& step : route->steps) {
        for (const Step::Share& share : step.shares) {
            const auto way = find_way(picture.ways, share.way);
            if (way && way->kind == WayKind::direct) return true;
        }
    }
    return false;
}

}  // namespace posthouse::storage
