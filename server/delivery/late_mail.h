#pragma once
/// server/delivery/late_mail: mail to bounce addresses of ours: whose they are, at RCPT, and what it says of messages
/// that left (server/returns), when it is there.
/// Threads: the loop's, but for the work on the pool.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/task.h"
#include "server/delivery/directory.h"
#include "server/returns/late_report.h"
#include "server/smtp/backend.h"
#include "storage/store.h"

namespace posthouse::server {

/// Late bounces: what they are about, by the address they came to, and what they say.
struct LateMail {
    std::map<std::string, SentMail> sent;
    std::optional<report::Bounce> bounce;  ///< none: a null sender writes otherwise; it is passed on all the same
    std::vector<LateNews> news_of(const SentMail& about) const {
        return bounce && !about.repeated ? server::news_of(about, *bounce) : std::vector<LateNews>();
    }
};

class LateDesk {
 public:
    LateDesk(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, Directory& directory, const Clock& clock,
             Metrics& metrics);

    /// RFC 5321 4.4: what comes back goes to whom the address stands for, here or elsewhere. Errc::refused with a
    /// sentence for the client; not_found where nobody is left.
    Result<smtp::RecipientKind> look_up_bounce(const ::posthouse::smtp::Path& address) const;
    /// The same of a token (protocols/mailauth/return_token). Errc::unavailable: it may be known later.
    net::Task<Result<smtp::RecipientKind>> look_up_token(::posthouse::smtp::Path address);
    /// What the tokens among the recipients are about.
    net::Task<Result<LateMail>> find(const smtp::Envelope& envelope);
    /// Reads what it says.
    net::Task<void> read(storage::StagedBodyPtr body, LateMail& late);

 private:
    net::Task<Result<SentMail>> find_sent_mail(::posthouse::smtp::Path address);

    storage::Store& store_;
    net::Loop& loop_;
    net::ThreadPool& pool_;
    Directory& directory_;
    const Clock& clock_;
    Metrics::Value& late_;
    Metrics::Value& forged_;
};

}  // namespace posthouse::server
