#pragma once
/// storage/search/id_set (internal): a set of message ids as bits. Ids grow, so that a million of them take 130 KB.
/// Threads: as a container.
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <vector>

#include "storage/types.h"

namespace posthouse::storage::search {

class IdSet {
 public:
    bool contains(MessageId id) const {
        const auto block = blocks_.find(raw(id) >> kBlockShift);
        return block != blocks_.end() && (block->second[word_of(id)] & bit_of(id)) != 0;
    }
    void insert(MessageId id) { blocks_[raw(id) >> kBlockShift][word_of(id)] |= bit_of(id); }
    void erase(MessageId id) {
        const auto block = blocks_.find(raw(id) >> kBlockShift);
        if (block != blocks_.end()) block->second[word_of(id)] &= ~bit_of(id);
    }
    std::uint64_t size() const {
        std::uint64_t out = 0;
        for (const auto& [key, block] : blocks_) {
            for (const std::uint64_t word : block) out += static_cast<std::uint64_t>(std::popcount(word));
        }
        return out;
    }
    void clear() { blocks_.clear(); }
    /// In order.
    std::vector<MessageId> list() const {
        std::vector<MessageId> out;
        for (const auto& [key, block] : blocks_) {
            for (std::size_t i = 0; i < kWords; ++i) {
                for (std::uint64_t word = block[i]; word != 0; word &= word - 1) {
                    const auto low = static_cast<std::int64_t>(i) * 64 + std::countr_zero(word);
                    out.push_back(static_cast<MessageId>((key << kBlockShift) + low));
                }
            }
        }
        return out;
    }
    /// One past the highest; 0 of an empty set.
    MessageId upper_bound() const {
        for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
            for (std::size_t i = kWords; i-- > 0;) {
                const std::uint64_t word = block->second[i];
                if (word == 0) continue;
                const auto high = static_cast<std::int64_t>(i) * 64 + 64 - std::countl_zero(word);
                return static_cast<MessageId>((block->first << kBlockShift) + high);
            }
        }
        return MessageId{};
    }

    void keep_common(const IdSet& other) {
        for (auto& [key, block] : blocks_) {
            const auto theirs = other.blocks_.find(key);
            for (std::size_t i = 0; i < kWords; ++i) block[i] &= theirs == other.blocks_.end() ? 0 : theirs->second[i];
        }
    }
    void add(const IdSet& other) {
        for (const auto& [key, theirs] : other.blocks_) {
            Block& block = blocks_[key];
            for (std::size_t i = 0; i < kWords; ++i) block[i] |= theirs[i];
        }
    }
    void remove(const IdSet& other) {
        for (auto& [key, block] : blocks_) {
            const auto theirs = other.blocks_.find(key);
            if (theirs == other.blocks_.end()) continue;
            for (std::size_t i = 0; i < kWords; ++i) block[i] &= ~theirs->second[i];
        }
    }
    /// Calls `visit(MessageId)` for all from `first` to `last`, in order.
    template <class F>
    void each(MessageId first, MessageId last, F visit) const {
        for (auto block = blocks_.lower_bound(raw(first) >> kBlockShift); block != blocks_.end(); ++block) {
            for (std::int64_t i = 0; i < (std::int64_t{1} << kBlockShift); ++i) {
                const auto id = static_cast<MessageId>((block->first << kBlockShift) + i);
                if (id < first) continue;
                if (id > last) return;
                if ((block->second[word_of(id)] & bit_of(id)) != 0) visit(id);
            }
        }
    }

 private:
    static constexpr int kBlockShift = 12;  // as many ids as a process reserves at a time
    static constexpr std::size_t kWords = (std::size_t{1} << kBlockShift) / 64;
    using Block = std::array<std::uint64_t, kWords>;
    static std::size_t word_of(MessageId id) { return (static_cast<std::uint64_t>(raw(id)) / 64) % kWords; }
    static std::uint64_t bit_of(MessageId id) { return std::uint64_t{1} << (static_cast<std::uint64_t>(raw(id)) % 64); }

    std::map<std::int64_t, Block> blocks_;
};

}  // namespace posthouse::storage::search
