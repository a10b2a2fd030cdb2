#pragma once
/// server/imap/recent_claims: up to which UID sessions of this process have been told of messages as \Recent
/// (RFC 3501 2.3.2). A session takes them here and goes on at once; the store is told behind it, and until it is, what
/// it says of a mailbox is corrected by this.
/// Limits: kClaimsMax mailboxes, then what is remembered is dropped: by then the store knows nearly all of it.
/// Threads: any.
#include <cstddef>
#include <map>
#include <mutex>

#include "server/imap/access.h"

namespace posthouse::server::imap {

class RecentClaims {
 public:
    /// Makes what a snapshot says as new as what was taken here.
    void correct(Mailbox& mailbox);
    /// The first UID that no session has been told of; now all below mailbox.uid_next are told.
    Uid take(const Mailbox& mailbox);

 private:
    static constexpr std::size_t kClaimsMax = 100'000;
    std::mutex mutex_;
    std::map<MailboxId, Uid> told_before_;  // all below are told
};

}  // namespace posthouse::server::imap
