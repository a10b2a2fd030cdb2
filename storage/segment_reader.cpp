// The reading side of segments. A reader holds the descriptor: a segment that is removed under it stays readable.
#include <fcntl.h>
#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>

#include "protocols/base/log.h"
#include "storage/checksum.h"
#include "storage/segment.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

// Bodies up to this size are read and checked whole at the first touch; larger ones are read where they are asked.
constexpr std::uint64_t kWholeOctets = 64UL * 1024;
constexpr std::uint64_t kUnpackedOctetsMax = 1ULL << 31U;
constexpr int kRelocationsMax = 3;
constexpr std::uint64_t kRelocationCacheOctets = 256ULL * 1024;

constexpr std::size_t kCheckStepOctets = 256UL * 1024;

}  // namespace

/// Records whose octets matched their checksum not long ago: a client that fetches a large message in many parts does
/// not have all of it read for each. Threads: any.
class CheckedRecords {
 public:
    bool knows(const Placement& record) {
        const std::lock_guard lock(mutex_);
        const auto found = checked_.find({record.segment, record.position});
        return found != checked_.end() && std::chrono::steady_clock::now() - found->second < kTrustSpan;
    }
    void note(const Placement& record) {
        const std::lock_guard lock(mutex_);
        if (checked_.size() >= kRecordsMax) checked_.clear();
        checked_[{record.segment, record.position}] = std::chrono::steady_clock::now();
    }

 private:
    static constexpr std::chrono::seconds kTrustSpan{60};
    static constexpr std::size_t kRecordsMax = 8192;
    std::mutex mutex_;
    std::map<std::pair<std::int64_t, std::uint64_t>, std::chrono::steady_clock::time_point> checked_;
};

namespace {

Error damaged(MessageId message, std::int64_t segment, std::string_view why) {
    return Error(Errc::corrupt, fmt::format("message {} in segments/{} is damaged: {}; run posthouse fsck",
                                            raw(message), segment_name(segment), why));
}

/// Damage stands in the log whoever meets it, and whatever the reader makes of the error.
Error logged(Error error) {
    log::error("storage", "{}", error.context);
    return error;
}

/// `count` octets from `offset` on, fewer at the end of the file.
Result<std::string> read_string(const Descriptor& file, std::uint64_t offset, std::uint64_t count) {
    std::string out;
    Result<std::size_t> got = std::size_t{0};
    // Without filling it with zeros first.
    out.resize_and_overwrite(count, [&](char* octets, std::size_t) {  // some libraries give the capacity here
        got = storage::read_at(file, offset, std::span(octets, count));
        return got ? *got : std::size_t{0};
    });
    if (!got) return Error(got.error());
    return out;
}

class RecordSource final : public BodyReader::Source {
 public:
    /// `record` is what was read of it: its header and, of a small one, the octets behind it too.
    RecordSource(std::shared_ptr<const Descriptor> file, const Placement& place, RecordHeader header,
                 std::uint64_t size_octets, std::shared_ptr<CheckedRecords> checked, std::string record)
        : file_(std::move(file)),
          place_(place),
          payload_at_(place.position + kRecordHeaderOctets),
          header_(header),
          size_octets_(size_octets),
          checked_(std::move(checked)),
          record_(std::move(record)) {}

    std::uint64_t size_octets() const override { return size_octets_; }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) const override {
        if (offset >= size_octets_) return std::size_t{0};
        const std::size_t count = std::min<std::uint64_t>(into.size(), size_octets_ - offset);
        into = into.first(count);
        if (header_.flags == 0 && size_octets_ > kWholeOctets) {
            // A part is given out only from a whole that was found good: the checksum covers all of it.
            if (count != size_octets_) TRY_VOID(check_all());
            TRY(const std::size_t got, storage::read_at(*file_, payload_at_ + offset, into));
            if (count == size_octets_) TRY_VOID(check({into.data(), got}));
            return got;
        }
        const std::lock_guard lock(mutex_);
        if (!loaded_) TRY_VOID(load());
        std::memcpy(into.data(), plain_.data() + offset, count);
        return count;
    }

 private:
    Result<> check(std::string_view payload) const { return check(payload.size(), crc32_of(payload)); }

    Result<> check(std::uint64_t octets, std::uint32_t crc) const {
        if (octets == header_.payload_octets && crc == header_.payload_crc) return {};
        const bool cut = octets != header_.payload_octets;
        return logged(damaged(header_.message, place_.segment,
                              cut ? "its end is missing" : "its octets do not match their checksum"));
    }

    // Once for each reader, and not where another reader has done so lately.
    Result<> check_all() const {
        const std::lock_guard lock(mutex_);
        if (good_ || checked_->knows(place_)) return {};
        std::string step(kCheckStepOctets, '\0');
        std::uint64_t at = 0;
        std::uint32_t crc = 0;
        while (at < header_.payload_octets) {
            const std::size_t want = std::min<std::uint64_t>(step.size(), header_.payload_octets - at);
            TRY(const std::size_t got, storage::read_at(*file_, payload_at_ + at, std::span(step).first(want)));
            crc = crc32_of(std::string_view(step).substr(0, got), crc);
            at += got;
            if (got < want) break;
        }
        TRY_VOID(check(at, crc));
        good_ = true;
        checked_->note(place_);
        return {};
    }

    Result<> load() const {
        if (header_.payload_octets > kWholeOctets) {
            TRY(record_, read_string(*file_, place_.position, kRecordHeaderOctets + header_.payload_octets));
        }
        plain_ = std::string_view(record_).substr(std::min<std::size_t>(kRecordHeaderOctets, record_.size()));
        TRY_VOID(check(plain_));
        if (header_.flags == kRecordZstd) {
            std::string plain(size_octets_, '\0');
            const std::size_t made = ZSTD_decompress(plain.data(), plain.size(), plain_.data(), plain_.size());
            if (ZSTD_isError(made) != 0 || made != plain.size()) {
                return logged(damaged(header_.message, place_.segment, "it cannot be unpacked"));
            }
            record_ = std::move(plain);
            plain_ = record_;
        }
        loaded_ = true;
        return {};
    }

    std::shared_ptr<const Descriptor> file_;
    Placement place_;
    std::uint64_t payload_at_;
    RecordHeader header_;
    std::uint64_t size_octets_;
    std::shared_ptr<CheckedRecords> checked_;
    mutable std::mutex mutex_;
    mutable bool good_ = false;
    mutable bool loaded_ = false;
    mutable std::string record_;
    mutable std::string_view plain_;  ///< in record_
};

}  // namespace

SegmentReaders::SegmentReaders(std::shared_ptr<Directory> directory)
    : directory_(std::move(directory)), checked_(std::make_shared<CheckedRecords>()) {}

Result<BodyReader> SegmentReaders::open(MessageId message, const Placement& placement, std::uint64_t size_octets) {
    Result<BodyReader> opened = open_at(message, placement, size_octets);
    Placement tried = placement;
    for (int round = 0; round < kRelocationsMax && !opened && opened.error().code == Errc::corrupt; ++round) {
        // The snapshot of the caller may be older than a move and the removal of the old segment.
        TRY(const std::optional<Placement> now, placement_now(message));
        if (!now || *now == tried) break;
        tried = *now;
        opened = open_at(message, tried, size_octets);
    }
    if (!opened && opened.error().code == Errc::corrupt) return logged(opened.error());
    return opened;
}

Result<std::optional<Placement>> SegmentReaders::placement_now(MessageId message) const {
    // A connection of its own: rare, and the caller's shows an older picture by design.
    TRY(const std::unique_ptr<Connection> db,
        Connection::open(directory_->database_path(), Connection::Mode::read, kRelocationCacheOctets));
    Query q = db->query("SELECT segment, position, stored_octets FROM messages WHERE id = ?1");
    TRY(const bool found, q.bind(message).row());
    if (!found) return std::optional<Placement>();
    return std::optional(Placement{q.i64(0), q.u64(1), q.u64(2)});
}

void SegmentReaders::forget(std::int64_t segment) {
    const std::lock_guard lock(mutex_);
    files_.erase(segment);
}

Result<BodyReader> SegmentReaders::open_at(MessageId message, const Placement& placement, std::uint64_t size_octets) {
    auto segment = file(placement.segment);
    if (!segment && segment.error().code == Errc::not_found) {
        return damaged(message, placement.segment, "that file is missing");
    }
    if (!segment) return Error(segment.error());
    // A small record in one read.
    const std::uint64_t behind = placement.payload_octets <= kWholeOctets ? placement.payload_octets : 0;
    TRY(std::string record, read_string(**segment, placement.position, kRecordHeaderOctets + behind));
    const auto parsed = parse_record_header(std::string_view(record).substr(0, kRecordHeaderOctets));
    if (!parsed) return damaged(message, placement.segment, parsed.error().context);
    const RecordHeader header = *parsed;
    const bool fits =
        header.flags == kRecordZstd ? size_octets <= kUnpackedOctetsMax : header.payload_octets == size_octets;
    if (header.message != message || header.payload_octets != placement.payload_octets || !fits) {
        return damaged(message, placement.segment, "the record in its place belongs to another one");
    }
    return BodyReader(std::make_shared<RecordSource>(*std::move(segment), placement, header, size_octets, checked_,
                                                     std::move(record)));
}

Result<std::shared_ptr<const Descriptor>> SegmentReaders::file(std::int64_t segment) {
    const std::lock_guard lock(mutex_);
    if (const auto found = files_.find(segment); found != files_.end()) return found->second;
    TRY(Descriptor opened, open_beneath(directory_->segments(), segment_name(segment), O_RDONLY));
    if (files_.size() >= kOpenMax) files_.erase(files_.begin());
    auto shared = std::make_shared<const Descriptor>(std::move(opened));
    files_.emplace(segment, shared);
    return shared;
}

}  // namespace posthouse::storage
