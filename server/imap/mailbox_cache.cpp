#include "server/imap/mailbox_cache.h"

#include <algorithm>
#include <limits>

namespace posthouse::server::imap {

using storage::AccountId;
using storage::MailView;

namespace {

// What a slot costs beside the entries, so that a million empty mailboxes are bounded too.
constexpr std::uint64_t kSlotOctets = 512;
constexpr int kSweepSlots = 2;

// Reads all entries in pieces: nobody holds a million of them unpacked.
Result<EntryListPtr> load_entries(const MailView& mail, const Mailbox& mailbox) {
    constexpr std::uint64_t kPiece = 16'384;
    EntryList::Builder out;
    std::uint64_t span = kPiece;
    for (std::uint64_t first = 1; first < mailbox.uid_next;) {
        const std::uint64_t last = std::min<std::uint64_t>(first + span - 1, mailbox.uid_next - 1);
        TRY(const auto piece, mail.entries(mailbox.id, static_cast<Uid>(first), static_cast<Uid>(last)));
        for (const Entry& entry : piece) out.add(Line(entry));
        first = last + 1;
        // UIDs with wide gaps: look further at a time.
        if (piece.size() < kPiece / 4) span = std::min<std::uint64_t>(span * 2, std::numeric_limits<Uid>::max());
        if (piece.size() > kPiece) span = kPiece;
    }
    return out.finish();
}

std::vector<Line> lines_of(std::span<const Entry> entries) {
    std::vector<Line> out;
    out.reserve(entries.size());
    for (const Entry& entry : entries) out.emplace_back(entry);
    return out;
}

}  // namespace

Result<KeywordSets> read_keyword_sets(const MailView& mail, std::span<const std::uint32_t> ids) {
    KeywordSets out;
    for (const std::uint32_t id : ids) {
        TRY(auto keywords, mail.keywords(id));
        out.emplace_back(id, std::move(keywords));
    }
    return out;
}

struct MailboxCache::Slot {
    explicit Slot(Key of) : key(of) {}
    const Key key;
    std::mutex busy;  // held while an image is made; never taken with the cache's mutex held
    // Guarded by the cache's mutex.
    ImagePtr kept;
    std::weak_ptr<const Image> latest;  // `kept`, or what sessions alone still hold
    std::uint64_t octets = 0;           // of `kept`
    std::list<SlotPtr>::iterator place;
};

MailboxCache::MailboxCache(std::uint64_t octets_max, Metrics* metrics) : octets_max_(octets_max) {
    if (metrics == nullptr) return;
    loads_ = &metrics->counter("imap_mailbox_loads_total", "Mailboxes that were read as a whole to be selected");
    hits_ = &metrics->counter("imap_mailbox_cache_hits_total", "Mailboxes that were selected from the cache");
    gauge_ = &metrics->gauge("imap_mailbox_cache_octets", "Memory of the opened mailboxes that are kept");
}

MailboxCache::~MailboxCache() = default;

std::uint64_t MailboxCache::octets() const {
    const std::lock_guard lock(mutex_);
    return octets_;
}

Result<MailboxCache::ImagePtr> MailboxCache::load(const MailView& mail, const Mailbox& mailbox) {
    auto out = std::make_shared<Image>();
    out->mailbox = mailbox;
    TRY(out->entries, load_entries(mail, mailbox));
    TRY(out->keyword_sets, read_keyword_sets(mail, out->entries->keyword_sets()));
    return out;
}

// What `from` has become at `to`. `news` is the difference where the caller has read it already.
Result<MailboxCache::ImagePtr> MailboxCache::advance(const MailView& mail, const ImagePtr& image, const Mailbox& to,
                                                     const MailboxNews* news) {
    const Image& from = *image;
    if (from.mailbox.highest_modseq == to.highest_modseq) return image;
    auto out = std::make_shared<Image>();
    out->mailbox = to;
    if (news != nullptr) {
        out->entries = from.entries->with(lines_of(news->changed), news->expunged);
    } else {
        TRY(const auto changed, mail.changed_since(to.id, from.mailbox.highest_modseq));
        TRY(const auto removed, mail.expunged_since(to.id, from.mailbox.highest_modseq));
        out->entries = from.entries->with(lines_of(changed), removed);
    }
    for (const std::uint32_t id : out->entries->keyword_sets()) {
        const auto known =
            std::ranges::lower_bound(from.keyword_sets, id, {}, [](const auto& set) { return set.first; });
        if (known != from.keyword_sets.end() && known->first == id) {
            out->keyword_sets.push_back(*known);
            continue;
        }
        TRY(auto names, mail.keywords(id));
        out->keyword_sets.emplace_back(id, std::move(names));
    }
    return out;
}

// The store counts for itself: whatever went wrong with a difference, a mailbox is never told with wrong numbers.
bool MailboxCache::agrees(const Image& image) {
    return image.entries->size() == image.mailbox.messages && image.entries->unseen() == image.mailbox.unseen &&
           image.entries->last_uid() < image.mailbox.uid_next;
}

// The list owns its image, so that what a session holds can be found again when the cache has let go of it.
EntryListPtr MailboxCache::entries_of(const ImagePtr& image) { return EntryListPtr(image, image->entries.get()); }

OpenedMailbox MailboxCache::opened(const ImagePtr& image, const Mailbox& mailbox) {
    return OpenedMailbox(mailbox, entries_of(image), image->keyword_sets);
}

Result<OpenedMailbox> MailboxCache::open(const MailView& mail, AccountId account, const Mailbox& mailbox) {
    const SlotPtr slot = slot_of(Key(account, mailbox.id));
    const std::lock_guard busy(slot->busy);
    ImagePtr image = find(slot);
    if (image && image->mailbox.uid_validity == mailbox.uid_validity) {
        // Somebody with a later snapshot was here first: theirs is as true, and newer.
        if (image->mailbox.highest_modseq > mailbox.highest_modseq) return opened(image, image->mailbox);
        TRY(image, advance(mail, image, mailbox, nullptr));
        if (agrees(*image)) {
            if (hits_ != nullptr) hits_->add();
            keep(slot, image);
            return opened(image, mailbox);
        }
    }
    TRY(image, load(mail, mailbox));
    if (loads_ != nullptr) loads_->add();
    if (agrees(*image)) keep(slot, image);
    return opened(image, mailbox);
}

EntryListPtr MailboxCache::follow(const MailView& mail, AccountId account, const MailboxNews& news, ModSeq since) {
    SlotPtr slot;
    {
        const std::lock_guard lock(mutex_);
        const auto at = slots_.find(Key(account, news.mailbox.id));
        if (at == slots_.end()) return nullptr;
        slot = at->second;
    }
    const std::unique_lock busy(slot->busy, std::try_to_lock);
    if (!busy) return nullptr;
    const ImagePtr image = find(slot);
    if (!image || image->mailbox.uid_validity != news.mailbox.uid_validity) return nullptr;
    if (image->mailbox.highest_modseq > news.mailbox.highest_modseq) return nullptr;
    const bool same_start = image->mailbox.highest_modseq == since;
    const auto next = advance(mail, image, news.mailbox, same_start ? &news : nullptr);
    if (!next || !agrees(**next)) return nullptr;
    keep(slot, *next);
    return entries_of(*next);
}

void MailboxCache::forget(AccountId account, MailboxId mailbox) {
    ImagePtr dropped;  // is destroyed when the lock is not held any more
    const std::lock_guard lock(mutex_);
    const auto at = slots_.find(Key(account, mailbox));
    if (at == slots_.end()) return;
    Slot& slot = *at->second;
    if (slot.kept) {
        octets_ -= slot.octets;
        dropped = std::move(slot.kept);
        used_.erase(slot.place);
    }
    slots_.erase(at);
    if (gauge_ != nullptr) gauge_->set(static_cast<std::int64_t>(octets_));
}

MailboxCache::SlotPtr MailboxCache::slot_of(const Key& key) {
    const std::lock_guard lock(mutex_);
    SlotPtr& slot = slots_[key];
    if (!slot) slot = std::make_shared<Slot>(key);
    return slot;
}

MailboxCache::ImagePtr MailboxCache::find(const SlotPtr& slot) {
    const std::lock_guard lock(mutex_);
    return slot->latest.lock();
}

// Makes `image` the slot's newest. Called with the slot busy.
void MailboxCache::keep(const SlotPtr& slot, const ImagePtr& image) {
    std::vector<ImagePtr> dropped;  // destroyed after the lock: freeing a large image takes time
    const std::lock_guard lock(mutex_);
    const auto at = slots_.find(slot->key);
    if (at == slots_.end() || at->second != slot) return;  // forgotten meanwhile
    slot->latest = image;
    if (slot->kept) {
        octets_ -= slot->octets;
        dropped.push_back(std::move(slot->kept));
        used_.erase(slot->place);
    }
    slot->octets = image->entries->octets() + kSlotOctets;
    if (slot->octets <= octets_max_) {  // else it would drive out all others and then itself
        slot->kept = image;
        slot->place = used_.insert(used_.end(), slot);
        octets_ += slot->octets;
    }
    trim(dropped);
    sweep();
    if (gauge_ != nullptr) gauge_->set(static_cast<std::int64_t>(octets_));
}

void MailboxCache::trim(std::vector<ImagePtr>& dropped) {
    while (octets_ > octets_max_) {
        Slot& oldest = *used_.front();
        octets_ -= oldest.octets;
        dropped.push_back(std::move(oldest.kept));
        used_.pop_front();
    }
}

// Slots whose image nobody holds any more go, a few at each call, so that they never become many.
void MailboxCache::sweep() {
    auto at = slots_.upper_bound(swept_);
    for (int i = 0; i < kSweepSlots; ++i) {
        if (at == slots_.end()) at = slots_.begin();
        if (at == slots_.end()) return;
        swept_ = at->first;
        // Owned by the map alone: nobody is about to fill it.
        const bool idle = at->second.use_count() == 1 && at->second->latest.expired();
        at = idle ? slots_.erase(at) : std::next(at);
    }
}

}  // namespace posthouse::server::imap
