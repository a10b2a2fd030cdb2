#pragma once
/// server/returns: what comes back about mail that left, joined to what was sent.
///   late_report.h   a bounce that comes after the message was handed over (RFC 3464, or free text): which message and
///                   which recipients it is about, and what follows
///   role_mail.h     what is delivered to mailboxes that collect reports
/// Invariants  1. Only what the log shows as handed over can bounce late; nothing is believed beyond that.
///             2. A late bounce suppresses where its own words say that exactly the address we wrote to is dead.
///             3. It counts once a recipient: in figures, for webhooks, against the address that sent and the account,
///                and as a suppression. Said again it is noted; after kLateReportsMax a recipient it is not even that.
///             4. What nobody vouches for is noted, and changes nothing.
/// Threads: news_of is pure; the rest as Snapshot and Tx.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/mailauth/return_token.h"
#include "protocols/report/report.h"
#include "storage/store.h"
#include "storage/suppression.h"

namespace posthouse::server {

inline constexpr std::size_t kLateReportsMax = 4;            ///< of one recipient: some of delays, one of the end
inline constexpr std::string_view kLate = "late: ";          ///< the detail of such events begins so
inline constexpr std::string_view kUnproven = "unproven: ";  ///< likewise, of what is only noted
inline constexpr std::size_t kUnprovenMax = 4;               ///< of one message that are noted

/// A message that left, as the log knows it.
struct SentMail {
    storage::MessageId message{};
    storage::QueueId queue{};
    std::string message_id;
    std::string sender;
    std::vector<std::string> recipients;                            ///< to whom it was handed over
    std::set<std::string, std::less<>> silenced;                    ///< of them: enough was reported already
    std::map<std::string, storage::EventFacts, std::less<>> facts;  ///< of their delivery: by which way, from where
    std::map<std::string, Time, std::less<>> taken;                 ///< when it was handed over
    std::map<std::string, std::string, std::less<>> hosts;          ///< that took it for them: "mx.far.example"
    bool repeated = false;  ///< the same token in another spelling, within one transaction: it counts once
};

/// Errc::refused with a sentence for the client: nothing of it was handed over, or enough was reported.
/// Errc::unavailable: it is still under way; asked again later it may be known.
Result<SentMail> find_sent(const storage::Snapshot& snapshot, const mailauth::ReturnToken& token);

/// The same for what was handed over after `since`, by its Message-ID (without brackets).
Result<SentMail> find_sent_by_id(const storage::Snapshot& snapshot, std::string_view message_id, Time since);

/// What a bounce says of one recipient.
struct LateNews {
    std::string recipient;  ///< as we wrote to it
    bool is_delay = false;
    bool is_named = false;  ///< by the bounce itself
    std::string detail;
    bounce::ReplyClass what = bounce::ReplyClass::other;
    std::optional<storage::SuppressionReason> evidence;
    std::string reply;
    std::string remote;
};
/// Those of the bounce that are about recipients of this message.
std::vector<LateNews> news_of(const SentMail& sent, const report::Bounce& bounce);
/// Events, suppressions, and what it says of the address that sent and of the account, in the commit that takes the
/// bounce.
Result<> record_news(storage::Tx& tx, const SentMail& sent, const std::vector<LateNews>& news);
/// What is told of a message by somebody whom nobody vouches for: shown in its life, with `why`.
Result<> note_unproven(storage::Tx& tx, const SentMail& sent, const LateNews& news, std::string_view why);

/// What our address did to that provider's view of us: relay/reputation judges by it.
enum class Evidence : std::uint8_t { bounced, complained };
Result<> note_evidence(storage::Tx& tx, const SentMail& sent, const std::string& recipient, Evidence what);

}  // namespace posthouse::server
