#pragma once
/// server/imap/text_arena: many short texts that are given back together: no allocation each, no overhead each.
/// Views it hands out live as long as it does, wherever it is moved to. Threads: one at a time.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace posthouse::server::imap {

class TextArena {
 public:
    TextArena() = default;

    /// A copy of `text`.
    std::string_view keep(std::string_view text) {
        if (text.size() > room_) grow(text.size());
        char* const start = next_;
        if (!text.empty()) std::memcpy(start, text.data(), text.size());
        next_ += text.size();
        room_ -= text.size();
        return {start, text.size()};
    }
    /// Octets of memory that keep() would take for `length` more; 0 where there is room.
    std::size_t growth(std::size_t length) const { return length <= room_ ? 0 : block_octets(length); }
    /// Octets of memory.
    std::size_t octets() const { return octets_; }

 private:
    static constexpr std::size_t kBlockOctetsMin = 1024;
    static constexpr std::size_t kBlockOctetsMax = 64UL * 1024;

    std::size_t block_octets(std::size_t length) const {
        return std::max(length, std::clamp(octets_, kBlockOctetsMin, kBlockOctetsMax));
    }
    void grow(std::size_t length) {
        const std::size_t octets = block_octets(length);
        blocks_.push_back(std::make_unique_for_overwrite<char[]>(octets));
        next_ = blocks_.back().get();
        room_ = octets;
        octets_ += octets;
    }

    std::vector<std::unique_ptr<char[]>> blocks_;
    char* next_ = nullptr;
    std::size_t room_ = 0;
    std::size_t octets_ = 0;
};

}  // namespace posthouse::server::imap
