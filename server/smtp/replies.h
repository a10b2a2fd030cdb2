#pragma once
/// server/smtp/replies: the one place that turns an error of ours into words for a peer (RFC 5321 4.2.3, RFC 3463).
#include "protocols/base/result.h"
#include "protocols/smtp/reply.h"

namespace posthouse::server::smtp {

/// The answer to RCPT. What lookup_recipient() said of a refused or denied one may be told where `error` says so.
::posthouse::smtp::Reply recipient_refused(const Error& error);
/// Generic text only: the context of the error is for the log.
::posthouse::smtp::Reply reply_for(const Error& error);

}  // namespace posthouse::server::smtp
