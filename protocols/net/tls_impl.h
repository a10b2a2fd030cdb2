#pragma once
/// protocols/net/tls_impl: what stands behind the TLS contexts; for protocols/net/*.cpp only.
#include <openssl/ssl.h>

#include <chrono>
#include <string>

#include "protocols/net/stream.h"
#include "protocols/net/tls.h"

namespace posthouse::net {

class TlsSessions;

struct SslFree {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

struct SslContextFree {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using SslContextPtr = std::unique_ptr<SSL_CTX, SslContextFree>;

struct TlsServerContext::Impl {
    /// A connection in accept state, reading and writing on `descriptor`; null where memory is out.
    SslPtr make_connection(int descriptor);

    std::string name;
    std::string certificate_file;
    std::string key_file;
    std::string alpn_wire;  ///< the protocols as RFC 7301 3.1 writes them; the callback points here
    SslContextPtr context;
    std::int64_t not_after_unix = 0;
    std::chrono::steady_clock::time_point ticket_keys_since{};
};

struct TlsClientContext::Impl {
    /// A connection in connect state that checks whom it meets, or Errc::tls.
    Result<SslPtr> make_connection(int descriptor, const TlsPeer& expected);

    /// Reads the identity's files into the context.
    Result<> show();

    Verify verify = Verify::required;
    TlsIdentity identity;
    std::string identity_seen;  ///< the state of its files when they were read
    std::shared_ptr<TlsSessions> sessions;
    SslContextPtr context;
};

/// The facts of a finished handshake, as the server and as the client see it.
TlsFacts server_facts(SSL* ssl);
TlsFacts client_facts(SSL* ssl, const TlsPeer& expected);
/// What the connection is known by; `certificate` is the server's, from either end.
TlsBinding binding_of(SSL* ssl, const X509* certificate);
/// Why the last OpenSSL call of this thread failed, in its words; empties the queue of errors.
std::string take_tls_error();

}  // namespace posthouse::net
