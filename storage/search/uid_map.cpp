#include "storage/search/uid_map.h"

#include <algorithm>

namespace posthouse::storage::search {

Result<std::vector<MessageId>> UidMap::messages_of(const MailView& mail, MailboxId mailbox, std::span<const Uid> uids) {
    std::vector<MessageId> out;
    if (uids.empty()) return out;
    // Whose mailbox it is, is asked each time: what is remembered was perhaps
    // read for somebody else.
    TRY_VOID(mail.mailbox(mailbox));
    std::shared_ptr<const Known> known = find(mailbox);
    const Uid last = known && !known->uids.empty() ? known->uids.back() : 0;
    if (uids.back() > last) {
        TRY(const std::vector<Entry> entries, mail.entries(mailbox, last + 1, uids.back()));
        if (!entries.empty()) {
            auto more = known ? std::make_shared<Known>(*known) : std::make_shared<Known>();
            for (const Entry& entry : entries) {
                more->uids.push_back(entry.uid);
                more->messages.push_back(entry.message);
            }
            keep(mailbox, more);
            known = std::move(more);
        }
    }
    out.resize(uids.size());
    if (!known) return out;
    auto at = known->uids.begin();
    for (std::size_t i = 0; i < uids.size(); ++i) {
        while (at != known->uids.end() && *at < uids[i]) ++at;
        if (at == known->uids.end()) break;
        if (*at == uids[i]) out[i] = known->messages[static_cast<std::size_t>(at - known->uids.begin())];
    }
    return out;
}

std::size_t UidMap::size() const {
    const std::lock_guard lock(mutex_);
    return size_;
}

std::shared_ptr<const UidMap::Known> UidMap::find(MailboxId mailbox) {
    const std::lock_guard lock(mutex_);
    const auto found = kept_.find(mailbox);
    if (found == kept_.end()) return nullptr;
    found->second.used = ++turns_;
    return found->second.known;
}

void UidMap::keep(MailboxId mailbox, std::shared_ptr<const Known> known) {
    const std::lock_guard lock(mutex_);
    Kept& kept = kept_[mailbox];
    // Another search may have read further meanwhile.
    if (kept.known && kept.known->uids.size() >= known->uids.size()) return;
    size_ += known->uids.size() - (kept.known ? kept.known->uids.size() : 0);
    kept.known = std::move(known);
    kept.used = ++turns_;
    while (size_ > known_max_) {
        const auto oldest = std::ranges::min_element(kept_, {}, [](const auto& one) { return one.second.used; });
        size_ -= oldest->second.known->uids.size();
        kept_.erase(oldest);
    }
}

}  // namespace posthouse::storage::search
