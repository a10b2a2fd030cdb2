#include "server/smtp/replies.h"

namespace posthouse::server::smtp {

::posthouse::smtp::Reply recipient_refused(const Error& error) {
    using ::posthouse::smtp::Reply;
    if (error.code == Errc::refused) return Reply(550, "5.7.1", error.context);
    // The sender may know why; the list of our users stays ours.
    if (error.code == Errc::denied) return Reply(554, "5.7.1", "Relay access denied");
    if (error.code == Errc::limit) return Reply(550, "5.2.4", "The alias leads to too many addresses");
    // Room that can be made is worth another try (452 4.2.2); this never fits (RFC 3463 3.3, X.2.3).
    if (error.code == Errc::too_large) return Reply(552, "5.2.3", "The message is larger than this mailbox may hold");
    return reply_for(error);
}

::posthouse::smtp::Reply reply_for(const Error& error) {
    using ::posthouse::smtp::Reply;
    switch (error.code) {
        case Errc::invalid: return Reply(501, "5.5.4", "Syntax error in parameters");
        case Errc::unsupported: return Reply(555, "5.5.4", "A parameter is not known or not offered");
        case Errc::not_found: return Reply(550, "5.1.1", "No such user here");
        case Errc::denied: return Reply(554, "5.7.1", "Not permitted: this server relays for its own users only");
        case Errc::too_large: return Reply(552, "5.3.4", "The message is larger than this server takes");
        case Errc::over_quota: return Reply(452, "4.2.2", "The mailbox is full");
        case Errc::no_space: return Reply(452, "4.3.1", "Not enough room, try again later");
        case Errc::limit: return Reply(450, "4.7.0", "Too many, try again later");
        case Errc::unauthenticated: return Reply(535, "5.7.8", "Authentication failed");
        case Errc::timeout: return Reply(421, "4.4.2", "Timeout, closing the connection");
        case Errc::cancelled: return Reply(421, "4.3.2", "The server is stopping, try again later");
        case Errc::already_exists:
        case Errc::io:
        case Errc::corrupt:
        case Errc::closed:
        case Errc::refused:
        case Errc::unreachable:
        case Errc::tls:
        case Errc::dns_temporary:
        case Errc::dns_bogus:
        case Errc::conflict:
        case Errc::unavailable:
        case Errc::internal: break;
    }
    return Reply(451, "4.3.0", "The server could not do it, try again later");
}

}  // namespace posthouse::server::smtp
