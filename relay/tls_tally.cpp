#include "relay/tls_tally.h"

#include "protocols/base/log.h"
#include "storage/await.h"

namespace posthouse::relay {

TlsTally::TlsTally(const RelayDeps& deps)
    : deps_(deps),
      verified_(
          deps.metrics->counter("relay_tls_sessions_total", "Outgoing sessions by how TLS went", "result=\"success\"")),
      failed_(
          deps.metrics->counter("relay_tls_sessions_total", "Outgoing sessions by how TLS went", "result=\"failure\"")),
      dropped_(deps.metrics->counter("relay_tls_uncounted_total", "Outgoing sessions that no TLS report tells of")) {}

void TlsTally::count(storage::TlsSessions one) {
    one.day = storage::day_of(deps_.clock->now());
    one.sessions = 1;
    const Key key(one.day, one.domain, one.policy, one.result, one.mx_host, one.receiving_ip, one.sending_ip,
                  one.reason);
    const auto found = counted_.find(key);
    if (found != counted_.end()) {
        ++found->second.sessions;
    } else if (counted_.size() < kTallyKindsMax) {
        counted_.emplace(key, std::move(one));
    } else {
        dropped_.add();
    }
}

void TlsTally::add(const HostTls& asked, const TlsSession& session) {
    const bool success = session.judgement.result == policy::TlsResult::success;
    (success ? verified_ : failed_).add();
    add_again(asked, session);
}

void TlsTally::add_again(const HostTls& asked, const TlsSession& session) {
    storage::TlsSessions one;
    one.domain = session.domain;
    one.policy = static_cast<int>(asked.reported);
    one.result = static_cast<int>(session.judgement.result);
    one.policy_text = asked.policy_text;
    one.mx_patterns = asked.mx_patterns;
    if (session.judgement.result != policy::TlsResult::success) {
        one.mx_host = session.mx_host;
        one.receiving_ip = session.receiving_ip;
        one.sending_ip = session.sending_ip;
        one.reason = session.judgement.reason;
    }
    count(std::move(one));
}

void TlsTally::add_policy_trouble(const std::string& domain, policy::TlsResult result, const std::string& reason) {
    storage::TlsSessions one;
    one.domain = domain;
    one.policy = static_cast<int>(policy::ReportedPolicy::sts);
    one.result = static_cast<int>(result);
    one.reason = reason;
    count(std::move(one));
}

net::Task<void> TlsTally::flush() {
    if (counted_.empty()) co_return;
    std::vector<storage::TlsSessions> all;
    for (auto& [key, one] : counted_) all.push_back(std::move(one));
    counted_.clear();
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [all = std::move(all)](storage::Tx& tx) { return storage::TransportTx(tx).count_tls(all); };
    const auto uncounted = co_await storage::commit(*deps_.store, *deps_.loop, std::move(no_bodies), std::move(write));
    if (!uncounted) {
        log::warn("relay", "how TLS went cannot be recorded: {}", uncounted.error().context);
    } else {
        dropped_.add(static_cast<std::int64_t>(*uncounted));
    }
}

}  // namespace posthouse::relay
