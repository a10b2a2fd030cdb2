#pragma once
/// protocols/report: what comes back about mail that was sent, read with limits; strangers write it.
///   bounces      a delivery-status (RFC 3464, RFC 6533), or free text by rules (qmail, Exim, ...)   -> Bounce
///   complaints   a feedback report (RFC 5965, RFC 6591), or the forms of those who have their own   -> Complaint
///   aggregates   DMARC in XML, gzip or zip (RFC 7489 7.2, RFC 9990)                                 -> DmarcReport
/// It leaves to others: what a reply means (protocols/bounce), TLS reports (JSON: admin/reports), whether a report can
/// be believed, and what it changes.
/// Invariants  1. A recipient has the reply as it was reported, word for word, cut at kReplyOctetsMax.
///             2. What is not known is empty; nothing is guessed into a field. `final_recipient` alone may come from
///                the returned message, where a bounce names nobody.
///             3. `hard` says that the address is dead, from words or codes about the mailbox or its domain; a full
///                mailbox, a listed address or an unknown user told only after DATA (a filter's answer) is not.
/// Threads: pure.   Limits: below, and those of protocols/mime.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/bounce/reply_class.h"

namespace posthouse::report {

inline constexpr std::size_t kRecipientsMax = 1000;         ///< of one bounce or complaint; later ones are not seen
inline constexpr std::size_t kReplyOctetsMax = 2000;        ///< of one reply
inline constexpr std::size_t kTextOctetsMax = 64UL * 1024;  ///< of a notification's text

/// The step of the dialogue at which it was refused, as far as the bounce tells.
enum class Step : std::uint8_t { unknown, connect, mail, rcpt, data };

/// action-value                                                                                 RFC 3464 2.3.3
enum class Action : std::uint8_t { failed, delayed, delivered, relayed, expanded };
std::string_view to_string(Action action);

struct BouncedRecipient {
    std::string final_recipient;     ///< as the reporting host knows it, "user@host"
    std::string original_recipient;  ///< as the sender gave it (ORCPT); "" where it was not told
    Action action = Action::failed;
    std::string status;  ///< RFC 3463: the one in the reply, failing that the Status field; ""
    unsigned code = 0;   ///< of the reply; 0: none was told
    std::string reply;   ///< what the remote said, or what the reporting host found
    std::string remote;  ///< the host that said it
    Step step = Step::unknown;
    bounce::Classification found;
    bool hard = false;  ///< the address is dead
};

struct Bounce {
    std::vector<BouncedRecipient> recipients;  ///< at least one
    std::string reporting_mta;
    std::string envelope_id;          ///< ENVID, decoded; ""
    std::string original_message_id;  ///< of the returned message, without brackets; ""
    bool is_free_text = false;        ///< without a delivery-status
    bool from_daemon = false;         ///< a null Return-Path, or the name of a mail system in From: no person's mail
};

/// Errc::not_found: this message is no bounce (an auto-reply, a letter).
Result<Bounce> read_bounce(std::string_view message);

/// feedback-type                                                            RFC 5965 3.1 and its registry, RFC 6591 3
enum class FeedbackType : std::uint8_t { abuse, fraud, virus, opt_out, not_spam, auth_failure, other };
std::string_view to_string(FeedbackType type);

struct Complaint {
    FeedbackType type = FeedbackType::other;
    std::string user_agent;
    std::string mail_from;                ///< Original-Mail-From, without brackets
    std::vector<std::string> recipients;  ///< Original-Rcpt-To, without brackets; may be empty
    std::string envelope_id;              ///< Original-Envelope-Id
    std::string source_ip;
    std::string arrival_date;   ///< as written
    std::string reporting_mta;  ///< the name alone
    std::vector<std::string> reported_domains;
    std::vector<std::string> reported_uris;
    std::vector<std::string> authentication_results;  ///< unfolded
    std::string auth_failure;                         ///< RFC 6591 3.1
    std::string dkim_domain;                          ///< RFC 6591 3.2
    std::uint64_t incidents = 1;
    std::string original_message_id;  ///< of the message complained about, without brackets; ""
};

/// Errc::not_found: this message is no feedback report.
Result<Complaint> read_complaint(std::string_view message);

}  // namespace posthouse::report
