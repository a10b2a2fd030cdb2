#pragma once
/// server/imap/account_watches: the accounts whose mailboxes one session has in view with NOTIFY: its own, and those
/// that share some with it. Threads: the loop's.
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "server/imap/access.h"
#include "server/imap/hub.h"

namespace posthouse::server::imap {

class AccountWatches {
 public:
    /// `wake` is set on each change in one of these accounts from now on; it outlives this. Accounts that are not to
    /// be watched any more are let go. True where one is new: what it did before is not known.
    bool watch(Hub& hub, std::span<const Mailbox> mailboxes, net::Event& wake);
    bool watch(Hub& hub, storage::AccountId account, net::Event& wake);
    /// Higher after each change. Read it before reading the mailboxes.
    std::uint64_t generation() const;

 private:
    std::map<storage::AccountId, std::unique_ptr<Hub::Watch>> watches_;
    storage::AccountId own_{};  // always watched
    std::uint64_t let_go_ = 0;  // the generations of those that are not watched any more
};

}  // namespace posthouse::server::imap
