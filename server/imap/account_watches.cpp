#include "server/imap/account_watches.h"

#include <set>

namespace posthouse::server::imap {

bool AccountWatches::watch(Hub& hub, storage::AccountId account, net::Event& wake) {
    if (watches_.empty()) own_ = account;
    const auto [at, fresh] = watches_.try_emplace(account);
    if (fresh) at->second = hub.watch(account, kAllMailboxes, wake);
    return fresh;
}

bool AccountWatches::watch(Hub& hub, std::span<const Mailbox> mailboxes, net::Event& wake) {
    std::set<storage::AccountId> wanted = {own_};
    for (const Mailbox& mailbox : mailboxes) wanted.insert(mailbox.account);
    std::erase_if(watches_, [&](const auto& one) {
        if (wanted.contains(one.first)) return false;
        let_go_ += one.second->generation();  // the sum must never fall
        return true;
    });
    bool fresh = false;
    for (const storage::AccountId account : wanted) fresh |= watch(hub, account, wake);
    return fresh;
}

std::uint64_t AccountWatches::generation() const {
    std::uint64_t out = let_go_;
    for (const auto& [account, watch] : watches_) out += watch->generation();
    return out;
}

}  // namespace posthouse::server::imap
