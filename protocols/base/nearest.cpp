#include "protocols/base/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace posthouse {

namespace {

constexpr std::size_t kMistypedMax = 3;   // letters
constexpr std::size_t kWrongOctetsMax = 64;  // what is longer is no mistyped name

// Levenshtein's distance: how many letters were mistyped.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view wrong, std::span<const std::string_view> known) {
    std::string_view best;
    std::size_t best_distance = kMistypedMax + 1;
    for (const std::string_view name : known) {
        const std::size_t d = wrong.size() > kWrongOctetsMax ? best_distance : distance(wrong, name);
        if (d < best_distance) best = name, best_distance = d;
    }
    return best;
}

std::string suggest(std::string_view wrong, std::span<const std::string_view> known) {
    const std::string_view best = nearest(wrong, known);
    return best.empty() ? fmt::format("known here are: {}", fmt::join(known, ", "))
                        : fmt::format("did you mean {}?", best);
}

}  // namespace posthouse
