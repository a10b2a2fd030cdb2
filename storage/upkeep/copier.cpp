#include "storage/upkeep/copier.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

namespace posthouse::storage {
namespace {

constexpr int kPackLevel = 1;  // level 3 saves a few percent more and takes twice the time
constexpr std::size_t kLookStep = 256;
constexpr std::uint64_t kPayloadOctetsMax = 1ULL << 31U;

std::uint32_t crc_of(std::string_view octets) {
    return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const unsigned char*>(octets.data()), octets.size()));
}

}  // namespace

Result<> walk_records(const Descriptor& file, std::uint64_t octets,
                      const std::function<Result<>(const MetRecord&)>& visit) {
    std::uint64_t at = kFileHeaderOctets;
    while (at < octets) {
        char head[kRecordHeaderOctets];
        TRY(const std::size_t got, read_at(file, at, head));
        TRY(const RecordHeader header, parse_record_header({head, got}));
        if (header.payload_octets > octets - at - kRecordHeaderOctets) {
            return Error(Errc::corrupt, fmt::format("a record at {} reaches beyond its segment", at));
        }
        TRY_VOID(visit(MetRecord{header, at}));
        at += kRecordHeaderOctets + header.payload_octets;
    }
    return {};
}

Result<> Copier::copy(std::int64_t segment, std::uint64_t octets, const Descriptor& to) {
    segment_ = segment;
    to_ = &to;
    written_ = end_ = kFileHeaderOctets;
    TRY(from_, open_beneath(directory_of(store_).segments(), segment_name(segment), O_RDONLY));
    std::vector<MetRecord> met;
    TRY_VOID(walk_records(from_, octets, [&](const MetRecord& record) -> Result<> {
        met.push_back(record);
        if (met.size() < kLookStep) return {};
        TRY_VOID(copy_living(met));
        met.clear();
        return {};
    }));
    TRY_VOID(copy_living(met));
    return flush();
}

Result<> Copier::copy_living(const std::vector<MetRecord>& met) {
    // By the key of each: there is no index that would find the messages of a segment.
    TRY(const std::vector<MetRecord> living,
        store_.read([&](const Snapshot& snapshot) -> Result<std::vector<MetRecord>> {
            Query q = context_of(snapshot).db.query(
                "SELECT 1 FROM messages WHERE id = ?1 AND segment = ?2 AND position = ?3");
            std::vector<MetRecord> out;
            for (const MetRecord& record : met) {
                q.reset();
                TRY(const bool lives, q.bind(record.header.message, segment_, record.position).row());
                if (lives) out.push_back(record);
            }
            return out;
        }));
    for (const MetRecord& record : living) TRY_VOID(copy_one(record));
    pace_.spend(static_cast<double>(met.size() * kRecordHeaderOctets), octets_per_second_);
    return {};
}

Result<> Copier::copy_one(const MetRecord& record) {
    if (pace_.stopping()) return Error(Errc::cancelled, "the compaction was asked to stop");
    const RecordHeader& header = record.header;
    if (header.payload_octets > kPayloadOctetsMax) return Error(Errc::corrupt, "a record is too long to be true");
    payload_.resize(header.payload_octets);
    TRY(const std::size_t got, read_at(from_, record.position + kRecordHeaderOctets, payload_));
    // A damaged body is not copied: under a fresh checksum it would look healthy.
    if (got != payload_.size() || crc_of(payload_) != header.payload_crc) {
        return Error(Errc::corrupt, fmt::format("message {} does not match its checksum", raw(header.message)));
    }
    RecordHeader copied = header;
    std::string_view payload = payload_;
    // Large ones stay as they are: parts of them are read without unpacking the whole.
    if (header.flags == 0 && payload_.size() <= kSpoolOctets) {
        packed_.resize(ZSTD_compressBound(payload_.size()));
        const std::size_t made =
            ZSTD_compress(packed_.data(), packed_.size(), payload_.data(), payload_.size(), kPackLevel);
        if (ZSTD_isError(made) == 0 && made < payload_.size()) {
            payload = std::string_view(packed_).substr(0, made);
            copied.flags = kRecordZstd;
            copied.payload_octets = made;
            copied.payload_crc = crc_of(payload);
        }
    }
    moves_.push_back(Move{header.message, record.position, header.payload_octets, end_, copied.payload_octets});
    TRY_VOID(put(format_record_header(copied)));
    TRY_VOID(put(payload));
    pace_.spend(static_cast<double>(payload_.size() + payload.size()), octets_per_second_);
    return {};
}

Result<> Copier::put(std::string_view octets) {
    buffer_ += octets;
    end_ += octets.size();
    return buffer_.size() >= kWriteStepOctets ? flush() : Result<>();
}

Result<> Copier::flush() {
    TRY_VOID(write_at(*to_, written_, buffer_));
    written_ += buffer_.size();
    buffer_.clear();
    return {};
}

}  // namespace posthouse::storage
