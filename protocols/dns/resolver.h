#pragma once
/// protocols/dns: questions to the DNS and their answers with DNSSEC status. unbound.cpp asks for real, tests/support
/// has a fake. Names are ASCII (A-labels), without the final dot, lower case in answers.
///
/// Rules  1. `bogus` is judged before the data: a bogus answer is Errc::dns_bogus, never data.
///        2. "No such name" and "no such type" are answers (exists / records empty), not errors.
///        3. Errc::dns_temporary for everything that may go better later: SERVFAIL, timeout, no server.
/// Threads: the loop's. At most kQueriesInFlightMax at once, the rest wait.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/address.h"
#include "protocols/net/loop.h"
#include "protocols/net/tls_peer.h"

namespace posthouse::dns {

inline constexpr std::size_t kQueriesInFlightMax = 256;
inline constexpr std::chrono::milliseconds kQueryMax{10'000};

template <class Record>
struct Answer {
    std::vector<Record> records;
    bool name_exists = true;   ///< false for NXDOMAIN
    bool secure = false;       ///< validated by DNSSEC, for data and for absence alike
    std::string canonical;     ///< the name at the end of the CNAME chain, where there was one
};

struct MxRecord {
    std::uint16_t preference = 0;
    std::string host;  ///< "" is the null MX (RFC 7505)
};

using TlsaRecord = net::TlsaRecord;

/// Whether DNSSEC can be had here.
enum class Dnssec {
    off,      ///< no trust anchor is configured: nothing is ever secure
    unknown,  ///< not tried yet, or the servers did not answer
    working,
    broken,   ///< the servers on the way lose signatures: answers are taken without validation meanwhile
};
struct DnssecState {
    Dnssec state = Dnssec::off;
    std::string why;  ///< for broken and unknown: what happened
    DnssecState() = default;
    DnssecState(Dnssec now, std::string reason) : state(now), why(std::move(reason)) {}
};

class Resolver {
 public:
    virtual ~Resolver() = default;
    virtual net::Task<Result<Answer<MxRecord>>> mx(std::string name) = 0;
    /// A and AAAA, in that order; an error of one family is dropped where the other has data.
    virtual net::Task<Result<Answer<net::IpAddress>>> addresses(std::string name) = 0;
    /// Each record's strings joined.
    virtual net::Task<Result<Answer<std::string>>> txt(std::string name) = 0;
    virtual net::Task<Result<Answer<std::string>>> ptr(net::IpAddress address) = 0;
    /// Certificates of a service, "_25._tcp.mx.example" (RFC 6698 3).
    virtual net::Task<Result<Answer<TlsaRecord>>> tlsa(std::string name) = 0;
    /// The CNAME record of this very name, not followed; one at most (RFC 2181 10.1).
    virtual net::Task<Result<Answer<std::string>>> cname(std::string name) = 0;

    /// Asks for the zone of the trust anchor itself. Where its signatures do not arrive, no later answer could be
    /// validated and every question would fail: the resolver then goes on without DNSSEC until a later test passes.
    virtual net::Task<DnssecState> test_dnssec() = 0;
    /// What the last test found.
    virtual DnssecState dnssec() const = 0;

    /// Questions that wait for an answer end with Errc::cancelled: the server stops and will not wait for a resolver
    /// that is silent. Later ones are asked as ever.
    virtual void interrupt() {}
};

struct ResolverOptions {
    std::vector<std::string> servers;  ///< "192.0.2.53" or "192.0.2.53@5353"; empty: resolve from the root ourselves
    std::string trust_anchor_file;     ///< empty: no DNSSEC validation
    std::string trust_anchor_zone = ".";  ///< whose anchor that is; see anchor_zone()
    bool ask_loopback = false;         ///< also send to 127.0.0.0/8 (tests)
    ResolverOptions() = default;
};

/// The zone that the first record of a trust anchor file belongs to; "." where none can be read.
std::string anchor_zone(std::string_view anchor_file);
/// libunbound behind the loop (its descriptor is watched, its thread does the work).
Result<std::unique_ptr<Resolver>> make_unbound_resolver(net::Loop& loop, ResolverOptions options);

}  // namespace posthouse::dns
