#include "server/imap/entry_list.h"

#include <algorithm>

namespace posthouse::server::imap {

using storage::Uid;

namespace {

// Two neighbours that are smaller are put together: what was expunged to crumbs must not stay in crumbs.
constexpr std::size_t kCrumb = EntryBlock::kLines / 4;
// What one shared block costs beside its own octets: its place in the list and the counts of its owners.
constexpr std::size_t kBlockOverhead = 48;

// The lines of `block` with the changes that fall to it, in order.
template <class Emit>
void merge(const EntryBlock& block, std::span<const Line> changed, std::span<const Uid> removed, Emit emit) {
    std::size_t at = 0;
    std::size_t gone = 0;
    const auto put = [&](const Line& line) {
        while (gone < removed.size() && removed[gone] < line.uid) ++gone;
        if (gone == removed.size() || removed[gone] != line.uid) emit(line);
    };
    for (std::uint32_t i = 0; i < block.size(); ++i) {
        const Line old = block.line(i);
        for (; at < changed.size() && changed[at].uid < old.uid; ++at) put(changed[at]);
        if (at < changed.size() && changed[at].uid == old.uid)
            put(changed[at++]);
        else
            put(old);
    }
    for (; at < changed.size(); ++at) put(changed[at]);
}

// Takes from the front of `all` what is not above `last`.
template <class T, class UidOf>
std::span<const T> take_until(std::span<const T>& all, Uid last, UidOf uid_of) {
    const auto end = std::ranges::upper_bound(all, last, {}, uid_of);
    const std::span<const T> out(all.begin(), end);
    all = std::span<const T>(end, all.end());
    return out;
}

}  // namespace

EntryList::Builder::Builder() : list_(std::make_shared<EntryList>()) { open_.reserve(EntryBlock::kLines); }

void EntryList::Builder::add(const Line& line) {
    open_.push_back(line);
    if (open_.size() == EntryBlock::kLines) flush();
}

void EntryList::Builder::flush() {
    if (open_.empty()) return;
    const auto block = std::make_shared<const EntryBlock>(open_);
    open_.clear();
    add_block(block);
}

void EntryList::Builder::add_block(const BlockPtr& block) {
    list_->parts_.push_back({block, list_->size_, block->last_uid()});
    list_->size_ += block->size();
    list_->unseen_ += block->unseen();
    list_->octets_ += block->octets() + kBlockOverhead;
}

EntryListPtr EntryList::Builder::finish() {
    flush();
    return std::move(list_);
}

std::size_t EntryList::part_of(std::uint32_t index, std::size_t near) const {
    for (std::size_t part = near; part < parts_.size() && part < near + 2; ++part) {
        if (index >= parts_[part].first && index - parts_[part].first < parts_[part].block->size()) return part;
    }
    const auto after = std::ranges::upper_bound(parts_, index, {}, &Part::first);
    return static_cast<std::size_t>(after - parts_.begin()) - 1;
}

Line EntryList::line(std::uint32_t index, std::size_t& near) const {
    near = part_of(index, near);
    return parts_[near].block->line(index - parts_[near].first);
}

Uid EntryList::uid(std::uint32_t index, std::size_t& near) const {
    near = part_of(index, near);
    return parts_[near].block->uid(index - parts_[near].first);
}

std::uint32_t EntryList::lower_bound(Uid uid) const {
    const auto part = std::ranges::lower_bound(parts_, uid, {}, &Part::last_uid);
    return part == parts_.end() ? size_ : part->first + part->block->lower_bound(uid);
}

std::uint32_t EntryList::first_unseen() const {
    const auto part = std::ranges::find_if(parts_, [](const Part& of) { return of.block->unseen() > 0; });
    if (part == parts_.end()) return size_;
    std::uint32_t i = 0;
    while ((part->block->flags(i) & storage::bit(storage::Flag::seen)) != 0) ++i;
    return part->first + i;
}

std::vector<std::uint32_t> EntryList::keyword_sets() const {
    std::vector<std::uint32_t> out;
    std::vector<std::uint32_t> of_block;
    const auto unite = [](std::vector<std::uint32_t>& ids) {
        std::ranges::sort(ids);
        const auto [first, last] = std::ranges::unique(ids);
        ids.erase(first, last);
    };
    for (const Part& part : parts_) {
        if (!part.block->has_keywords()) continue;
        of_block.clear();
        for (std::uint32_t i = 0; i < part.block->size(); ++i) {
            const std::uint32_t id = part.block->keyword_set(i);
            if (id != 0 && (of_block.empty() || of_block.back() != id)) of_block.push_back(id);
        }
        unite(of_block);
        out.insert(out.end(), of_block.begin(), of_block.end());
        if (out.size() > EntryBlock::kLines) unite(out);
    }
    unite(out);
    return out;
}

std::vector<Line> EntryList::lines() const {
    std::vector<Line> out;
    out.reserve(size_);
    for (const Part& part : parts_) {
        for (std::uint32_t i = 0; i < part.block->size(); ++i) out.push_back(part.block->line(i));
    }
    return out;
}

EntryListPtr EntryList::with(std::span<const Line> changed, std::span<const Uid> removed) const {
    Builder builder;
    builder.list_->parts_.reserve(parts_.size() + 1);
    const auto emit = [&](const Line& line) { builder.add(line); };
    for (std::size_t i = 0; i < parts_.size(); ++i) {
        const Part& part = parts_[i];
        // New entries fill the last block, unless it is full.
        const bool last = i + 1 == parts_.size() && part.block->size() < EntryBlock::kLines;
        const Uid until = last ? ~Uid{0} : part.last_uid;
        const auto changes = take_until(changed, until, &Line::uid);
        const auto removals = take_until(removed, until, std::identity());
        const bool touched = !changes.empty() || !removals.empty();
        const bool crumbs = !builder.open_.empty() && builder.open_.size() + part.block->size() <= kCrumb;
        if (touched || crumbs) {
            merge(*part.block, changes, removals, emit);
            continue;
        }
        builder.flush();
        builder.add_block(part.block);
    }
    // Not in any block: merge() with nothing beneath.
    std::size_t gone = 0;
    for (const Line& line : changed) {
        while (gone < removed.size() && removed[gone] < line.uid) ++gone;
        if (gone == removed.size() || removed[gone] != line.uid) emit(line);
    }
    return builder.finish();
}

}  // namespace posthouse::server::imap
