#pragma once
/// server/imap/mailbox_cache: opened mailboxes, kept so that SELECT need not read a million rows again.
///
/// An image is what a mailbox held at one MODSEQ. It is brought up to date by what the store says changed since, which
/// costs as much as there is news; all sessions of a mailbox share its blocks (entry_list.h).
/// Authorisation is not decided here: whoever asks has found the mailbox in a snapshot on behalf of its account, and an
/// image is found under account and mailbox together.
/// Invariants  1. An image equals what a load of the mailbox at its MODSEQ would give.
///             2. It is taken only where UIDVALIDITY is the same, and kept only where the counts are those that the
///                store keeps of the mailbox; otherwise the mailbox is loaded afresh.
///             3. No image is older than the snapshot of whoever gets it.
/// Limits: images of `octets_max` in all are kept; beyond it those that were not asked for longest go. What is selected
/// somewhere is in memory all the same and stays findable as long as it is.
/// Threads: any; blocking (the pool's). Two who open one mailbox wait for each other, so that it is loaded once.
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "protocols/base/metrics.h"
#include "server/imap/access.h"
#include "server/imap/entry_list.h"
#include "server/imap/recent_claims.h"
#include "storage/mail.h"

namespace posthouse::server::imap {

inline constexpr std::uint64_t kMailboxCacheOctets = 64ULL * 1024 * 1024;

/// The names of these sets, in the same order.
Result<KeywordSets> read_keyword_sets(const storage::MailView& mail, std::span<const std::uint32_t> ids);

class MailboxCache {
 public:
    /// `metrics` may be null.
    explicit MailboxCache(std::uint64_t octets_max, Metrics* metrics = nullptr);
    ~MailboxCache();
    MailboxCache(const MailboxCache&) = delete;
    MailboxCache& operator=(const MailboxCache&) = delete;

    /// The mailbox as `mailbox` and `mail` say, both of one snapshot of `account`, or newer. Errors: of the reads.
    Result<OpenedMailbox> open(const storage::MailView& mail, storage::AccountId account, const Mailbox& mailbox);
    /// The entries at news.mailbox.highest_modseq, where an image is there and nobody is busy with it; else null.
    /// `news` is of the same snapshot and tells what came after `since`.
    EntryListPtr follow(const storage::MailView& mail, storage::AccountId account, const MailboxNews& news,
                        ModSeq since);
    /// The mailbox is gone.
    void forget(storage::AccountId account, MailboxId mailbox);

    /// What was told as \Recent, of all mailboxes.
    RecentClaims& recent() { return recent_; }

    /// Octets of the images that are kept.
    std::uint64_t octets() const;

 private:
    struct Image {
        Mailbox mailbox;
        EntryListPtr entries;
        KeywordSets keyword_sets;
    };
    using ImagePtr = std::shared_ptr<const Image>;
    using Key = std::pair<storage::AccountId, MailboxId>;
    struct Slot;
    using SlotPtr = std::shared_ptr<Slot>;

    static Result<ImagePtr> load(const storage::MailView& mail, const Mailbox& mailbox);
    static Result<ImagePtr> advance(const storage::MailView& mail, const ImagePtr& from, const Mailbox& to,
                                    const MailboxNews* news);
    static bool agrees(const Image& image);
    static EntryListPtr entries_of(const ImagePtr& image);
    static OpenedMailbox opened(const ImagePtr& image, const Mailbox& mailbox);
    SlotPtr slot_of(const Key& key);
    ImagePtr find(const SlotPtr& slot);
    void keep(const SlotPtr& slot, const ImagePtr& image);
    void trim(std::vector<ImagePtr>& dropped);
    void sweep();

    RecentClaims recent_;
    const std::uint64_t octets_max_;
    Metrics::Value* loads_ = nullptr;
    Metrics::Value* hits_ = nullptr;
    Metrics::Value* gauge_ = nullptr;
    mutable std::mutex mutex_;
    std::map<Key, SlotPtr> slots_;  // guarded by mutex_, as all below
    std::list<SlotPtr> used_;       // slots with an image of their own, the longest unused first
    std::uint64_t octets_ = 0;
    Key swept_{};
};

}  // namespace posthouse::server::imap
