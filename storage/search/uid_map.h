#pragma once
/// storage/search/uid_map (internal): which messages the UIDs of a mailbox
/// name. That never changes while a UID is there, and UIDs only grow, so that
/// what was read once need not be read again by the next search: only what came
/// in since. A UID that was expunged since may still be told: whoever asks with
/// it has not heard of that yet. Threads: any.   Limits: kKnownMax UIDs of all
/// mailboxes together, 12 octets each; the mailbox asked for longest ago goes
/// first. A mailbox of more is read each time.
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "storage/mail.h"

namespace posthouse::storage::search {

class UidMap {
 public:
    static constexpr std::size_t kKnownMax = 2'000'000;
    /// For fewer UIDs than these a whole mailbox is not read.
    static constexpr std::size_t kAskedMin = 1024;

    explicit UidMap(std::size_t known_max = kKnownMax) : known_max_(known_max) {}

    /// One message a UID (`uids` ascend); MessageId{} for what is not there.
    /// Errors are those of `mail`.
    Result<std::vector<MessageId>> messages_of(const MailView& mail, MailboxId mailbox, std::span<const Uid> uids);
    /// How many UIDs are remembered.
    std::size_t size() const;

 private:
    struct Known {
        std::vector<Uid> uids;  ///< ascending
        std::vector<MessageId> messages;
    };
    struct Kept {
        std::shared_ptr<const Known> known;
        std::uint64_t used = 0;  ///< turns_ when it was asked for last
    };
    std::shared_ptr<const Known> find(MailboxId mailbox);
    void keep(MailboxId mailbox, std::shared_ptr<const Known> known);

    const std::size_t known_max_;
    mutable std::mutex mutex_;
    std::map<MailboxId, Kept> kept_;
    std::size_t size_ = 0;
    std::uint64_t turns_ = 0;
};

}  // namespace posthouse::storage::search
