// Reading the figures: which rows are meant, and one pass over their counts, which lie by row and so by day.
#include "storage/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "protocols/base/ascii.h"
#include "storage/context.h"
#include "storage/report_tally.h"
#include "storage/who.h"

namespace posthouse::storage {
namespace {

constexpr std::array<std::string_view, kFigures> kFigureNames = {"sent",       "delivered",  "delayed",  "put_off",
                                                                 "bounced",    "held",       "released", "cancelled",
                                                                 "complained", "suppressed", "tried"};
constexpr std::array<std::string_view, 8> kByNames = {"day", "domain",  "destination", "provider",
                                                      "way", "address", "account",     "route"};
constexpr std::int64_t kDayMs = 86'400'000;
// Below 2^7 ms there is one bucket.
constexpr int kFirstOctave = 7;

/// The column that lines are told apart by.
int column_of(ReportBy by) {
    switch (by) {
        case ReportBy::day: return 1;
        case ReportBy::account: return 2;
        case ReportBy::domain: return 3;
        case ReportBy::destination: return 4;
        case ReportBy::provider: return 5;
        case ReportBy::way:
        case ReportBy::route: return 6;
        case ReportBy::address: return 7;
    }
    return 1;
}

/// The column of ways tells of their routes, too.
std::string key_of(ReportBy by, std::string text) {
    if (by != ReportBy::way && by != ReportBy::route) return text;
    const std::size_t mark = std::min(text.find(kRouteMark), text.size());
    return by == ReportBy::way ? text.substr(0, mark) : text.substr(std::min(mark + 1, text.size()));
}

/// What a line stands by: what was sent, else what was met.
std::uint64_t weight_of(const ReportLine& line) {
    std::uint64_t out = line.of(Figure::sent) * 1'000'000;
    for (const std::uint64_t n : line.figures) out += n;
    return out;
}

void add_cell(ReportLine& line, int what, std::string_view reply_class, std::uint64_t n) {
    if (what >= kTimesFrom) {
        line.times.add(static_cast<std::size_t>(what - kTimesFrom), n);
    } else if (what >= 0 && static_cast<std::size_t>(what) < kFigures) {
        line.figures[static_cast<std::size_t>(what)] += n;
        if (what != static_cast<int>(Figure::bounced)) return;
        const auto known = line.bounced_by.find(reply_class);
        if (known != line.bounced_by.end()) {
            known->second += n;
        } else {
            line.bounced_by.emplace(reply_class, n);
        }
    }
}

}  // namespace

std::string_view to_string(Figure figure) { return kFigureNames.at(static_cast<std::size_t>(figure)); }

std::optional<ReportBy> parse_report_by(std::string_view name) {
    const auto found = std::ranges::find(kByNames, name);
    if (found == kByNames.end()) return std::nullopt;
    return static_cast<ReportBy>(found - kByNames.begin());
}

std::size_t TimeHistogram::bucket_of(Milliseconds took) {
    const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0));
    const int octave = static_cast<int>(std::bit_width(ms)) - 1;
    if (octave < kFirstOctave) return 0;
    const auto half = static_cast<std::size_t>((ms >> (octave - 1)) & 1U);
    return std::min(1 + static_cast<std::size_t>(octave - kFirstOctave) * 2 + half, kBuckets - 1);
}

Milliseconds TimeHistogram::lower_bound(std::size_t bucket) {
    if (bucket == 0) return Milliseconds(0);
    const auto octave = kFirstOctave + (bucket - 1) / 2;
    return Milliseconds(static_cast<std::int64_t>((2 + (bucket - 1) % 2) << (octave - 1)));
}

void TimeHistogram::add(std::size_t bucket, std::uint64_t count) {
    counts_[std::min(bucket, kBuckets - 1)] += count;
    total_ += count;
}

void TimeHistogram::add(const TimeHistogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
}

std::optional<Milliseconds> TimeHistogram::percentile(double share) const {
    if (total_ == 0) return std::nullopt;
    const double wanted = share * static_cast<double>(total_);
    double before = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
        if (counts_[i] == 0) continue;
        const auto here = static_cast<double>(counts_[i]);
        if (before + here >= wanted) {
            const auto low = static_cast<double>(lower_bound(i).count());
            const auto high = static_cast<double>(lower_bound(i + 1).count());
            return Milliseconds(static_cast<std::int64_t>(low + (high - low) * (wanted - before) / here));
        }
        before += here;
    }
    return lower_bound(kBuckets);
}

void ReportLine::add(const ReportLine& other) {
    for (std::size_t i = 0; i < kFigures; ++i) figures[i] += other.figures[i];
    for (const auto& [reply_class, n] : other.bounced_by) bounced_by[reply_class] += n;
    times.add(other.times);
}

ReportView::ReportView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::vector<ReportLine>> ReportView::lines(ReportBy by, const ReportFilter& filter) const {
    std::string who;
    if (!filter.account.empty()) {
        TRY(who, find_who(db_, filter.account));
    }
    std::vector<ReportLine> out;
    std::unordered_map<std::string, std::size_t> place_of;
    std::unordered_map<std::int64_t, std::size_t> line_of;
    std::int64_t first = 0;
    std::int64_t last = -1;
    {
        Query q = db_.query(
            "SELECT id, day, who, domain, destination, provider, way, source FROM report_rows "
            "WHERE day BETWEEN ?1 AND ?2 AND (?3 = '' OR domain = ?3) AND (?4 = '' OR who = ?4)");
        const std::string domain = ascii::to_lower(filter.domain);
        q.bind(filter.from_day, filter.to_day, domain, who);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            const std::string key = key_of(by, q.text(column_of(by)));
            const auto [place, is_new] = place_of.try_emplace(key, out.size());
            if (is_new) out.emplace_back().key = key;
            const std::int64_t id = q.i64(0);
            first = line_of.empty() ? id : std::min(first, id);
            last = std::max(last, id);
            line_of.emplace(id, place->second);
        }
    }
    {
        Query q = db_.query("SELECT row, what, class, n FROM report_counts WHERE row BETWEEN ?1 AND ?2 ORDER BY row");
        q.bind(first, last);
        std::int64_t row = -1;
        ReportLine* line = nullptr;
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            if (q.i64(0) != row) {
                row = q.i64(0);
                const auto found = line_of.find(row);
                line = found == line_of.end() ? nullptr : &out[found->second];
            }
            if (line != nullptr) add_cell(*line, static_cast<int>(q.i64(1)), q.view(2), q.u64(3));
        }
    }
    for (ReportLine& line : out) {
        if (by == ReportBy::account) {
            TRY(line.key, name_who(db_, line.key));
        } else if (by == ReportBy::day) {
            const auto day = static_cast<std::int64_t>(ascii::parse_number(line.key).value_or(0));
            line.key = format_rfc3339(from_unix_ms(day * kDayMs)).substr(0, 10);
        }
    }
    if (by == ReportBy::day) {
        std::ranges::sort(out, {}, &ReportLine::key);
    } else {
        std::ranges::sort(out, [](const ReportLine& a, const ReportLine& b) {
            const auto of_a = weight_of(a);
            const auto of_b = weight_of(b);
            return of_a != of_b ? of_a > of_b : a.key < b.key;
        });
    }
    return out;
}

}  // namespace posthouse::storage
