#include "storage/route_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::storage {

namespace {

// One walk over the steps of a route.
class Chooser {
 public:
    Chooser(const RoutePicture& picture, const ChoiceInput& input) : picture_(picture), input_(input) {}

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
        out_.kind = Choice::Kind::wait;
        if (out_.until == Time{}) out_.until = input_.now + std::chrono::hours(1);
        return std::move(out_);
    }

 private:
    struct Candidate {
        Way way;
        std::uint32_t weight = 1;
        std::optional<SourceAddress> source;
        bool probe = false;
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
        out_.has_other = carry > 1;
    }

    // The shares that can be taken now, one of them by weight. A probe goes before all: it is due once a day.
    bool take_step(const Step& step) {
        std::vector<Candidate> open;
        std::uint64_t sum = 0;
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
        const auto probe = std::ranges::find(open, true, &Candidate::probe);
        if (probe != open.end()) chosen = probe;
        out_.way = std::move(chosen->way);
        out_.source = std::move(chosen->source);
        out_.probe = chosen->probe;
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
            later(from_unix_ms((day_number(input_.now) + 1) * kDayMs));
            resting_ = true;
            return pass("{}: its allowance of {} recipients a day is used up", share.way, limits.day_max);
        }
        if (out.way.kind == WayKind::direct) return judge_direct(std::move(out));
        for (const std::string& site : {std::string(), sender_site(input_.mail.sender)}) {
            const bool matters = out_.has_other || (out_.has_end && !site.empty());
            const Memory* const known = matters ? remembered(share.way, "", site) : nullptr;
            if (known == nullptr) continue;
            if (!is_due(*known)) return pass_remembered(*known);
            out.probe = true;
        }
        return out;
    }

    // The addresses of the pool that are not refused there; else one whose probe is due.
    std::optional<Candidate> judge_direct(Candidate out) {
        std::vector<SourceAddress> pool;
        for (const SourceAddress& address : picture_.addresses) {
            if (address.pool == out.way.pool) pool.push_back(address);
        }
        if (!out.way.pool.empty() && pool.empty()) {
            return pass("{}: the pool {} has no address; posthouse address add puts one in", out.way.name,
                        out.way.pool);
        }
        if (out.way.pool.empty()) pool.resize(1);
        std::vector<SourceAddress> open;
        const Memory* refused = nullptr;
        for (const SourceAddress& address : pool) {
            const Memory* const known = refusal(out.way.name, address.address);
            const bool is_only = !out_.has_other && !ends_for(known) && pool.size() == 1;
            if (known == nullptr || is_only) {
                open.push_back(address);
            } else if (is_due(*known)) {
                out.probe = true;
                open.assign(1, address);
                break;
            } else {
                refused = known;
                if (pool.size() > 1) note(*known);
            }
        }
        // Nobody else would take it: waiting would not make the address better.
        if (open.empty() && !out_.has_other && !ends_for(refused)) open = pool;
        if (open.empty()) return pass_remembered(*refused);
        const SourceAddress& chosen = open[input_.ticket % open.size()];
        if (!chosen.address.empty()) out.source = chosen;
        return out;
    }

    // What is known against an address here: the whole way first, then the site.
    const Memory* refusal(std::string_view way, std::string_view source) const {
        const Memory* const everywhere = remembered(way, source, "");
        if (everywhere != nullptr || input_.site.empty()) return everywhere;
        return remembered(way, source, input_.site);
    }
    const Memory* remembered(std::string_view way, std::string_view source, std::string_view site) const {
        const auto found = std::ranges::find_if(picture_.memory, [&](const Memory& memory) {
            return memory.way == way && memory.source == source && memory.site == site;
        });
        return found == picture_.memory.end() ? nullptr : &*found;
    }
    bool is_due(const Memory& memory) const { return input_.asked || memory.probe <= input_.now; }
    // A refusal, not an outage: "hold" or "fail" is what the route says to it.
    bool ends_for(const Memory* memory) const { return out_.has_end && memory != nullptr && !memory->site.empty(); }

    void later(Time at) {
        if (out_.until == Time{} || at < out_.until) out_.until = at;
    }
    void note(const Memory& memory) {
        const std::string from = memory.source.empty() ? "" : fmt::format(" from {}", memory.source);
        const std::string where = memory.site.empty() ? "does not work"
                                  : memory.site.starts_with("from:")
                                      ? "refuses mail " + memory.site
                                      : "is refused at " + std::string(ascii::trim(memory.site));
        out_.passed_over.push_back(fmt::format("{}{} {} since {}, tried again at {}: {}", memory.way, from, where,
                                               format_rfc3339(memory.since), format_rfc3339(memory.probe),
                                               memory.reply));
    }
    std::nullopt_t pass_remembered(const Memory& memory) {
        later(memory.probe);
        if (memory.site.empty()) resting_ = true;
        note(memory);
        return std::nullopt;
    }
    template <class... Args>
    std::nullopt_t pass(fmt::format_string<const Args&...> text, const Args&... args) {
        out_.passed_over.push_back(fmt::format(text, args...));
        return std::nullopt;
    }

    static constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;
    const RoutePicture& picture_;
    const ChoiceInput& input_;
    std::vector<Step> steps_;
    bool skips_hold_ = false;
    bool resting_ = false;  // a way before was passed over that will do again soon
    Choice out_;
};

}  // namespace

std::int64_t day_number(Time now) { return std::chrono::floor<std::chrono::days>(now).time_since_epoch().count(); }

std::string sender_site(std::string_view sender) { return "from:" + address_domain(sender); }

Choice choose_way(const RoutePicture& picture, const ChoiceInput& input) { return Chooser(picture, input).run(); }

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
