#pragma once
/// relay/tls_demand: what a connection must be before mail for a domain may go over it: DANE (RFC 7672), MTA-STS
/// (RFC 8461), what the sender asked for (RFC 8689), in this order; else TLS as far as it works (RFC 7435).
///
///   TlsDemand   of a domain: its MTA-STS policy, and whether its MX list was validated; found with its plan
///   HostTls     of one host of it: found when the host's turn comes, since TLSA records belong to hosts
/// A lane's connections serve all domains of a site: an open one is used again only where it meets the demand.
/// Invariants  1. DANE needs validated answers for MX, address and TLSA alike; it beats MTA-STS.
///             2. A lookup that fails makes its host unusable for now; it never makes the mail go in clear.
///             3. Where the resolver cannot validate at all there is no DANE, and nothing is put off for it.
/// Threads: the loop's; serves() and judge() are pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/dns/resolver.h"
#include "protocols/net/stream.h"
#include "protocols/policy/tls_report.h"
#include "relay/client.h"
#include "relay/sts_cache.h"
#include "storage/queue.h"

namespace posthouse::relay {

enum class TlsLevel : std::uint8_t {
    opportunistic,  ///< encrypted where it works, else in clear (RFC 7435)
    encrypted,      ///< never in clear; the certificate says nothing (all TLSA records unusable, RFC 7672 2.2)
    verified,       ///< the certificate is right, or nothing is said
};

/// Of a domain.
struct TlsDemand {
    StsPtr sts;              ///< in force; null: none
    bool mx_secure = false;  ///< the MX list was validated by DNSSEC, and the resolver's test passed

    TlsDemand() = default;
    bool enforces_sts() const { return sts && sts->policy.mode == policy::StsMode::enforce; }
    /// Equal for demands that are met by the same connections.
    std::string key() const;
};

/// Of a host, for one domain and one wish.
struct HostTls {
    TlsLevel level = TlsLevel::opportunistic;
    net::TlsPeer peer{""};
    std::string by;                   ///< "DANE", "MTA-STS", "REQUIRETLS"; "" where nobody demands anything
    bool dane_looked = false;         ///< TLSA records were looked for, in validated answers
    bool testing = false;             ///< MTA-STS in testing mode: judged and told, not enforced
    bool mx_mismatch = false;         ///< testing mode: the policy does not name this host
    std::optional<Verdict> unusable;  ///< nothing may be sent to this host
    policy::TlsResult unusable_result = policy::TlsResult::validation_failure;
    policy::ReportedPolicy reported = policy::ReportedPolicy::none;
    std::string policy_text;  ///< as a report lists it, one a line
    std::string mx_patterns;

    HostTls() = default;
    /// "DANE (3 records of _25._tcp.mx.b.example)", "MTA-STS (enforce)", "opportunistic": for people.
    std::string describe() const;
};

/// What is asked of `host` at `port`. `addresses` is the answer that its addresses came from; null: a literal.
net::Task<HostTls> find_host_tls(dns::Resolver& resolver, TlsDemand demand, storage::TlsWish wish, std::string domain,
                                 std::string host, std::uint16_t port,
                                 std::optional<dns::Answer<net::IpAddress>> addresses);

/// Whether mail under `demand` and `wish` may go over a connection to `host` that was opened under `agreed`.
bool serves(const TlsDemand& demand, storage::TlsWish wish, std::string_view host, const HostTls& agreed,
            const std::optional<net::TlsFacts>& facts, bool offers_require_tls);

/// How the session went, in the terms of RFC 8460 4.3.
struct TlsJudgement {
    policy::TlsResult result = policy::TlsResult::success;
    std::string reason;
};
/// `started`: STARTTLS was offered and answered with 220. `facts`: of a handshake that came to its end.
TlsJudgement judge(const HostTls& asked, bool started, const std::optional<net::TlsFacts>& facts,
                   std::string_view handshake_error);

}  // namespace posthouse::relay
