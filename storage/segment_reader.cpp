// The reading side of segments. A reader holds the descriptor: a segment that is removed under it stays readable.
#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "storage/segment.h"

namespace posthouse::storage {
namespace {

// Bodies up to this size are read and checked whole at the first touch; larger ones are read where they are asked.
constexpr std::uint64_t kWholeOctets = 64 * 1024;
constexpr std::uint64_t kUnpackedOctetsMax = 1ULL << 31U;

class RecordSource final : public BodyReader::Source {
 public:
    RecordSource(std::shared_ptr<const Descriptor> file, std::uint64_t payload_at, RecordHeader header,
                 std::uint64_t size_octets)
        : file_(std::move(file)), payload_at_(payload_at), header_(header), size_octets_(size_octets) {}

    std::uint64_t size_octets() const override { return size_octets_; }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into) const override {
        if (offset >= size_octets_) return std::size_t{0};
        const std::size_t count = std::min<std::uint64_t>(into.size(), size_octets_ - offset);
        into = into.first(count);
        if (header_.flags == 0 && size_octets_ > kWholeOctets) {
            TRY(const std::size_t got, storage::read_at(*file_, payload_at_ + offset, into));
            if (got == size_octets_) TRY_VOID(check({into.data(), got}));
            return got;
        }
        const std::lock_guard lock(mutex_);
        if (!loaded_) TRY_VOID(load());
        std::memcpy(into.data(), whole_.data() + offset, count);
        return count;
    }

 private:
    Result<> check(std::string_view payload) const {
        const auto* octets = reinterpret_cast<const unsigned char*>(payload.data());
        if (payload.size() == header_.payload_octets && crc32_z(0, octets, payload.size()) == header_.payload_crc)
            return {};
        return Error(Errc::corrupt,
                     fmt::format("the octets of message {} do not match their checksum", raw(header_.message)));
    }

    Result<> load() const {
        std::string payload(header_.payload_octets, '\0');
        TRY(const std::size_t got, storage::read_at(*file_, payload_at_, payload));
        payload.resize(got);
        TRY_VOID(check(payload));
        if (header_.flags == kRecordZstd) {
            std::string plain(size_octets_, '\0');
            const std::size_t made = ZSTD_decompress(plain.data(), plain.size(), payload.data(), payload.size());
            if (ZSTD_isError(made) != 0 || made != plain.size()) {
                return Error(Errc::corrupt, fmt::format("message {} cannot be unpacked", raw(header_.message)));
            }
            payload = std::move(plain);
        }
        whole_ = std::move(payload);
        loaded_ = true;
        return {};
    }

    std::shared_ptr<const Descriptor> file_;
    std::uint64_t payload_at_;
    RecordHeader header_;
    std::uint64_t size_octets_;
    mutable std::mutex mutex_;
    mutable bool loaded_ = false;
    mutable std::string whole_;
};

}  // namespace

Result<BodyReader> SegmentReaders::open(MessageId message, const Placement& placement, std::uint64_t size_octets) {
    auto segment = file(placement.segment);
    if (!segment) {
        const Errc code = segment.error().code == Errc::not_found ? Errc::corrupt : segment.error().code;
        return Error(code,
                     fmt::format("the segment of message {} is not there: {}", raw(message), segment.error().context));
    }
    char octets[kRecordHeaderOctets];
    TRY(const std::size_t got, read_at(**segment, placement.position, octets));
    TRY(const RecordHeader header, parse_record_header({octets, got}));
    const bool fits =
        header.flags == kRecordZstd ? size_octets <= kUnpackedOctetsMax : header.payload_octets == size_octets;
    if (header.message != message || header.payload_octets != placement.payload_octets || !fits) {
        return Error(Errc::corrupt, fmt::format("the record of message {} belongs to another one", raw(message)));
    }
    return BodyReader(std::make_shared<RecordSource>(*std::move(segment), placement.position + kRecordHeaderOctets,
                                                     header, size_octets));
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
