#include "server/imap/fetch_cache.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/imap/text_arena.h"

namespace posthouse::server::imap {

using storage::AccountId;
using storage::MailboxId;
using storage::Uid;

namespace {

constexpr std::uint64_t kColumnOverhead = 512;

/// Texts by UID; none is ever taken out. An open table in which neighbours by UID are neighbours in memory: lists are
/// filled and asked for in that order.
class TextTable {
 public:
    const std::string_view* find(Uid uid) const {
        if (slots_.empty()) return nullptr;
        const Slot& slot = slots_[place_of(slots_, uid)];
        return slot.uid == uid ? &slot.text : nullptr;
    }
    /// Octets of memory that add() would take.
    std::uint64_t cost(std::size_t length) const {
        return texts_.growth(length) + (is_full() ? grown() * sizeof(Slot) : 0);
    }
    /// `uid` is not there yet.
    void add(Uid uid, std::string_view text) {
        if (is_full()) grow();
        slots_[place_of(slots_, uid)] = Slot{uid, texts_.keep(text)};
        ++count_;
    }

 private:
    struct Slot {
        Uid uid = 0;  // no message has it
        std::string_view text;
    };
    using Slots = std::vector<Slot>;
    static constexpr std::size_t kSlotsMin = 16;  // and the length of a run of UIDs that lie together
    static constexpr std::uint64_t kScatter = 0x9e3779b97f4a7c15;

    bool is_full() const { return count_ * 4 >= slots_.size() * 3; }
    std::size_t grown() const { return std::max(kSlotsMin, slots_.size() * 2); }
    static std::size_t place_of(const Slots& slots, Uid uid) {
        const std::size_t mask = slots.size() - 1;
        std::size_t at = static_cast<std::size_t>(((uid / kSlotsMin) * kScatter >> 32U) * kSlotsMin + uid % kSlotsMin);
        while (slots[at & mask].uid != 0 && slots[at & mask].uid != uid) ++at;
        return at & mask;
    }
    void grow() {
        Slots larger(grown());
        for (const Slot& slot : slots_) {
            if (slot.uid != 0) larger[place_of(larger, slot.uid)] = slot;
        }
        slots_ = std::move(larger);
    }

    Slots slots_;  // a power of two
    TextArena texts_;
    std::size_t count_ = 0;
};

}  // namespace

class FetchCache::Column {
 public:
    explicit Column(Key k) : key(std::move(k)) {}

    const Key key;
    TextTable texts;
    std::uint64_t octets = kColumnOverhead;
    bool dropped = false;  // nobody finds it any more; it takes nothing in
    std::list<ColumnPtr>::iterator place;
};

FetchCache::FetchCache(std::uint64_t octets_max, Metrics* metrics) : octets_max_(octets_max) {
    if (metrics != nullptr) gauge_ = &metrics->gauge("imap_fetch_cache_octets", "Memory for what FETCH has answered");
}

FetchCache::~FetchCache() = default;

FetchCache::ColumnPtr FetchCache::column(AccountId account, MailboxId mailbox, std::string_view item) {
    Key key;
    key.account = account;
    key.mailbox = mailbox;
    key.item = item;
    const std::lock_guard lock(mutex_);
    const auto found = columns_.find(key);
    if (found != columns_.end()) {
        used_.splice(used_.end(), used_, found->second->place);
        return found->second;
    }
    auto made = std::make_shared<Column>(key);
    if (made->octets > octets_max_) {
        made->dropped = true;
        return made;
    }
    drop_oldest_but(*made, made->octets);
    made->place = used_.insert(used_.end(), made);
    octets_ += made->octets;
    columns_.emplace(std::move(key), made);
    count();
    return made;
}

bool FetchCache::has(const Column& column, Uid uid) const {
    const std::lock_guard lock(mutex_);
    return column.texts.find(uid) != nullptr;
}

bool FetchCache::append(const Column& column, Uid uid, std::string& out) const {
    const std::lock_guard lock(mutex_);
    const std::string_view* const text = column.texts.find(uid);
    if (text == nullptr) return false;
    out += *text;
    return true;
}

void FetchCache::keep(Column& column, Uid uid, std::string_view text) {
    if (text.size() > kFetchTextOctetsMax) return;
    const std::lock_guard lock(mutex_);
    if (column.dropped || column.texts.find(uid) != nullptr) return;
    const std::uint64_t cost = column.texts.cost(text.size());
    if (column.octets + cost > octets_max_) return;
    if (cost > 0) {
        drop_oldest_but(column, cost);
        column.octets += cost;
        octets_ += cost;
        count();
    }
    column.texts.add(uid, text);
}

std::uint64_t FetchCache::octets() const {
    const std::lock_guard lock(mutex_);
    return octets_;
}

// Whoever holds a dropped column reads it to the end of the command; the memory goes with the last of them.
void FetchCache::drop_oldest_but(const Column& kept, std::uint64_t wanted) {
    auto oldest = used_.begin();
    while (octets_ + wanted > octets_max_ && oldest != used_.end()) {
        const ColumnPtr column = *oldest;
        if (column.get() == &kept) {
            ++oldest;
            continue;
        }
        column->dropped = true;
        octets_ -= column->octets;
        columns_.erase(column->key);
        oldest = used_.erase(oldest);
    }
}

void FetchCache::count() {
    if (gauge_ != nullptr) gauge_->set(static_cast<std::int64_t>(octets_));
}

}  // namespace posthouse::server::imap
