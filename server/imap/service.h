#pragma once
/// server/imap: reading mail (RFC 3501 and the extensions in command.h). This header is all that the composition needs.
///
/// What it leaves to others: the wire language (protocols/imap), who logs in (server/auth), mail itself (storage),
/// ports
/// and implicit TLS (protocols/net/listener.h).
/// Rooms: service.h the door; session.h the dialogue and its states; reader.h commands off the wire; command.h and
/// commands_*.cpp one row and handler a command; selected.h the mailbox as one client knows it; entry_list.h what is in
/// it, mailbox_cache.h which of that is kept in memory for all; hub.h news from other sessions;
/// access.h the only way out to mail, store_access.h that way over the store.
/// Threads: everything on the loop's.   Limits: protocols/imap/limits.h.
#include <memory>
#include <string>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/imap/limits.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/stream.h"
#include "protocols/net/tls.h"
#include "server/auth/authenticator.h"
#include "server/imap/hub.h"
#include "server/imap/fetch_cache.h"
#include "server/imap/mailbox_cache.h"
#include "server/imap/session.h"
#include "storage/search/search_index.h"
#include "storage/store.h"

namespace posthouse::server::imap {

/// Everything must outlive the sessions.
struct ImapDeps {
    storage::Store* store = nullptr;
    storage::search::SearchIndex* search = nullptr;  ///< null: every search reads the messages
    net::Loop* loop = nullptr;
    net::ThreadPool* read_pool = nullptr;
    Authenticator* authenticator = nullptr;
    Hub* hub = nullptr;
    SwitchBoard* switches = nullptr;       ///< null: everything is offered
    MailboxCache* cache = nullptr;         ///< one for all loops of the process
    FetchCache* fetched = nullptr;         ///< likewise; null: nothing is kept
    net::TlsServerContext* tls = nullptr;  ///< for STARTTLS; null: not offered
    std::string hostname;
    posthouse::imap::Limits limits;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    ClearLogin clear_login = ClearLogin::refused;

    ImapDeps() = default;
};

/// What the sessions of one door share.
std::shared_ptr<const SessionDeps> session_deps(const ImapDeps& deps);

/// One connection to its end, on the loop of `deps`; spawned by the listener. TLS has been done where the port is
/// implicit.
net::Task<void> serve_connection(std::unique_ptr<net::Stream> stream, std::shared_ptr<const SessionDeps> deps);
inline net::Task<void> serve_connection(std::unique_ptr<net::Stream> stream, const ImapDeps& deps) {
    return serve_connection(std::move(stream), session_deps(deps));
}

/// The hub of one loop, subscribed to the store's notices. May be destroyed before the store.
std::unique_ptr<Hub> make_hub(storage::Store& store, net::Loop& loop);

/// After a change of the catalog: the switches are read anew, and sessions end with BYE whose account is gone or
/// disabled, or whose password or app password is not the one they logged in with. Reads on the pool and returns at
/// once. The loop's thread.
void drop_revoked(const ImapDeps& deps);

/// What a listener says to a connection over its limits.
inline constexpr const char* kOverLimit = "* BYE [LIMIT] Too many connections\r\n";

}  // namespace posthouse::server::imap
