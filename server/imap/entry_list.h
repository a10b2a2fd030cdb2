#pragma once
/// server/imap/entry_list: the entries of a mailbox at one moment, by UID, packed in blocks that versions share.
///
/// A version is never changed: with() makes the next one, which shares every block that the changes do not touch. So
/// the cache and all sessions of a mailbox hold one copy of a million entries, and a flag that changes costs one block.
/// Invariants  1. UIDs grow; no block is empty.
///             2. size(), unseen() and last_uid() are what a scan would give.
/// Threads: immutable; any.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "server/imap/entry_block.h"

namespace posthouse::server::imap {

class EntryList;
using EntryListPtr = std::shared_ptr<const EntryList>;

class EntryList {
 public:
    std::uint32_t size() const { return size_; }
    /// Lines without \Seen.
    std::uint32_t unseen() const { return unseen_; }
    /// 0 where the list is empty.
    storage::Uid last_uid() const { return parts_.empty() ? 0 : parts_.back().last_uid; }
    /// Memory of this version, shared blocks among it.
    std::size_t octets() const { return octets_; }

    /// `index` < size(). `near` is where the last look ended, and makes going along in order cheap; start with 0.
    Line line(std::uint32_t index, std::size_t& near) const;
    storage::Uid uid(std::uint32_t index, std::size_t& near) const;
    /// Index of the first entry with this UID or a higher one; size() where there is none.
    std::uint32_t lower_bound(storage::Uid uid) const;
    /// Index of the first entry without \Seen; size() where there is none.
    std::uint32_t first_unseen() const;
    /// Ids of the sets of keywords in use, in order.
    std::vector<std::uint32_t> keyword_sets() const;
    /// Everything, for tests and small lists.
    std::vector<Line> lines() const;

    /// The version in which `changed` stand as they are told (new ones are put in) and `removed` are gone. Both by UID;
    /// removed UIDs that are not there are passed over; one that is in both is gone.
    EntryListPtr with(std::span<const Line> changed, std::span<const storage::Uid> removed) const;

    /// Takes lines by UID and makes a list of them.
    class Builder {
     public:
        Builder();
        void add(const Line& line);
        EntryListPtr finish();

     private:
        friend class EntryList;
        using BlockPtr = std::shared_ptr<const EntryBlock>;
        void add_block(const BlockPtr& block);
        void flush();

        std::shared_ptr<EntryList> list_;
        std::vector<Line> open_;  // less than a block, not packed yet
    };

 private:
    struct Part {
        std::shared_ptr<const EntryBlock> block;
        std::uint32_t first = 0;  // index of its first line
        storage::Uid last_uid = 0;
    };
    std::size_t part_of(std::uint32_t index, std::size_t near) const;

    std::vector<Part> parts_;
    std::uint32_t size_ = 0;
    std::uint32_t unseen_ = 0;
    std::size_t octets_ = sizeof(EntryList);
};

}  // namespace posthouse::server::imap
