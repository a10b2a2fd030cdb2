#pragma once
/// protocols/net/tls: certificates, verification and policy of TLS; the handshakes run inside Stream.
/// TLS 1.2 and 1.3 with AEAD ciphers only (RFC 8997, RFC 9325), no renegotiation, no compression, strict ALPN where a
/// client offers it, ticket keys and session id context per context (so a ticket of one listener is no good at
/// another). Client contexts keep the sessions that servers give (tls_sessions.h).
/// Threads: a context is used on one loop's thread; reload() too.
#include <memory>
#include <string>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/tls_peer.h"

namespace posthouse::net {

class TlsServerContext {
 public:
    /// PEM files. `name` makes the session id context, `alpn` e.g. {"imap"}; clients that offer none are let in.
    static Result<std::unique_ptr<TlsServerContext>> load(std::string name, std::string certificate_file,
                                                          std::string key_file, std::vector<std::string> alpn);
    ~TlsServerContext();
    /// Reads the files again and switches for new handshakes; on error the old certificate stays.
    Result<> reload();
    /// Unix time in seconds at which the certificate ends.
    std::int64_t not_after_unix() const;

    struct Impl;
    Impl& impl() { return *impl_; }

 private:
    TlsServerContext();
    std::unique_ptr<Impl> impl_;
};

enum class Verify {
    required,       ///< the handshake fails with Errc::tls unless chain and name are right
    opportunistic,  ///< the handshake goes on; TlsFacts::peer_verified tells (RFC 7435)
};

/// What a file of trust anchors is to the system's.
enum class Anchors { instead, besides };

/// What a client shows of itself where the server asks for it (RFC 8446 4.4.2): PEM files, the certificate with its
/// chain. Empty: nothing.
struct TlsIdentity {
    std::string certificate_file;
    std::string key_file;
    TlsIdentity() = default;
};

class TlsClientContext {
 public:
    /// `ca_file`: PEM trust anchors, or empty for the system's. Connections with an identity resume no sessions: each
    /// shows it anew.
    static Result<std::unique_ptr<TlsClientContext>> make(Verify verify, std::string ca_file,
                                                          Anchors anchors = Anchors::instead,
                                                          TlsIdentity identity = TlsIdentity());
    ~TlsClientContext();
    /// Reads the identity again where its files are others than before, for new handshakes; on error the old one stays.
    Result<> refresh();
    /// A handshake with this peer would offer a session of before. Where it fails, that may be why; the next is whole.
    bool has_session(const TlsPeer& expected) const;

    struct Impl;
    Impl& impl() { return *impl_; }

 private:
    TlsClientContext();
    std::unique_ptr<Impl> impl_;
};

}  // namespace posthouse::net
