#include "storage/backup/records.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

namespace posthouse::storage::backup {
namespace {

constexpr char kRecordBegin = 'P';

std::uint32_t crc_more(std::uint32_t crc, std::string_view octets) {
    const auto* start = reinterpret_cast<const unsigned char*>(octets.data());
    return static_cast<std::uint32_t>(crc32_z(crc, start, octets.size()));
}

std::string_view cut(std::string_view& octets, std::uint64_t count) {
    const std::string_view out = octets.substr(0, std::min<std::uint64_t>(count, octets.size()));
    octets.remove_prefix(out.size());
    return out;
}

}  // namespace

void RecordWalk::feed(std::string_view octets) {
    while (!octets.empty()) {
        if (position_ < kFileHeaderOctets) {
            take_file_header(octets);
        } else if (left_ > 0) {
            take_payload(octets);
        } else {
            take_header(octets);
        }
    }
}

void RecordWalk::take_file_header(std::string_view& octets) {
    const std::string_view part = cut(octets, kFileHeaderOctets - header_.size());
    header_ += part;
    position_ += part.size();
    if (header_.size() < kFileHeaderOctets) return;
    if (header_ != format_file_header(static_cast<std::uint32_t>(segment_))) {
        told_(fmt::format("{}: the header of the file is damaged", name_));
    }
    header_.clear();
}

void RecordWalk::take_header(std::string_view& octets) {
    if (lost_ && header_.empty()) {
        const std::size_t at = std::min(octets.find(kRecordBegin), octets.size());
        octets.remove_prefix(at);
        position_ += at;
    }
    const std::string_view part = cut(octets, kRecordHeaderOctets - header_.size());
    header_ += part;
    position_ += part.size();
    if (header_.size() < kRecordHeaderOctets) return;
    const auto read = parse_record_header(header_);
    if (!read) {
        record_at_ = position_ - kRecordHeaderOctets;
        if (!lost_) told_(fmt::format("{}: the record at {} is damaged: {}", name_, record_at_, read.error().context));
        lost_ = true;
        // One of these octets may be where the next record begins.
        const std::size_t next = std::min(header_.find(kRecordBegin, 1), header_.size());
        header_.erase(0, next);
        return;
    }
    lost_ = false;
    record_ = *read;
    record_at_ = position_ - kRecordHeaderOctets;
    left_ = record_.payload_octets;
    crc_ = 0;
    header_.clear();
}

void RecordWalk::take_payload(std::string_view& octets) {
    const std::string_view part = cut(octets, left_);
    crc_ = crc_more(crc_, part);
    left_ -= part.size();
    position_ += part.size();
    if (left_ > 0 || crc_ == record_.payload_crc) return;
    told_(fmt::format("{}: message {} at {} does not match its checksum", name_, raw(record_.message), record_at_));
}

void RecordWalk::end() {
    if (left_ > 0) told_(fmt::format("{}: message {} at {} is cut off", name_, raw(record_.message), record_at_));
    if (left_ == 0 && !header_.empty() && !lost_) {
        told_(fmt::format("{}: the last record, at {}, is cut off", name_, position_ - header_.size()));
    }
}

Result<> PlaceCheck::pull() {
    TRY(row_, next_());
    header_.clear();
    taken_ = 0;
    crc_ = 0;
    readable_ = true;
    return {};
}

Result<> PlaceCheck::begin(std::int64_t segment) {
    if (!pulled_) {
        pulled_ = true;
        TRY_VOID(pull());
    }
    while (row_ && row_->segment < segment) {
        told_(*row_, "its segment is not there");
        TRY_VOID(pull());
    }
    segment_ = segment;
    position_ = 0;
    return {};
}

Result<> PlaceCheck::feed(std::string_view octets) { return take(octets, octets.size(), true); }

Result<> PlaceCheck::skip(std::uint64_t octets) { return take({}, octets, false); }

Result<> PlaceCheck::take(std::string_view octets, std::uint64_t count, bool readable) {
    while (count > 0) {
        if (!here()) {
            position_ += count;
            return {};
        }
        const std::uint64_t next_at = row_->position + taken_;
        if (position_ < next_at) {
            const std::uint64_t step = std::min(count, next_at - position_);
            if (readable) octets.remove_prefix(step);
            position_ += step;
            count -= step;
            continue;
        }
        if (position_ > next_at) {
            told_(*row_, "its row points into another record");
            TRY_VOID(pull());
            continue;
        }
        const std::uint64_t whole = kRecordHeaderOctets + row_->payload_octets;
        const std::uint64_t until = taken_ < kRecordHeaderOctets ? kRecordHeaderOctets : whole;
        const std::uint64_t step = std::min(count, until - taken_);
        if (readable) {
            const std::string_view part = cut(octets, step);
            if (taken_ < kRecordHeaderOctets) {
                header_ += part;
            } else {
                crc_ = crc_more(crc_, part);
            }
        } else {
            readable_ = false;
        }
        taken_ += step;
        position_ += step;
        count -= step;
        if (taken_ == whole) TRY_VOID(close_row());
    }
    return {};
}

Result<> PlaceCheck::close_row() {
    const auto judge = [this]() -> std::string {
        if (!readable_) return "its octets are lost";
        const auto header = parse_record_header(header_);
        if (!header) return header.error().context;
        if (raw(header->message) != row_->message || header->payload_octets != row_->payload_octets) {
            return "its row points to the record of another message";
        }
        if (header->payload_crc != crc_) return "its octets do not match their checksum";
        return "";
    };
    const std::string why = judge();
    if (!why.empty()) told_(*row_, why);
    ++checked_;
    return pull();
}

Result<> PlaceCheck::end() {
    while (here()) {
        told_(*row_, "it lies behind the end of its segment");
        TRY_VOID(pull());
    }
    return {};
}

Result<> PlaceCheck::finish() { return begin(INT64_MAX); }

}  // namespace posthouse::storage::backup
