#pragma once
/// storage/check/walk (internal): the records of a segment's file, whatever happened to it.
/// Goes from record to record by their lengths; where none begins it searches on for the next header whose own checksum
/// holds. A sector that cannot be read is stepped over. Asks no database.
/// Threads: one a walk.  Memory: one buffer of kWindowOctets.
#include <cstdint>
#include <optional>
#include <string>

#include "storage/file.h"
#include "storage/segment.h"

namespace posthouse::storage {

struct FoundRecord {
    std::uint64_t position = 0;
    RecordHeader header;
    /// False: it, or one before it, was found by searching. The octets of a message can look like a record, too.
    bool in_line = true;
    std::uint64_t end() const { return position + kRecordHeaderOctets + header.payload_octets; }
};

class SegmentWalk {
 public:
    /// Octets from `position` to `end` of `file`, which must outlive the walk.
    SegmentWalk(const Descriptor& file, std::uint64_t position, std::uint64_t end)
        : file_(file), position_(position), end_(end) {}

    /// The next record; nothing at the end. Its payload may reach beyond the end of the file.
    std::optional<FoundRecord> next();
    /// Octets passed over that belong to no record.
    std::uint64_t skipped() const { return skipped_; }

 private:
    static constexpr std::size_t kWindowOctets = 256 * 1024;
    std::optional<RecordHeader> header_at(std::uint64_t position);
    /// Up to `count` octets at `position`, from the window; shorter at the end or where the disk gives none.
    std::string_view view(std::uint64_t position, std::size_t count);
    void search();

    const Descriptor& file_;
    std::uint64_t position_;
    std::uint64_t end_;
    std::uint64_t skipped_ = 0;
    bool in_line_ = true;
    std::string window_;
    std::uint64_t window_at_ = 0;
};

}  // namespace posthouse::storage
