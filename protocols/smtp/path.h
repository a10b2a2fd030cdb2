#pragma once
/// protocols/smtp: the SMTP wire language. No policy, no storage, no accounts.
///   in:  octets of one command line   -> paths, parameters, numbers     (RFC 5321 4.1, RFC 6531 3.3, RFC 3461 4)
///   in:  lines of a server            -> Reply, Capabilities            (RFC 5321 4.2, RFC 2034)
///   out: Reply, MAIL/RCPT/EHLO lines  -> octets                         (RFC 5321 4.2, RFC 3463)
/// Invariants  1. A reply is never longer than kReplyLineOctetsMax a line, nor are more than kReplyLinesMax read.
///             2. Parsed values own their octets; no view outlives the input line.
///             3. An address is compared, routed and printed in its parsed form only: "b\ob"@x is bob@x.
/// Threads: all functions but read_reply are pure.   Limits: protocols/smtp/limits.h.
///
/// This header: Path of RFC 5321 4.1.2 with the UTF-8 of RFC 6531 3.3. Strict: no comments, no folding, no obsolete
/// local parts. A source route is read and dropped (RFC 5321 appendix C); the mailbox alone counts.
#include <string>
#include <string_view>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"

namespace posthouse::smtp {

/// A mailbox, or the null reverse-path, or "postmaster" without a domain.
struct Path {
    std::string local_part;  ///< unquoted, case kept
    std::string domain;      ///< as given, case kept; "[192.0.2.1]" for a literal; "" for <> and <postmaster>

    Path() = default;
    Path(std::string local, std::string at) : local_part(std::move(local)), domain(std::move(at)) {}

    bool is_null() const { return local_part.empty() && domain.empty(); }
    bool is_literal() const { return domain.starts_with('['); }
    /// Whether SMTPUTF8 is needed to say it (RFC 6531 3.4).
    bool has_utf8() const;
    /// "local@domain", the local part quoted where it must be; "" for the null path, "postmaster" without a domain.
    std::string spec() const;
    bool operator==(const Path&) const = default;
};

/// Reverse-path = Path / "<>"                                        RFC 5321 4.1.2
/// Errc::invalid; the cursor stands behind '>' on success.
Result<Path> take_reverse_path(Cursor& in);
/// Forward-path = Path / "<Postmaster>"                              RFC 5321 4.1.1.3, 4.5.1
Result<Path> take_forward_path(Cursor& in);
/// Mailbox = Local-part "@" ( Domain / address-literal ), the whole of `text` and no brackets around it.
Result<Path> parse_mailbox(std::string_view text);

/// Domain of RFC 5321 4.1.2 (labels of letters, digits, hyphens, UTF-8), at most kDomainOctetsMax octets.
bool is_domain(std::string_view text);
/// address-literal of RFC 5321 4.1.3 with its brackets: IPv4 and IPv6; no other tag is registered.
bool is_address_literal(std::string_view text);
/// The local part as it stands on the wire: quoted unless it is a Dot-string.
std::string quote_local_part(std::string_view local_part);
/// Dot-string = Atom *("."  Atom), not empty, UTF-8 allowed.
bool is_dot_string(std::string_view text);

}  // namespace posthouse::smtp
