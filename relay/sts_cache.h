#pragma once
/// relay/sts_cache: which MTA-STS policy of a domain is in force (RFC 8461 3.3, 5.1).
///
///   TXT "_mta-sts.DOMAIN" not there, or its edition is the one we have -> what is kept, until its max_age
///   another edition                                                   -> fetched, kept; where that fails: as above
///   nothing kept, nothing to be had                                   -> no policy
/// Policies are kept in the store and outlive restarts; refresh() fetches them anew in the background, so that nobody
/// who blocks the fetch for an hour gets rid of one.
/// Invariants  1. A policy in force is never lost by a failed lookup or fetch: only by its end or by a newer edition.
///             2. A fetch that failed is not repeated for the same edition within kStsRetryAfter (RFC 8461 3.3).
/// Threads: the loop's.   Limits: kStsFetchMax, kStsFailuresMax; those of protocols/policy/mta_sts.h.
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "protocols/policy/mta_sts.h"
#include "protocols/policy/tls_report.h"
#include "relay/service.h"
#include "storage/transport.h"

namespace posthouse::relay {

inline constexpr std::chrono::milliseconds kStsFetchMax{60'000};     ///< RFC 8461 3.3
inline constexpr std::chrono::milliseconds kStsRetryAfter{300'000};  ///< RFC 8461 3.3
inline constexpr std::chrono::hours kStsRefreshAfter{24};            ///< RFC 8461 3.3
inline constexpr Milliseconds kStsLookMin{60'000};
inline constexpr Milliseconds kStsLookMax{1'800'000};
inline constexpr std::size_t kStsFailuresMax = 10'000;

/// A policy that holds now.
struct StsInForce {
    storage::StsEntry entry;
    policy::StsPolicy policy;
};
using StsPtr = std::shared_ptr<const StsInForce>;

/// What find() found. `trouble` is success, or why no newer policy could be had; for reports.
struct StsFound {
    StsPtr policy;
    policy::TlsResult trouble = policy::TlsResult::success;
    std::string reason;
    StsFound() = default;
};

class StsCache {
 public:
    /// Streams under way are kept in `open`.
    StsCache(const RelayDeps& deps, std::set<net::Stream*>& open, const net::Event& stopping)
        : deps_(deps), open_(open), stopping_(stopping) {}

    net::Task<StsFound> find(std::string domain);
    /// Fetches what was fetched more than kStsRefreshAfter ago, or has lived half its life, and drops what has ended.
    /// A policy that cannot be had now stays in force to its end. Gives the time until the next is due, within
    /// kStsLookMin and kStsLookMax.
    net::Task<Milliseconds> refresh();

 private:
    struct Failure {
        std::string id;
        Time at{};
        policy::TlsResult result = policy::TlsResult::sts_policy_fetch_error;
        std::string reason;
    };

    net::Task<StsPtr> kept(std::string domain);
    net::Task<StsFound> fetch(std::string domain, std::string id);
    net::Task<StsFound> take_over(std::string domain, std::string id, std::string text);
    StsFound failed(const std::string& domain, Failure failure);

    const RelayDeps& deps_;
    std::set<net::Stream*>& open_;
    const net::Event& stopping_;
    std::map<std::string, Failure> failures_;
};

}  // namespace posthouse::relay
