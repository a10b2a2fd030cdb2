#include "storage/check/record_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

namespace posthouse::storage {
namespace {

// Most messages come with one read; a larger one in steps of this.
constexpr std::uint64_t kStepOctets = 1024 * 1024;
// What a packed record may claim to become.
constexpr std::uint64_t kUnpackedOctetsMax = 1ULL << 31U;

BodyLook bad(BodyState state, std::string why) { return BodyLook{state, std::move(why), 0}; }

}  // namespace

std::uint32_t crc_of_octets(std::uint32_t so_far, std::string_view octets) {
    return static_cast<std::uint32_t>(
        crc32_z(so_far, reinterpret_cast<const unsigned char*>(octets.data()), octets.size()));
}

Result<> RecordReader::open(std::int64_t segment) {
    if (segment == segment_ && file_) return {};
    segment_ = 0;
    TRY(file_, open_beneath(directory_.segments(), segment_name(segment), O_RDONLY));
    segment_ = segment;
    return {};
}

Result<std::string> RecordReader::unpack(std::string payload, std::uint8_t flags, std::uint64_t size_octets) {
    if (flags != kRecordZstd) {
        if (payload.size() == size_octets) return payload;
        return Error(Errc::corrupt, "its octets are fewer or more than those that came in");
    }
    if (size_octets > kUnpackedOctetsMax) return Error(Errc::corrupt, "it claims an impossible size");
    // Its frame says its size: the compactor packs a message in one piece.
    const unsigned long long said = ZSTD_getFrameContentSize(payload.data(), payload.size());
    if (said != ZSTD_CONTENTSIZE_UNKNOWN && said != ZSTD_CONTENTSIZE_ERROR && said != size_octets) {
        return Error(Errc::conflict, fmt::format("it has {} octets unpacked, mail.db says {}", said, size_octets));
    }
    // One octet more than it should be, so that a longer one shows.
    std::string plain(size_octets + 1, '\0');
    const std::size_t made = ZSTD_decompress(plain.data(), plain.size(), payload.data(), payload.size());
    if (ZSTD_isError(made) != 0 || made != size_octets) return Error(Errc::corrupt, "it cannot be unpacked");
    plain.resize(made);
    return plain;
}

Result<std::string> RecordReader::unpack_any(const std::string& payload, std::uint64_t octets_max) {
    const unsigned long long said = ZSTD_getFrameContentSize(payload.data(), payload.size());
    const bool known = said != ZSTD_CONTENTSIZE_UNKNOWN && said != ZSTD_CONTENTSIZE_ERROR;
    if (known && said > octets_max) return Error(Errc::too_large, "it claims to be larger");
    std::string plain(known ? said : octets_max, '\0');
    const std::size_t made = ZSTD_decompress(plain.data(), plain.size(), payload.data(), payload.size());
    if (ZSTD_isError(made) != 0) return Error(Errc::corrupt, "it cannot be unpacked");
    plain.resize(made);
    return plain;
}

Result<std::string> RecordReader::payload(const Placement& where) {
    TRY_VOID(open(where.segment));
    TRY(const std::uint64_t size, size_of(file_));
    const std::uint64_t from = where.position + kRecordHeaderOctets;
    std::string out(from >= size ? 0 : std::min(where.payload_octets, size - from), '\0');
    TRY(const std::size_t got, read_at(file_, from, out));
    out.resize(got);
    return out;
}

BodyLook RecordReader::look(MessageId message, const Placement& where, std::uint64_t size_octets, Want want) {
    message_.clear();
    if (const Result<> opened = open(where.segment); !opened) {
        return bad(BodyState::unreadable, fmt::format("its segment {} cannot be opened ({})",
                                                      segment_name(where.segment), opened.error().context));
    }
    const std::uint64_t first = kRecordHeaderOctets + std::min(where.payload_octets, kStepOctets);
    buffer_.resize(first);
    const auto got = read_at(file_, where.position, buffer_);
    if (!got) return bad(BodyState::unreadable, got.error().context);
    buffer_.resize(*got);
    if (*got < kRecordHeaderOctets) return bad(BodyState::unreadable, "it lies beyond the end of its segment's file");
    const auto header = parse_record_header(std::string_view(buffer_).substr(0, kRecordHeaderOctets));
    if (!header) return bad(BodyState::unreadable, header.error().context);
    if (header->message != message) {
        return bad(BodyState::unreadable, fmt::format("the record there is of message {}", raw(header->message)));
    }
    if (header->payload_octets != where.payload_octets) {
        return bad(BodyState::unreadable, fmt::format("the record there has {} octets, mail.db says {}",
                                                      header->payload_octets, where.payload_octets));
    }
    return judge_payload(*header, where, size_octets, want);
}

BodyLook RecordReader::judge_payload(const RecordHeader& header, const Placement& where, std::uint64_t size_octets,
                                     Want want) {
    const bool packed = header.flags == kRecordZstd;
    const bool keep = packed || want == Want::message;
    std::uint64_t done = buffer_.size() - kRecordHeaderOctets;
    std::string_view step = std::string_view(buffer_).substr(kRecordHeaderOctets);
    std::uint32_t crc = crc_of_octets(0, step);
    std::string all;
    if (keep) all.assign(step);
    while (done < where.payload_octets) {
        buffer_.resize(std::min(where.payload_octets - done, kStepOctets));
        const auto got = read_at(file_, where.position + kRecordHeaderOctets + done, buffer_);
        if (!got) return bad(BodyState::damaged, got.error().context);
        if (*got == 0) break;
        step = std::string_view(buffer_).substr(0, *got);
        crc = crc_of_octets(crc, step);
        if (keep) all.append(step);
        done += *got;
    }
    BodyLook look;
    look.octets = done + kRecordHeaderOctets;
    if (done < where.payload_octets) {
        look.state = BodyState::damaged;
        look.why = fmt::format("only {} of its {} octets are there: its file was cut", done, where.payload_octets);
    } else if (crc != header.payload_crc) {
        look.state = BodyState::damaged;
        look.why = "its octets do not match their checksum";
    } else if (!packed && header.payload_octets != size_octets) {
        // The octets are those that were stored: what mail.db says of them is wrong, and the repair puts it right.
        look.state = BodyState::unreadable;
        look.why = fmt::format("it has {} octets, mail.db says {}", header.payload_octets, size_octets);
    } else if (!keep) {
        return look;
    } else if (auto plain = unpack(std::move(all), header.flags, size_octets); plain) {
        message_ = *std::move(plain);
    } else if (plain.error().code == Errc::conflict) {
        look.state = BodyState::unreadable;
        look.why = plain.error().context;
    } else {
        look.state = BodyState::damaged;
        look.why = plain.error().context;
    }
    return look;
}

}  // namespace posthouse::storage
