#pragma once
/// relay/tls_tally: how TLS went with whom, counted in memory and written to the store now and then, for the daily
/// reports (RFC 8460). What a crash costs is the count of some seconds.
/// Threads: the loop's.   Limits: kTallyKindsMax kinds of outcomes between two writes; more are counted as dropped.
#include <chrono>
#include <map>
#include <string>
#include <tuple>

#include "relay/service.h"
#include "relay/tls_demand.h"
#include "storage/transport.h"

namespace posthouse::relay {

inline constexpr std::size_t kTallyKindsMax = 5'000;
inline constexpr std::chrono::milliseconds kTallyEvery{15'000};

/// One session, as far as a report tells of it.
struct TlsSession {
    std::string domain;
    std::string mx_host;
    std::string receiving_ip;
    std::string sending_ip;
    TlsJudgement judgement;
    TlsSession() = default;
};

class TlsTally {
 public:
    explicit TlsTally(const RelayDeps& deps);
    void add(const HostTls& asked, const TlsSession& session);
    /// The same session for another domain's report: the metrics know it already.
    void add_again(const HostTls& asked, const TlsSession& session);
    /// A fault of the MTA-STS policy itself, once a plan.
    void add_policy_trouble(const std::string& domain, policy::TlsResult result, const std::string& reason);
    /// Writes what was counted.
    net::Task<void> flush();

 private:
    using Key = std::tuple<std::int64_t, std::string, int, int, std::string, std::string, std::string, std::string>;
    void count(storage::TlsSessions one);

    const RelayDeps& deps_;
    std::map<Key, storage::TlsSessions> counted_;
    Metrics::Value& verified_;
    Metrics::Value& failed_;
    Metrics::Value& dropped_;
};

}  // namespace posthouse::relay
