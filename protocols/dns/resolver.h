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
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/address.h"
#include "protocols/net/loop.h"

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

class Resolver {
 public:
    virtual ~Resolver() = default;
    virtual net::Task<Result<Answer<MxRecord>>> mx(std::string name) = 0;
    /// A and AAAA, in that order; an error of one family is dropped where the other has data.
    virtual net::Task<Result<Answer<net::IpAddress>>> addresses(std::string name) = 0;
    /// Each record's strings joined.
    virtual net::Task<Result<Answer<std::string>>> txt(std::string name) = 0;
    virtual net::Task<Result<Answer<std::string>>> ptr(net::IpAddress address) = 0;
};

struct ResolverOptions {
    std::vector<std::string> servers;  ///< "192.0.2.53" or "192.0.2.53@5353"; empty: resolve from the root ourselves
    std::string trust_anchor_file;     ///< empty: no DNSSEC validation
    bool ask_loopback = false;         ///< also send to 127.0.0.0/8 (tests)
    ResolverOptions() = default;
};

/// libunbound behind the loop (its descriptor is watched, its thread does the work).
Result<std::unique_ptr<Resolver>> make_unbound_resolver(net::Loop& loop, ResolverOptions options);

}  // namespace posthouse::dns
