#pragma once
/// server/smtp: the session engine of port 25 and of submission. One connection in, its replies and its messages out.
///
/// It leaves to others: accounts, aliases, quotas and storing (server/delivery, through Backend), sockets and TLS
/// (protocols/net), the wire grammar (protocols/smtp), what a submitted header must look like (server/submission).
/// RFC 5321, 6409 (submission), 3207 (STARTTLS), 4954 (AUTH), 2920, 1870, 6152, 6531, 2034, 3030, 3461, 9422.
/// Invariants  1. A 250 to DATA or BDAT LAST is said only after Backend::accept() succeeded.
///             2. One Transaction object; every way out of a transaction drops it whole (phase.h has the table).
///             3. Only CRLF.CRLF ends DATA; mail with a bare CR, LF or NUL is read to its true end and refused.
///             4. Nothing read in clear before a TLS handshake is acted on after it.
///             5. Text of a peer is never echoed into a reply.
/// Threads: the loop's; one connection on one loop.   Limits: server/smtp/options.h.
#include <memory>
#include <string>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/base/random.h"
#include "protocols/net/stream.h"
#include "protocols/net/task.h"
#include "protocols/net/tls.h"
#include "server/smtp/alignment.h"
#include "server/smtp/backend.h"
#include "server/smtp/options.h"
#include "server/smtp/sender_check.h"

namespace posthouse::server::smtp {

/// What a session works with; all of it outlives the session.
struct SessionDeps {
    const SmtpServiceOptions* options = nullptr;
    Backend* backend = nullptr;
    net::TlsServerContext* tls = nullptr;  ///< null: STARTTLS is not offered
    const Clock* clock = nullptr;          ///< null: the system's
    Random* random = nullptr;              ///< null: the system's
    Metrics* metrics = nullptr;
    AlignmentCheck* alignment = nullptr;  ///< null: mail of our own people leaves unasked
    SenderCheck* senders = nullptr;       ///< null: mail from outside comes in unasked

    SessionDeps() = default;
    SessionDeps(const SmtpServiceOptions& service, Backend& rest, net::TlsServerContext* context, Metrics& counters)
        : options(&service), backend(&rest), tls(context), metrics(&counters) {}
};

/// Speaks SMTP on `stream` until the client or the server ends it, then closes it. Made for Listener::Handler.
net::Task<void> serve_connection(std::unique_ptr<net::Stream> stream, SessionDeps deps);

/// What a listener says to a connection it has no room for.
inline constexpr const char* kTooManyConnections = "421 4.7.0 Too many connections, try again later\r\n";

}  // namespace posthouse::server::smtp
