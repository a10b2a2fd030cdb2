#include "server/imap/fetch_cache.h"

#include <utility>

namespace posthouse::server::imap {

using storage::AccountId;
using storage::MailboxId;
using storage::Uid;

namespace {

constexpr std::uint64_t kTextOverhead = 96;  // node of the table, head of the string, the allocator's share
constexpr std::uint64_t kColumnOverhead = 512;

}  // namespace

class FetchCache::Column {
 public:
    explicit Column(Key k) : key(std::move(k)) {}

    const Key key;
    std::unordered_map<Uid, std::string> texts;
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
    return column.texts.contains(uid);
}

bool FetchCache::append(const Column& column, Uid uid, std::string& out) const {
    const std::lock_guard lock(mutex_);
    const auto found = column.texts.find(uid);
    if (found == column.texts.end()) return false;
    out += found->second;
    return true;
}

void FetchCache::keep(Column& column, Uid uid, std::string_view text) {
    if (text.size() > kFetchTextOctetsMax) return;
    const std::uint64_t cost = text.size() + kTextOverhead;
    const std::lock_guard lock(mutex_);
    if (column.dropped || column.octets + cost > octets_max_) return;
    if (!column.texts.try_emplace(uid, text).second) return;
    drop_oldest_but(column, cost);
    column.octets += cost;
    octets_ += cost;
    count();
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
