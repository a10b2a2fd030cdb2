#include "storage/backup/retention.h"

#include <algorithm>
#include <chrono>
#include <set>

namespace posthouse::storage::backup {
namespace {

std::int64_t day_of(Time time) { return std::chrono::floor<std::chrono::days>(time).time_since_epoch().count(); }

// 1970-01-01 was a Thursday: three days later a week begins.
std::int64_t week_of(Time time) {
    const std::int64_t days = day_of(time) + 3;
    return days >= 0 ? days / 7 : (days - 6) / 7;
}

std::int64_t month_of(Time time) {
    const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time));
    return static_cast<int>(date.year()) * std::int64_t{12} + static_cast<unsigned>(date.month());
}

}  // namespace

std::vector<std::string> to_remove(std::span<const Kept> backups, const Keep& keep) {
    if (keep.everything()) return {};
    std::vector<const Kept*> newest_first;
    for (const Kept& one : backups) newest_first.push_back(&one);
    std::ranges::sort(newest_first, [](const Kept* a, const Kept* b) {
        return a->created != b->created ? a->created > b->created : a->name > b->name;
    });

    std::set<const Kept*> stay;
    for (std::size_t i = 0; i < newest_first.size() && i < std::max(keep.newest, 1U); ++i) stay.insert(newest_first[i]);
    struct Rule {
        std::int64_t (*span_of)(Time);
        unsigned count;
    };
    for (const Rule& rule : {Rule{day_of, keep.daily}, Rule{week_of, keep.weekly}, Rule{month_of, keep.monthly}}) {
        std::set<std::int64_t> seen;
        for (const Kept* one : newest_first) {
            if (seen.size() == rule.count) break;
            if (seen.insert(rule.span_of(one->created)).second) stay.insert(one);
        }
    }
    const auto good = std::ranges::find_if(newest_first, [](const Kept* one) { return one->verified_good; });
    if (good != newest_first.end()) stay.insert(*good);
    const auto whole =
        std::ranges::find_if(newest_first, [](const Kept* one) { return one->verified_good && one->undamaged; });
    if (whole != newest_first.end()) stay.insert(*whole);

    std::vector<std::string> out;
    for (auto one = newest_first.rbegin(); one != newest_first.rend(); ++one) {
        if (!stay.contains(*one)) out.push_back((*one)->name);
    }
    return out;
}

}  // namespace posthouse::storage::backup
