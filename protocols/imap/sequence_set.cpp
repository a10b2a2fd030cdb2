#include "protocols/imap/sequence_set.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include "protocols/imap/grammar.h"

namespace posthouse::imap {

namespace {

// seq-number = nz-number / "*"
Result<std::uint32_t> take_seq_number(Cursor& in) {
    if (in.take('*')) return SequenceSet::kStar;
    return take_nz_number(in);
}

}  // namespace

bool SequenceSet::has_star() const {
    return std::any_of(ranges.begin(), ranges.end(),
                       [](const Range& range) { return range.first == kStar || range.last == kStar; });
}

Result<SequenceSet> take_sequence_set(Cursor& in, const Limits& limits) {
    SequenceSet out;
    if (in.take('$')) {
        out.last_result = true;
        return out;
    }
    do {
        if (out.ranges.size() >= limits.sequence_ranges_max) return Error(Errc::invalid, "Message set is too long");
        const auto first = take_seq_number(in);
        if (!first) return Error(Errc::invalid, "Invalid message set");
        SequenceSet::Range range{*first, *first};
        if (in.take(':')) {
            const auto last = take_seq_number(in);
            if (!last) return Error(Errc::invalid, "Invalid message set");
            range.last = *last;
        }
        out.ranges.push_back(range);
    } while (in.take(','));
    return out;
}

std::vector<SequenceSet::Range> resolve(const SequenceSet& set, std::uint32_t star) {
    std::vector<SequenceSet::Range> out;
    out.reserve(set.ranges.size());
    for (SequenceSet::Range range : set.ranges) {
        const bool open = range.first == SequenceSet::kStar || range.last == SequenceSet::kStar;
        if (open && star == 0) continue;
        if (range.first == SequenceSet::kStar) range.first = star;
        if (range.last == SequenceSet::kStar) range.last = star;
        if (range.first > range.last) std::swap(range.first, range.last);
        out.push_back(range);
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::size_t kept = 0;
    for (const SequenceSet::Range range : out) {
        // 64 bits, since the end of a range may be the largest number of all.
        if (kept > 0 && range.first <= std::uint64_t{out[kept - 1].last} + 1) {
            out[kept - 1].last = std::max(out[kept - 1].last, range.last);
        } else {
            out[kept++] = range;
        }
    }
    out.resize(kept);
    return out;
}

Result<std::vector<SequenceSet::Range>> resolve_numbers(const SequenceSet& set, std::uint32_t exists) {
    if (exists == 0 && set.has_star()) return std::vector<SequenceSet::Range>();
    auto out = resolve(set, exists);
    if (!out.empty() && out.back().last > exists) return Error(Errc::invalid, "No such message number");
    return out;
}

bool contains(std::span<const SequenceSet::Range> ranges, std::uint32_t number) {
    const auto after =
        std::upper_bound(ranges.begin(), ranges.end(), number,
                         [](std::uint32_t n, const SequenceSet::Range& range) { return n < range.first; });
    return after != ranges.begin() && std::prev(after)->last >= number;
}

std::string format_set(std::span<const std::uint32_t> numbers) {
    std::string out;
    append_set(out, numbers);
    return out;
}

void append_set(std::string& out, std::span<const std::uint32_t> numbers) {
    std::array<char, 24> text{};  // two numbers of ten digits, a colon and a comma
    const auto put = [&](char* at, std::uint32_t number) {
        return std::to_chars(at, text.data() + text.size(), number).ptr;
    };
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t end = i + 1;
        while (end < numbers.size() && numbers[end] == std::uint64_t{numbers[end - 1]} + 1) ++end;
        char* at = text.data();
        if (i != 0) *at++ = ',';
        at = put(at, numbers[i]);
        if (end - i > 1) {
            *at++ = ':';
            at = put(at, numbers[end - 1]);
        }
        out.append(text.data(), at);
        i = end;
    }
}

}  // namespace posthouse::imap
