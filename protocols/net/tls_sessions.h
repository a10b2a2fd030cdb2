#pragma once
/// protocols/net/tls_sessions (internal): sessions that servers gave us, for the next connection to the same place: it
/// then needs neither certificates nor a second round trip (RFC 8446 2.2, RFC 5077).
/// Invariants  1. A session is resumed only under the very key that it was made under: the caller's scope (the place,
///                and what is demanded there), the names, and the TLSA records.
///             2. What the first handshake found of the certificate goes with the session: a resumed one shows none.
///             3. A ticket of TLS 1.3 is used once, so that nobody on the way can tell connections of one client
///                (RFC 8446 C.4). A session whose certificate has ended is not used.
/// Threads: the loop's.   Limits: kPlacesMax, kSessionsAPlace, kLifetime.
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "protocols/net/tls_impl.h"

namespace posthouse::net {

struct SslSessionFree {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using SslSessionPtr = std::unique_ptr<SSL_SESSION, SslSessionFree>;

class TlsSessions : public std::enable_shared_from_this<TlsSessions> {
 public:
    static constexpr std::size_t kPlacesMax = 256;
    static constexpr std::size_t kSessionsAPlace = 2;
    static constexpr std::chrono::hours kLifetime{1};

    /// Lets a context's connections give their sessions here.
    static void listen(SSL_CTX* context);
    bool knows(const std::string& key) const { return places_.contains(key); }
    /// Before the handshake: offers a session, where there is one, and takes those that come. `key` not empty.
    void prepare(SSL* ssl, std::string key);
    /// After it: what was found of the certificate. For a resumed connection that of the first one is put in.
    static void finished(SSL* ssl, TlsFacts& facts);
    /// The handshake failed: what was offered may be why.
    static void failed(SSL* ssl);

 private:
    struct Kept {
        SslSessionPtr session;
        TlsFacts facts;
        std::chrono::steady_clock::time_point since;
    };
    struct Attached;
    static Attached* attached(const SSL* ssl);
    static int index();
    static int take_session(SSL* ssl, SSL_SESSION* session);
    void keep(const std::string& key, SslSessionPtr session, const TlsFacts& facts);
    std::optional<Kept> find(const std::string& key);

    std::map<std::string, std::deque<Kept>> places_;
};

}  // namespace posthouse::net
