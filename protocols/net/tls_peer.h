#pragma once
/// protocols/net/tls_peer: whom a TLS client means to talk to, and by what it knows the other side. Values only.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace posthouse::net {

/// One TLSA record (RFC 6698 2.1). The numbers have names in RFC 7218.
struct TlsaRecord {
    std::uint8_t usage = 0;     ///< 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE
    std::uint8_t selector = 0;  ///< 0 the whole certificate, 1 its SubjectPublicKeyInfo
    std::uint8_t matching = 0;  ///< 0 as it is, 1 SHA-256, 2 SHA-512
    std::string data;           ///< raw octets
    auto operator<=>(const TlsaRecord&) const = default;
};

/// Who is expected. A plain name is the common case; with `tlsa` the certificate is judged by DANE instead of by the
/// trust anchors of the context (RFC 7671).
struct TlsPeer {
    std::string server_name;               ///< SNI, and the name the certificate must bear; for DANE the TLSA base
    std::vector<std::string> other_names;  ///< names that count as well (RFC 7672 3.2.2)
    std::vector<TlsaRecord> tlsa;          ///< those that can be used: usage 2 and 3 only
    /// A session of an earlier connection is resumed where it was made in the same scope: the place, and what is
    /// demanded there. "": none is.
    std::string session_scope;

    TlsPeer(std::string name) : server_name(std::move(name)) {}
    TlsPeer(const char* name) : server_name(name) {}
};

/// What is wrong with the certificate of a peer, in the terms of RFC 8460 4.3.2.
enum class CertificateFault {
    none,
    name,       ///< it is for another name
    expired,
    untrusted,  ///< no chain to an anchor, or no TLSA record matches
    other,
};

}  // namespace posthouse::net
