#pragma once
/// server/imap/metadata_watch: METADATA responses that a client did not ask for one by one, once it has enabled
/// METADATA (RFC 5464 4.1, 4.4.2): what others change of the annotations of its own mailboxes, of subscribed ones and
/// of the account. What NOTIFY asks for is told by its own notifier, and then not here.
/// Threads: the loop's.
#include <memory>
#include <string>

#include "server/imap/account_watches.h"
#include "server/imap/notifier.h"

namespace posthouse::server::imap {

/// All annotations that the account sees, its own among them.
net::Task<Result<Noted>> read_noted(Access& access);

class MetadataWatch {
 public:
    /// `wake` is set when there may be something to tell; it outlives the object.
    MetadataWatch(Hub& hub, storage::AccountId account, net::Event& wake);

    /// How it stands now: nothing of that is told.
    net::Task<Result<>> begin(Access& access);
    /// Appends what differs since. Where that cannot be read now the next call finds it.
    net::Task<void> tell(std::string& out, Access& access, NotifyDialect dialect);
    Notifier& notifier() { return notifier_; }

 private:
    net::Task<Result<>> look(std::string* out, Access& access, NotifyDialect dialect);

    AccountWatches watches_;
    Notifier notifier_;
    std::uint64_t seen_ = 0;
};

}  // namespace posthouse::server::imap
