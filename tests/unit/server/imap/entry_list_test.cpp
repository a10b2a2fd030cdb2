#include "server/imap/entry_list.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <random>

using namespace posthouse;
using namespace posthouse::server::imap;
using storage::Uid;

namespace {

Line line(Uid uid, storage::FlagBits flags = 0) {
    Line out;
    out.uid = uid;
    out.flags = flags;
    return out;
}

EntryListPtr list_of(const std::map<Uid, Line>& lines) {
    EntryList::Builder out;
    for (const auto& [uid, of] : lines) out.add(of);
    return out.finish();
}

void check_same(const EntryList& list, const std::map<Uid, Line>& want) {
    std::vector<Line> lines;
    for (const auto& [uid, of] : want) lines.push_back(of);
    REQUIRE(list.lines() == lines);
    REQUIRE(list.size() == lines.size());
    REQUIRE(list.last_uid() == (lines.empty() ? 0 : lines.back().uid));
    const auto unseen = [](const Line& of) { return (of.flags & 1) == 0; };
    REQUIRE(list.unseen() == std::ranges::count_if(lines, unseen));
    REQUIRE(list.first_unseen() == std::ranges::find_if(lines, unseen) - lines.begin());
    std::vector<std::uint32_t> sets;
    for (const Line& of : lines) {
        if (of.keyword_set != 0) sets.push_back(of.keyword_set);
    }
    std::ranges::sort(sets);
    sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
    REQUIRE(list.keyword_sets() == sets);
}

}  // namespace

TEST_CASE("a block gives back what was put in, at the edges of every field") {
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    constexpr auto kOldest = std::numeric_limits<std::int64_t>::min();
    constexpr auto kLatest = std::numeric_limits<std::int64_t>::max();
    std::vector<Line> lines;
    for (const std::uint64_t step : {0ULL, 1ULL, 255ULL, 256ULL, 65535ULL, 65536ULL, 0xffffffffULL, 0x100000000ULL}) {
        lines.clear();
        for (std::uint32_t i = 0; i < 3; ++i) {
            Line of = line(i == 2 ? std::numeric_limits<Uid>::max() : 7 + i * static_cast<Uid>(step % 65'537 + 1));
            of.flags = static_cast<storage::FlagBits>(step % 32 * i);
            of.keyword_set = static_cast<std::uint32_t>(step) * (i % 2);
            of.modseq = 1000 + step * i;
            of.internal_date_s = i == 1 ? -static_cast<std::int64_t>(step) : 5;
            of.size_octets = step;
            lines.push_back(of);
        }
        const EntryBlock block(lines);
        for (std::uint32_t i = 0; i < 3; ++i) CHECK(block.line(i) == lines[i]);
    }
    lines[0].internal_date_s = kOldest;
    lines[1].internal_date_s = kLatest;
    lines[1].modseq = lines[2].size_octets = kMost;
    lines[0].modseq = 0;
    const EntryBlock block(lines);
    for (std::uint32_t i = 0; i < 3; ++i) CHECK(block.line(i) == lines[i]);
    CHECK(block.lower_bound(8) == 1);
    CHECK(block.lower_bound(std::numeric_limits<Uid>::max()) == 2);
}

TEST_CASE("an ordinary mailbox takes no more than 16 octets a message") {
    EntryList::Builder builder;
    std::mt19937 random(5);
    for (Uid uid = 1; uid <= 100'000; ++uid) {
        Line of = line(uid, static_cast<storage::FlagBits>(random() % 32));
        of.modseq = 1'000'000 + uid * 3 + random() % 100'000;
        of.internal_date_s = 1'700'000'000 + uid * 600 + random() % 3600;
        of.size_octets = 2000 + random() % 5'000'000;
        builder.add(of);
    }
    CHECK(builder.finish()->octets() <= 16 * 100'000);
}

TEST_CASE("an empty list") {
    const EntryListPtr none = EntryList::Builder().finish();
    CHECK(none->size() == 0);
    CHECK(none->lower_bound(1) == 0);
    CHECK(none->first_unseen() == 0);
    CHECK(none->with({}, std::vector<Uid>{4})->size() == 0);
    CHECK(none->with(std::vector{line(9)}, {})->last_uid() == 9);
}

TEST_CASE("a flag that changes leaves all other blocks shared") {
    std::map<Uid, Line> lines;
    for (Uid uid = 1; uid <= 100 * EntryBlock::kLines; ++uid) lines[uid] = line(uid, uid % 32);
    const EntryListPtr list = list_of(lines);
    const EntryListPtr next = list->with(std::vector{line(7000, 1)}, {});
    CHECK(list->lines()[6999].flags == 7000 % 32);
    lines[7000] = line(7000, 1);
    check_same(*next, lines);
}

TEST_CASE("after many changes of all kinds a list is what a new one would be") {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        std::map<Uid, Line> want;
        Uid next = 1;
        for (std::size_t count = random() % 4000; want.size() < count; next += 1 + random() % 2) {
            want[next] = line(next, static_cast<storage::FlagBits>(random() % 32));
        }
        EntryListPtr list = list_of(want);
        for (int step = 0; step < 50; ++step) {
            std::map<Uid, Line> changed;
            std::vector<Uid> removed;
            const std::size_t few = random() % 5 == 0 ? 900 : 4;
            for (std::size_t i = random() % few; i > 0; --i, next += 1 + random() % 3) changed[next] = line(next);
            for (std::size_t i = random() % few; i > 0 && !want.empty(); --i) {
                const auto at = std::next(want.begin(), static_cast<std::ptrdiff_t>(random() % want.size()));
                Line of = line(at->first, static_cast<storage::FlagBits>(random() % 32));
                of.keyword_set = random() % 3;
                of.modseq = random();
                changed[of.uid] = of;
            }
            for (std::size_t i = random() % few; i > 0; --i) removed.push_back(1 + random() % next);
            std::ranges::sort(removed);
            std::vector<Line> changes;
            for (const auto& [uid, of] : changed) {
                changes.push_back(of);
                want[uid] = of;
            }
            for (const Uid uid : removed) want.erase(uid);
            list = list->with(changes, removed);
            check_same(*list, want);
            std::size_t near = random() % 8;
            for (int look = 0; look < 20 && !want.empty(); ++look) {
                const Uid uid = 1 + random() % next;
                const auto at = want.lower_bound(uid);
                const auto index = static_cast<std::uint32_t>(std::distance(want.begin(), at));
                REQUIRE(list->lower_bound(uid) == index);
                if (at != want.end()) REQUIRE(list->line(index, near) == at->second);
            }
        }
    }
}
