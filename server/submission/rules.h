#pragma once
/// server/submission: what a message must look like when our own people send it, and what is added for them (RFC 6409
/// 8).
/// Who may send as whom is the backend's answer; here is only the header. Pure functions.
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/random.h"
#include "protocols/mime/header.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/reply.h"

namespace posthouse::submission {

/// The verdict on one header block.
struct Verdict {
    std::optional<smtp::Reply> refusal;
    smtp::Path author;  ///< the one mailbox of From: its owner must be the login
    std::string added;  ///< Date and Message-ID where they were missing, as whole fields

    Verdict() = default;
    explicit Verdict(smtp::Reply reply) : refusal(std::move(reply)) {}
};

/// Exactly one From with exactly one mailbox, else 550 5.6.0 (RFC 6409 8.1, RFC 5322 3.6.2); at most one Sender, Date
/// and Message-ID. `hostname` makes the right side of a new Message-ID.
Verdict check_header(const mime::Fields& fields, std::string_view hostname, Time now, Random& random);

/// More recipients than a letter has: mail to many.
inline constexpr std::size_t kLetterRecipientsMax = 50;
/// List-Id, List-Unsubscribe and the like (RFC 2369, RFC 2919), or Precedence: bulk, junk or list.
bool is_for_many(const mime::Fields& fields);

/// The field by which a program names a message once and for all (draft-ietf-httpapi-idempotency-key-header, as a mail
/// field).
inline constexpr std::string_view kKeyField = "Idempotency-Key";
/// The field that names the stream a message is of.
inline constexpr std::string_view kStreamField = "X-Posthouse-Stream";

/// Fields that never leave with a message: Bcc (RFC 5322 3.6.3), its Resent form, and what is said to us alone.
bool is_dropped_field(std::string_view name);

}  // namespace posthouse::submission
