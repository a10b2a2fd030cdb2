#pragma once
/// server/imap/entry_block: some hundred neighbouring entries of a mailbox, packed and never changed again.
///
/// Each field is a column of fixed width (0, 1, 2, 4 or 8 octets): what is stored is the distance from the least value
/// of the block, so that a million ordinary messages take 10 to 16 octets each instead of 56, and no value is too
/// large. UIDs count from the first one's run: a block without gaps stores none.
/// Threads: immutable; any.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "storage/mail.h"

namespace posthouse::server::imap {

/// What is known of a message without reading it: storage::Entry but for what IMAP never tells.
struct Line {
    storage::Uid uid = 0;
    storage::FlagBits flags = 0;
    std::uint32_t keyword_set = 0;
    storage::ModSeq modseq = 0;
    std::int64_t internal_date_s = 0;
    std::uint64_t size_octets = 0;

    Line() = default;
    explicit Line(const storage::Entry& entry)
        : uid(entry.uid),
          flags(entry.flags),
          keyword_set(entry.keyword_set),
          modseq(entry.modseq),
          internal_date_s(entry.internal_date_s),
          size_octets(entry.size_octets) {}
    bool operator==(const Line&) const = default;
};

class EntryBlock {
 public:
    static constexpr std::size_t kLines = 512;

    /// 1 to kLines lines by UID.
    explicit EntryBlock(std::span<const Line> lines);

    std::uint32_t size() const { return size_; }
    /// Lines without \Seen.
    std::uint32_t unseen() const { return unseen_; }
    storage::Uid last_uid() const { return uid(size_ - 1); }
    std::size_t octets() const { return sizeof(EntryBlock) + data_.capacity(); }

    storage::Uid uid(std::uint32_t index) const { return static_cast<storage::Uid>(value(kUid, index) + index); }
    storage::FlagBits flags(std::uint32_t index) const { return static_cast<storage::FlagBits>(value(kFlags, index)); }
    std::uint32_t keyword_set(std::uint32_t index) const {
        return static_cast<std::uint32_t>(value(kKeywordSet, index));
    }
    /// Whether any line has keywords.
    bool has_keywords() const { return columns_[kKeywordSet].least != 0 || columns_[kKeywordSet].width != 0; }
    Line line(std::uint32_t index) const;
    /// Index of the first line with this UID or a higher one; size() where there is none.
    std::uint32_t lower_bound(storage::Uid uid) const;

 private:
    enum Field : std::uint8_t { kUid, kFlags, kKeywordSet, kModSeq, kDate, kSize, kFields };
    struct Column {
        std::uint64_t least = 0;
        std::uint32_t offset = 0;
        std::uint32_t width = 0;
    };
    static std::uint64_t raw(const Line& line, Field field, std::uint32_t index);
    std::uint64_t value(Field field, std::uint32_t index) const;

    std::uint32_t size_ = 0;
    std::uint32_t unseen_ = 0;
    std::array<Column, kFields> columns_{};
    std::vector<std::uint8_t> data_;
};

}  // namespace posthouse::server::imap
