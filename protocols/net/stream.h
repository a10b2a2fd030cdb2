#pragma once
/// protocols/net/stream: a connection as sessions see it: octets both ways, one deadline, TLS on demand.
///
/// Implementations: tcp.cpp (sockets and OpenSSL), memory.cpp (a pair inside the process, for tests and fuzzers).
/// Invariants  1. After an error other than Errc::timeout on wait_readable and Errc::cancelled, only close() is useful.
///             2. The deadline bounds every operation until it is set again; then they fail with Errc::timeout.
///             3. interrupt() makes the pending and every later *read* fail with Errc::cancelled; writes go on working,
///                so that a session can say 421 or BYE. Sessions treat Errc::cancelled as "the server is stopping".
///             4. A TLS connection that was closed or failed is dead: no clear-text octet is ever read after it.
/// Threads: all calls on the loop's thread.  One read and one write may be pending at once.
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/net/address.h"
#include "protocols/net/task.h"
#include "protocols/net/tls_peer.h"

namespace posthouse::net {

class TlsServerContext;  // protocols/net/tls.h
class TlsClientContext;

/// What the handshake agreed on, for Received fields, logs and events.
struct TlsFacts {
    std::string version;         ///< "TLSv1.3"
    std::string cipher;          ///< "TLS_AES_256_GCM_SHA384"
    unsigned bits = 0;           ///< strength of the cipher
    bool peer_verified = false;  ///< client side: chain and name were checked and are right
    bool dane = false;           ///< client side: it was a TLSA record that the certificate was checked by
    std::string verify_error;    ///< client side: why peer_verified is false, "" where it is true
    CertificateFault fault = CertificateFault::none;  ///< the same for code
    std::string server_name;     ///< SNI, as sent or received
    bool asked_for_ours = false;  ///< client side: the server asked for a certificate of ours
    std::string shown;            ///< client side: the subject of ours that it was shown, "" none
    std::string alpn;            ///< "" where none was agreed
    bool resumed = false;        ///< a session of before: what was found of the certificate then holds
};

/// What a TLS connection is known by at both of its ends (RFC 5056), so that a login is of no use on another one.
struct TlsBinding {
    std::string exporter;          ///< tls-exporter, RFC 9266: TLS 1.3 only; else ""
    std::string server_end_point;  ///< tls-server-end-point, RFC 5929 4; "" where the certificate names no digest
};

class Stream {
 public:
    virtual ~Stream() = default;

    /// Completes when a read would find something: octets, the end or an error. Holds no buffer while it waits.
    /// (Under TLS the octets may turn out to be part of a record only: read_some then waits for the rest.)
    virtual Task<Result<>> wait_readable() = 0;
    /// At least one octet into `into` (never empty). Errc::closed at the end of the stream.
    /// `into` is written to only at the moment of completion, never while it waits: it may be a buffer shared by many.
    virtual Task<Result<std::size_t>> read_some(std::span<char> into) = 0;
    /// All of `octets`; they must stay alive until it completes.
    virtual Task<Result<>> write_all(std::string_view octets) = 0;

    /// Sets the deadline for all operations from now on. Zero or less takes it away.
    virtual void expires_in(std::chrono::milliseconds span) = 0;

    /// TLS handshakes on an open clear-text stream. The caller has dropped every octet read ahead (RFC 3207 4.2).
    virtual Task<Result<>> start_tls_server(TlsServerContext& context) = 0;
    /// The name goes into SNI and is checked against the certificate (RFC 9525), or TLSA records are (RFC 7671).
    virtual Task<Result<>> start_tls_client(TlsClientContext& context, TlsPeer expected) = 0;
    /// Nothing while the stream is in clear.
    virtual const std::optional<TlsFacts>& tls() const = 0;
    /// Made when it is asked for. Empty while the stream is in clear, and where there is no real TLS beneath.
    virtual TlsBinding tls_binding() const { return {}; }

    virtual Endpoint peer() const = 0;
    virtual Endpoint local() const = 0;

    /// Tells the peer now that its octets came in, instead of with the next write. For the wait in the middle of a
    /// message: many clients send its end apart (the CRLF behind an IMAP literal) and hold it back until what came
    /// before is acknowledged (Nagle), while a kernel delays that by 40 ms.
    virtual void acknowledge() {}
    /// See invariant 3. Idempotent.
    virtual void interrupt() = 0;
    /// Sends close_notify and FIN as far as that works at once, then closes. Pending operations fail with Errc::closed.
    virtual void close() = 0;
};

}  // namespace posthouse::net
