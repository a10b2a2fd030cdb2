#include "storage/search/verify.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace posthouse::storage::search;

namespace {

using Terms = std::vector<std::string_view>;

/// 100 texts, of which the first so many hold each of these.
std::vector<std::string> texts_with(const std::vector<std::pair<std::string, int>>& shares) {
    std::vector<std::string> out(100);
    for (const auto& [term, count] : shares) {
        for (int i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] += term + ".";
    }
    return out;
}

}  // namespace

TEST_CASE("the rarest term comes first, and one that spares nothing after it is not asked for") {
    const auto texts = texts_with({{"all", 100}, {"few", 5}, {"hal", 50}});
    CHECK(choose_terms(Terms{"all", "hal", "few"}, texts, 100'000, 100'000) == Terms{"few"});
}

TEST_CASE("terms of nearly every text are not asked for: reading them all is as quick") {
    const auto texts = texts_with({{"all", 100}, {"ost", 97}});
    CHECK(choose_terms(Terms{"all", "ost"}, texts, 100'000, 100'000).empty());
}

TEST_CASE("in a small mailbox of a large store lists of common terms do not pay") {
    const auto texts = texts_with({{"hal", 50}, {"few", 1}});
    CHECK(choose_terms(Terms{"hal"}, texts, 100'000, 100'000) == Terms{"hal"});
    CHECK(choose_terms(Terms{"hal"}, texts, 1000, 1'000'000).empty());
    CHECK(choose_terms(Terms{"hal", "few"}, texts, 10'000, 1'000'000) == Terms{"few"});
}

TEST_CASE("without a sample every term counts as half of all") {
    CHECK(choose_terms(Terms{"abc", "bcd"}, {}, 1000, 1000) == Terms{"abc", "bcd"});
    CHECK(choose_terms(Terms{}, texts_with({}), 1000, 1000).empty());
}
