#include "storage/check/walk.h"

#include <algorithm>

namespace posthouse::storage {
namespace {

constexpr std::string_view kMagic = "PHRC";
constexpr std::uint64_t kSectorOctets = 4096;

}  // namespace

std::string_view SegmentWalk::view(std::uint64_t position, std::size_t count) {
    if (position >= end_) return {};
    count = static_cast<std::size_t>(std::min<std::uint64_t>(count, end_ - position));
    if (position < window_at_ || position + count > window_at_ + window_.size()) {
        const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(kWindowOctets, end_ - position));
        window_.resize(size);
        window_at_ = position;
        auto got = read_at(file_, position, window_);
        // A sector that the disk does not give may spoil a large read only.
        if (!got) {
            window_.resize(std::min<std::uint64_t>(size, kSectorOctets - position % kSectorOctets));
            got = read_at(file_, position, window_);
        }
        window_.resize(got ? *got : 0);
    }
    const std::string_view all(window_);
    const auto from = static_cast<std::size_t>(position - window_at_);
    return from >= all.size() ? std::string_view() : all.substr(from, count);
}

std::optional<RecordHeader> SegmentWalk::header_at(std::uint64_t position) {
    const std::string_view octets = view(position, kRecordHeaderOctets);
    if (octets.size() < kRecordHeaderOctets) return std::nullopt;
    const auto header = parse_record_header(octets);
    if (!header) return std::nullopt;
    return *header;
}

void SegmentWalk::search() {
    while (position_ < end_) {
        const std::string_view octets = view(position_, kWindowOctets);
        if (octets.empty()) {
            const std::uint64_t step = kSectorOctets - position_ % kSectorOctets;
            skipped_ += std::min(step, end_ - position_);
            position_ = std::min(position_ + step, end_);
            continue;
        }
        const std::size_t at = octets.find(kMagic);
        // The magic may lie across the end of the window.
        const std::size_t passed = at != std::string_view::npos ? at
                                   : octets.size() > kMagic.size() - 1 && position_ + octets.size() < end_
                                       ? octets.size() - (kMagic.size() - 1)
                                       : octets.size();
        position_ += passed;
        skipped_ += passed;
        if (at == std::string_view::npos) continue;
        if (header_at(position_)) return;
        ++position_;
        ++skipped_;
    }
}

std::optional<FoundRecord> SegmentWalk::next() {
    if (position_ >= end_) return std::nullopt;
    std::optional<RecordHeader> header = header_at(position_);
    if (!header) {
        in_line_ = false;
        search();
        if (position_ >= end_) return std::nullopt;
        header = header_at(position_);
        if (!header) return std::nullopt;
    }
    FoundRecord found;
    found.position = position_;
    found.header = *header;
    found.in_line = in_line_;
    // A length beyond the file belongs to a file that was cut: its octets are what is left of it.
    const std::uint64_t payload =
        std::min(header->payload_octets, end_ - std::min(end_, position_ + kRecordHeaderOctets));
    position_ = std::min(end_, position_ + kRecordHeaderOctets) + payload;
    return found;
}

}  // namespace posthouse::storage
