#include "relay/tls_demand.h"

#include <fmt/format.h>

#include "protocols/policy/dane.h"

namespace posthouse::relay {

namespace {

using policy::TlsResult;
using storage::TlsWish;

std::string joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& line : lines) out.append(line).append("\n");
    return out;
}

// RFC 3463 3.8: X.7.5 is a cryptographic failure.
void make_unusable(HostTls& out, TlsResult result, std::string sentence) {
    out.unusable = Verdict(Fate::deferred, "4.7.5", std::move(sentence));
    out.unusable_result = result;
}

// The names that TLSA records may stand at: the end of the CNAME chain, then the host itself   RFC 7672 2.2.2
net::Task<Result<std::vector<std::string>>> tlsa_bases(dns::Resolver& resolver, std::string host,
                                                       dns::Answer<net::IpAddress> addresses) {
    std::vector<std::string> out;
    if (addresses.secure) {
        if (!addresses.canonical.empty()) out.push_back(addresses.canonical);
        out.push_back(host);
    } else if (!addresses.canonical.empty()) {
        // The chain leaves the signed part of the DNS on the way: its first link may still lie inside.
        const auto alias = co_await resolver.cname(host);
        if (!alias) co_return Error(alias.error());
        if (alias->secure && !alias->records.empty()) out.push_back(host);
    }
    co_return out;
}

// RFC 7672 2.1.2: as good as an attack. The host is passed over, the next one may do.
void make_unknown(HostTls& out, std::string_view name, std::string_view host, std::string_view why) {
    out.reported = policy::ReportedPolicy::tlsa;
    make_unusable(
        out, TlsResult::dnssec_invalid,
        fmt::format("The TLSA records {} of {} cannot be had now ({}), so nothing was sent to it", name, host, why));
}

// True where the question of DANE is settled: records, or a host that cannot be used.
net::Task<bool> look_for_tlsa(dns::Resolver& resolver, HostTls& out, std::string domain, std::string host,
                              std::uint16_t port, dns::Answer<net::IpAddress> addresses) {
    const auto bases = co_await tlsa_bases(resolver, host, std::move(addresses));
    out.dane_looked = true;
    if (!bases) {
        // An attacker who breaks the question of the alias would else take DANE away.
        make_unknown(out, policy::tlsa_name(host, port), host, bases.error().context);
        co_return true;
    }
    for (const std::string& base : *bases) {
        const std::string name = policy::tlsa_name(base, port);
        const auto answer = co_await resolver.tlsa(name);
        if (!answer) {
            make_unknown(out, name, host, answer.error().context);
            co_return true;
        }
        if (!answer->secure || answer->records.empty()) continue;
        out.reported = policy::ReportedPolicy::tlsa;
        for (const auto& record : answer->records) out.policy_text += policy::format_tlsa(record) + "\n";
        out.by = "DANE";
        out.peer = net::TlsPeer(base);
        out.peer.tlsa = policy::usable(answer->records);
        out.peer.other_names = {host, domain};  // RFC 7672 3.2.2
        out.level = out.peer.tlsa.empty() ? TlsLevel::encrypted : TlsLevel::verified;
        co_return true;
    }
    co_return false;
}

void apply_sts(HostTls& out, const StsInForce& sts, std::string_view domain, std::string_view host) {
    out.reported = policy::ReportedPolicy::sts;
    out.policy_text = joined(policy::sts_policy_lines(sts.entry.policy));
    out.mx_patterns = joined(sts.policy.mx);
    const bool named = policy::sts_mx_matches(sts.policy.mx, host);
    if (sts.policy.mode == policy::StsMode::testing) {
        out.testing = true;
        out.mx_mismatch = !named;
        return;
    }
    out.by = "MTA-STS";
    out.level = TlsLevel::verified;
    if (!named) {
        make_unusable(
            out, TlsResult::validation_failure,
            fmt::format("The MTA-STS policy of {} does not name its mail server {}, so nothing was sent to it", domain,
                        host));
        out.unusable->no_tls = true;
    }
}

}  // namespace

std::string TlsDemand::key() const {
    const std::string_view id = sts ? std::string_view(sts->entry.id) : std::string_view();
    return fmt::format("{}:{}:{}", mx_secure ? "secure" : "", sts ? sts->entry.domain : "", id);
}

std::string HostTls::describe() const {
    if (unusable) return unusable->reply;
    if (by == "DANE" && level == TlsLevel::encrypted)
        return "DANE: encrypted, but none of the TLSA records can be used";
    if (by == "DANE") return fmt::format("DANE: {} usable TLSA records at {}", peer.tlsa.size(), peer.server_name);
    if (!by.empty()) return by + ": the certificate must be right";
    if (testing)
        return mx_mismatch ? "MTA-STS in testing mode, which does not name this host" : "MTA-STS in testing mode";
    return "opportunistic: encrypted where it works";
}

net::Task<HostTls> find_host_tls(dns::Resolver& resolver, TlsDemand demand, TlsWish wish, std::string domain,
                                 std::string host, std::uint16_t port,
                                 std::optional<dns::Answer<net::IpAddress>> addresses) {
    HostTls out;
    out.peer = net::TlsPeer(host);
    if (host.empty()) co_return out;
    if (wish == TlsWish::best_effort) co_return out;  // RFC 8689 4.2.2
    if (demand.mx_secure && addresses) {
        const bool settled = co_await look_for_tlsa(resolver, out, domain, host, port, *std::move(addresses));
        if (settled) co_return out;
    }
    if (demand.sts && demand.sts->policy.mode != policy::StsMode::none) apply_sts(out, *demand.sts, domain, host);
    if (wish == TlsWish::require && out.level != TlsLevel::verified) {
        // RFC 8689 4.2.1: who stands behind the name must be known: by DNSSEC, or by a policy that names the host.
        const bool known = demand.mx_secure || (out.testing && !out.mx_mismatch);
        out.by = "REQUIRETLS";
        out.level = TlsLevel::verified;
        if (!known && !out.unusable) {
            out.unusable =
                Verdict(Fate::failed, "5.7.10",
                        fmt::format("The sender requires TLS all the way (REQUIRETLS), and neither DNSSEC nor "
                                    "MTA-STS says that {} is a mail server of {}",
                                    host, domain));
        }
    }
    co_return out;
}

bool serves(const TlsDemand& demand, TlsWish wish, std::string_view host, const HostTls& agreed,
            const std::optional<net::TlsFacts>& facts, bool offers_require_tls) {
    if (wish == TlsWish::best_effort) return true;
    const bool verified = facts && facts->peer_verified;
    if (wish == TlsWish::require) {
        const bool named = demand.sts && policy::sts_mx_matches(demand.sts->policy.mx, host);
        if (!verified || !offers_require_tls || !(demand.mx_secure || named)) return false;
    }
    if (demand.mx_secure) {
        // Whether the host has TLSA records is not known unless somebody looked; what it then had to show, it showed.
        if (!agreed.dane_looked) return false;
        if (agreed.by == "DANE") return true;
    }
    if (!demand.enforces_sts()) return true;
    return verified && !facts->dane && policy::sts_mx_matches(demand.sts->policy.mx, host);
}

TlsJudgement judge(const HostTls& asked, bool started, const std::optional<net::TlsFacts>& facts,
                   std::string_view handshake_error) {
    TlsJudgement out;
    if (!started) {
        out.result = TlsResult::starttls_not_supported;
        return out;
    }
    if (!facts) {
        out.result = TlsResult::validation_failure;
        out.reason = handshake_error;
        return out;
    }
    if (asked.mx_mismatch) {
        out.result = TlsResult::validation_failure;
        out.reason = "the policy does not name this mail server";
        return out;
    }
    const bool certificate_counts = asked.reported != policy::ReportedPolicy::none;
    if (!certificate_counts || facts->peer_verified) return out;
    if (asked.by == "DANE" && asked.level == TlsLevel::encrypted) {
        out.result = TlsResult::tlsa_invalid;
        out.reason = "none of the TLSA records can be used";
        return out;
    }
    out.reason = facts->verify_error;
    switch (facts->fault) {
        case net::CertificateFault::name: out.result = TlsResult::certificate_host_mismatch; break;
        case net::CertificateFault::expired: out.result = TlsResult::certificate_expired; break;
        case net::CertificateFault::untrusted: out.result = TlsResult::certificate_not_trusted; break;
        default: out.result = TlsResult::validation_failure; break;
    }
    return out;
}

}  // namespace posthouse::relay
