#pragma once
/// server/delivery/spread: where one message goes: which accounts get a copy, which addresses elsewhere, under which
/// envelope, and who is owed a receipt (RFC 3461).
/// Threads: the loop's; nothing here waits.
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "server/delivery/directory.h"
#include "server/delivery/late_mail.h"
#include "server/smtp/backend.h"
#include "storage/receipts.h"
#include "storage/store.h"

namespace posthouse::server {

class Spreader {
 public:
    Spreader(Directory& directory, std::string hostname, const Clock& clock)
        : directory_(directory), hostname_(std::move(hostname)), clock_(clock) {}

    /// "<postmaster>" without a domain is the one of this host (RFC 5321 4.1.1.3), where its name is a domain of ours.
    ::posthouse::smtp::Path at_home(::posthouse::smtp::Path path, const DirectoryPicture& picture) const;
    /// Copies, queue rows and envelope; duplicates are merged. The directory may have changed since RCPT: a recipient
    /// that is gone by now would be lost in silence, so the whole message is put off (Errc::unavailable); the client
    /// tries again and hears 550 at RCPT.
    Result<> spread(storage::Delivery& delivery, const smtp::Envelope& envelope, const LateMail& late) const;
    /// RFC 3461 5.2.3 (a), 5.2.7.3 (c): what is put into a mailbox here, and what an alias spreads, is the last that a
    /// sender hears of it; an alias with one target elsewhere passes the wish on. Into Junk nothing is told, nor to an
    /// address that is not proven: whoever wrote that name may be somebody else.
    std::vector<storage::Receipt> owed_receipts(const smtp::Envelope& envelope) const;

    std::optional<storage::RelayClientId> client_of(const smtp::Envelope& envelope) const;
    /// The stream of what a relay client sends, or "".
    std::string stream_of_client(const smtp::Envelope& envelope) const;

 private:
    Result<> add(storage::Delivery& delivery, storage::NewQueueItem& item, const smtp::Envelope& envelope,
                 const LateMail& late) const;
    const storage::RelayClient* relay_client(const smtp::Envelope& envelope) const;

    Directory& directory_;
    std::string hostname_;
    const Clock& clock_;
};

}  // namespace posthouse::server
