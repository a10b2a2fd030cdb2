#include "server/imap/reply.h"

#include "protocols/base/log.h"
#include "protocols/imap/response.h"

namespace posthouse::server::imap {

Reply syntax(const Error& error) {
    std::string text = posthouse::imap::clean_text(error.context);
    if (error.code == Errc::denied) return Reply::no("CANNOT", std::move(text));
    return Reply::bad(std::move(text));
}

Reply reply_for_target(const Error& error) {
    if (error.code == Errc::not_found) return Reply::no("TRYCREATE", "No such mailbox");
    return reply_for(error);
}

Reply reply_for(const Error& error) {
    switch (error.code) {
        case Errc::invalid: return Reply::no("CANNOT", posthouse::imap::clean_text(error.context));
        case Errc::not_found: return Reply::no("NONEXISTENT", "No such mailbox");
        case Errc::already_exists: return Reply::no("ALREADYEXISTS", "Mailbox already exists");
        case Errc::too_large: return Reply::no("TOOBIG", "Message is too large");
        case Errc::limit: return Reply::no("LIMIT", "Too many at once; try again later");
        case Errc::denied: return Reply::no("NOPERM", "This mailbox does not allow that");
        case Errc::unauthenticated: return Reply::no("AUTHENTICATIONFAILED", "Wrong user name or password");
        case Errc::over_quota: return Reply::no("OVERQUOTA", "The account is full");
        case Errc::conflict: return Reply::no("INUSE", "Changed in the meantime; try again");
        case Errc::unsupported: return Reply::no("CANNOT", "Not supported");
        case Errc::closed:
        case Errc::cancelled:
        case Errc::timeout: return Reply::hang_up("");
        case Errc::no_space: return Reply::no("UNAVAILABLE", "The server is short of disk space; try again later");
        case Errc::corrupt:
            log::error("imap", "stored mail is damaged: {}", error.context);
            return Reply::no("CORRUPTION", "The stored message is damaged");
        default:
            log::error("imap", "{}: {}", to_string(error.code), error.context);
            return Reply::no("UNAVAILABLE", "Not possible now; try again later");
    }
}

}  // namespace posthouse::server::imap
