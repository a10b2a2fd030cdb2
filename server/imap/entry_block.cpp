#include "server/imap/entry_block.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "protocols/base/result.h"

namespace posthouse::server::imap {

namespace {

// Turns the order of signed numbers into that of unsigned ones.
constexpr std::uint64_t kSign = 1ULL << 63U;

std::uint32_t width_of(std::uint64_t span) {
    if (span == 0) return 0;
    if (span <= std::numeric_limits<std::uint8_t>::max()) return 1;
    if (span <= std::numeric_limits<std::uint16_t>::max()) return 2;
    return span <= std::numeric_limits<std::uint32_t>::max() ? 4 : 8;
}

template <class T>
std::uint64_t load(const std::uint8_t* at) {
    T out;
    std::memcpy(&out, at, sizeof out);
    return out;
}

template <class T>
void store(std::uint8_t* at, std::uint64_t value) {
    const T narrow = static_cast<T>(value);
    std::memcpy(at, &narrow, sizeof narrow);
}

}  // namespace

// A field as an unsigned number. UIDs less their place grow where UIDs grow, and stand still in a run without gaps.
std::uint64_t EntryBlock::raw(const Line& line, Field field, std::uint32_t index) {
    switch (field) {
        case kUid: return std::uint64_t{line.uid} - index;
        case kFlags: return line.flags;
        case kKeywordSet: return line.keyword_set;
        case kModSeq: return line.modseq;
        case kDate: return static_cast<std::uint64_t>(line.internal_date_s) ^ kSign;
        case kSize: return line.size_octets;
        case kFields: break;
    }
    return 0;
}

EntryBlock::EntryBlock(std::span<const Line> lines) : size_(static_cast<std::uint32_t>(lines.size())) {
    ASSERT(!lines.empty() && lines.size() <= kLines);
    std::uint32_t octets = 0;
    for (std::uint8_t f = 0; f < kFields; ++f) {
        const auto field = static_cast<Field>(f);
        std::uint64_t least = raw(lines[0], field, 0);
        std::uint64_t most = least;
        for (std::uint32_t i = 1; i < size_; ++i) {
            const std::uint64_t value = raw(lines[i], field, i);
            least = std::min(least, value);
            most = std::max(most, value);
        }
        columns_[f] = {least, octets, width_of(most - least)};
        octets += columns_[f].width * size_;
    }
    data_.resize(octets);
    for (std::uint8_t f = 0; f < kFields; ++f) {
        const Column& column = columns_[f];
        std::uint8_t* at = data_.data() + column.offset;
        for (std::uint32_t i = 0; i < size_ && column.width != 0; ++i, at += column.width) {
            const std::uint64_t value = raw(lines[i], static_cast<Field>(f), i) - column.least;
            switch (column.width) {
                case 1: store<std::uint8_t>(at, value); break;
                case 2: store<std::uint16_t>(at, value); break;
                case 4: store<std::uint32_t>(at, value); break;
                default: store<std::uint64_t>(at, value); break;
            }
        }
    }
    constexpr storage::FlagBits kSeen = storage::bit(storage::Flag::seen);
    unseen_ = static_cast<std::uint32_t>(
        std::ranges::count_if(lines, [](const Line& line) { return (line.flags & kSeen) == 0; }));
}

std::uint64_t EntryBlock::value(Field field, std::uint32_t index) const {
    const Column& column = columns_[field];
    const std::uint8_t* at = data_.data() + column.offset + std::size_t{index} * column.width;
    switch (column.width) {
        case 0: return column.least;
        case 1: return column.least + *at;
        case 2: return column.least + load<std::uint16_t>(at);
        case 4: return column.least + load<std::uint32_t>(at);
        default: return column.least + load<std::uint64_t>(at);
    }
}

Line EntryBlock::line(std::uint32_t index) const {
    Line out;
    out.uid = uid(index);
    out.flags = flags(index);
    out.keyword_set = keyword_set(index);
    out.modseq = value(kModSeq, index);
    out.internal_date_s = static_cast<std::int64_t>(value(kDate, index) ^ kSign);
    out.size_octets = value(kSize, index);
    return out;
}

std::uint32_t EntryBlock::lower_bound(storage::Uid wanted) const {
    std::uint32_t first = 0;
    std::uint32_t last = size_;
    while (first < last) {
        const std::uint32_t middle = (first + last) / 2;
        if (uid(middle) < wanted)
            first = middle + 1;
        else
            last = middle;
    }
    return first;
}

}  // namespace posthouse::server::imap
