#pragma once
/// storage/transport: what is kept about the security of transport: MTA-STS policies of others (RFC 8461), the policy
/// of each domain at home, how TLS went with whom (for TLSRPT, RFC 8460), and the reports that others sent.
///
/// Invariants  1. A policy of another domain stays until it expires or a newer edition replaces it: losing it would be
///                a downgrade (RFC 8461 5.1). It survives restarts.
///             2. How TLS went is counted in rows, not kept by session: at most kTlsRowsPerDomainMax rows a day and
///                domain, beyond that failures are counted without their details.
///             3. A report of others is kept once by (organisation, report id), the oldest go first.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::size_t kTlsRowsPerDomainMax = 200;
inline constexpr std::size_t kTlsRowsPerDayMax = 100'000;
inline constexpr std::size_t kTlsReportsMax = 10'000;
inline constexpr std::size_t kTlsReportTextOctetsMax = 1024UL * 1024;  ///< of one report; a longer one is kept without

/// A policy that was fetched.
struct StsEntry {
    std::string domain;  ///< lower case
    std::string id;      ///< its edition in the DNS at that time
    std::string policy;  ///< as fetched
    Time fetched{};
    Time expires{};
};

/// What a domain at home publishes.
struct StsServed {
    std::string domain;
    int mode = 0;                 ///< policy::StsMode: 0 none 1 testing 2 enforce
    std::string id;               ///< digits; another one with each change
    std::vector<std::string> mx;  ///< empty: the server's own name
};

/// One kind of outcome of TLS sessions with a domain.
struct TlsSessions {
    std::int64_t day = 0;  ///< since 1970-01-01, UTC
    std::string domain;    ///< the policy domain
    int policy = 0;        ///< policy::ReportedPolicy
    int result = 0;        ///< policy::TlsResult; 0: success
    std::string mx_host;   ///< "" for successes
    std::string receiving_ip;
    std::string sending_ip;
    std::string reason;
    std::string policy_text;  ///< policy-string, one a line
    std::string mx_patterns;  ///< mx-host, one a line
    std::uint64_t sessions = 0;
};

/// A report about us that somebody sent.
struct TlsReportEntry {
    std::int64_t id = 0;
    Time received{};
    std::string organization;
    std::string report_id;
    std::string domain;  ///< of its first policy
    std::string start;   ///< RFC 3339
    std::string end;
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    std::string text;  ///< JSON; "" where it was too long
};

class TransportView {
 public:
    explicit TransportView(const Snapshot& snapshot);
    Result<std::optional<StsEntry>> sts_policy(std::string_view domain) const;
    /// Those that expire after `now`, by domain.
    Result<std::vector<StsEntry>> sts_policies(Time now, std::size_t count_max) const;
    Result<std::optional<StsServed>> sts_served(std::string_view domain) const;

    /// Domains with sessions on days before `day`, with the day, oldest first.
    Result<std::vector<std::pair<std::int64_t, std::string>>> tls_days_before(std::int64_t day) const;
    Result<std::vector<TlsSessions>> tls_sessions(std::int64_t day, std::string_view domain) const;
    /// Newest first.
    Result<std::vector<TlsReportEntry>> tls_reports(std::size_t count_max) const;

 protected:
    explicit TransportView(Connection& db) : db_(db) {}
    Connection& db_;
};

class TransportTx final : public TransportView {
 public:
    explicit TransportTx(Tx& tx);
    Result<> keep_sts_policy(const StsEntry& entry);
    /// What expired before `now` goes.
    Result<> drop_sts_expired(Time now);
    /// Errc::not_found for a domain that is not at home. The id becomes a new one where anything changes.
    Result<StsServed> serve_sts(std::string_view domain, int mode, const std::vector<std::string>& mx);

    /// Adds up; see invariant 2. Gives back how many sessions found no room.
    Result<std::uint64_t> count_tls(std::span<const TlsSessions> sessions);
    Result<> drop_tls_sessions(std::int64_t day, std::string_view domain);
    Result<> drop_tls_before(std::int64_t day);
    /// False where the report is here already.
    Result<bool> add_tls_report(const TlsReportEntry& report);

 private:
    Result<> count_one(const TlsSessions& one, bool in_detail);
    Tx& tx_;
};

/// Days since 1970-01-01, UTC.
std::int64_t day_of(Time at);
Time start_of_day(std::int64_t day);

}  // namespace posthouse::storage
