#include "server/imap/recent_claims.h"

#include <algorithm>

namespace posthouse::server::imap {

void RecentClaims::correct(Mailbox& mailbox) {
    const std::lock_guard lock(mutex_);
    const auto found = told_before_.find(mailbox.id);
    if (found != told_before_.end()) mailbox.recent_from = std::max(mailbox.recent_from, found->second);
}

Uid RecentClaims::take(const Mailbox& mailbox) {
    const std::lock_guard lock(mutex_);
    if (told_before_.size() >= kClaimsMax) told_before_.clear();
    Uid& before = told_before_[mailbox.id];
    const Uid first = std::max(mailbox.recent_from, before);
    before = std::max(first, mailbox.uid_next);
    return first;
}

}  // namespace posthouse::server::imap
