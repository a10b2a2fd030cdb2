#pragma once
/// server/returns/role_mail: reads what was delivered to accounts that collect reports (the setting reports.mailboxes),
/// into INBOX and Junk, and joins it to what was sent:
///   complaints (RFC 5965)     an event of our message, and its recipient gets no more mail of programs (suppression)
///   bounces (RFC 3464, text)  that bear our token, or name our Message-ID and a recipient of it: as late ones
///                             (late_report.h)
///   DMARC aggregate reports   kept and added up (storage/role_mail); an alarm where our own mail does not pass
///                             (storage/dmarc_origins)
///   TLS reports (RFC 8460)    given to `take_tls`
/// Invariants  1. A report counts only where the log shows that the message went to that recipient within kJoinDays.
///             2. The mail itself is never changed, moved or marked; where it was read to is kept with what it changed,
///                in one commit, so that a crash loses and repeats nothing.
///             3. What cannot be read is passed over, and counted.
///             4. What left under a token is bounced by nothing that does not bear it; what left without one only by a
///                mail system's report that the recipient's domain, or the host that took the message, vouches for
///                (report_proof.h). Other reports are noted with the message.
/// Anybody who knows a Message-ID and its recipient can send a complaint; therefore it never stops a letter, and
/// without a stream only mail to many; and it says nothing of our address unless it bears our token, or SPF or DKIM of
/// the report passed for the recipient's domain or for the host that took the message.
/// Threads: step() on the job's own.   Limits: below.
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/report/report.h"
#include "server/returns/late_report.h"
#include "storage/background.h"
#include "storage/store.h"

namespace posthouse::server {

inline constexpr int kJoinDays = 30;                                     ///< between the message and the report
inline constexpr int kComplaintDays = 30;                                ///< that one without our token suppresses
inline constexpr std::uint64_t kRoleMailOctetsMax = 32UL * 1024 * 1024;  ///< of one mail; a larger one is no report
inline constexpr std::size_t kRoleMailsAStep = 20;
inline constexpr std::string_view kRoleMailJob = "role-mail";

/// Keeps a TLS report that the mail has. Errc::not_found: it has none.
using TakeTlsReport = std::function<Result<>(storage::Store&, const std::string& message)>;

/// What a complaint is about; nothing where we sent no such thing.
struct Complained {
    SentMail sent;
    std::vector<std::string> recipients;  ///< of `sent` that complained; empty: nobody knows which
    bool by_token = false;                ///< it bears our token; else anybody may have made it
    std::set<std::string, std::less<>> vouched;  ///< of `recipients`: their domain, or who took it, complains
};
/// `token`: ours, that the report bears; `vouching`: domains that its SPF or DKIM passed for (report_proof.h).
Result<std::optional<Complained>> find_complained(const storage::Snapshot& snapshot, const report::Complaint& complaint,
                                                  const std::optional<mailauth::ReturnToken>& token,
                                                  const std::vector<std::string>& vouching, Time now);
/// Events and suppressions: for good where it bears our token, else for kComplaintDays; of the message's stream, or (it
/// has none) of the sender's domain, where they stop mail to many alone (storage::stops). Against the address that sent
/// it counts only by our token, or vouched for. False where all is known.
Result<bool> record_complaint(storage::Tx& tx, const Complained& about, const report::Complaint& complaint);

/// `hostname`: by which our own Authentication-Results are known.
std::unique_ptr<storage::Job> make_role_mail_job(storage::Store& store, Metrics& metrics, const Clock& clock,
                                                 std::string hostname, TakeTlsReport take_tls);

}  // namespace posthouse::server
