#pragma once
/// storage/check/record_reader (internal): reads one record and judges it.
/// Threads: one.  Memory: the record, where it is packed or its octets are wanted; else one step.
#include <cstdint>
#include <memory>
#include <string>

#include "storage/directory.h"
#include "storage/segment.h"

namespace posthouse::storage {

enum class BodyState {
    good,
    damaged,    ///< octets are there, but not those that were stored
    unreadable  ///< no record of this message is there
};

struct BodyLook {
    BodyState state = BodyState::good;
    std::string why;           ///< half a sentence: "the header of its record is damaged"
    std::uint64_t octets = 0;  ///< read from the disk
};

enum class Want { verdict, message };

class RecordReader {
 public:
    explicit RecordReader(const Directory& directory) : directory_(directory) {}

    /// Judges the record of `message`. With Want::message its octets, unpacked, are in message() where it is good.
    BodyLook look(MessageId message, const Placement& where, std::uint64_t size_octets, Want want);
    const std::string& message() const { return message_; }
    /// The payload of a placement, whatever its header says, shorter at the end of the file.
    Result<std::string> payload(const Placement& where);
    /// The payload as a message: unpacked where `flags` say so; Errc::corrupt where it cannot be, Errc::conflict where
    /// it is whole but of another size.
    static Result<std::string> unpack(std::string payload, std::uint8_t flags, std::uint64_t size_octets);
    /// A packed payload whose size nobody knows any more, up to `octets_max`.
    static Result<std::string> unpack_any(const std::string& payload, std::uint64_t octets_max);
    /// The next look opens its file again.
    void forget() { segment_ = 0; }

 private:
    Result<> open(std::int64_t segment);
    BodyLook judge_payload(const RecordHeader& header, const Placement& where, std::uint64_t size_octets, Want want);

    const Directory& directory_;
    std::int64_t segment_ = 0;
    Descriptor file_;
    std::string buffer_;
    std::string message_;
};

std::uint32_t crc_of_octets(std::uint32_t so_far, std::string_view octets);

}  // namespace posthouse::storage
