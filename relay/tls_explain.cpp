#include "relay/tls_explain.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/policy/dane.h"
#include "relay/core.h"
#include "relay/site.h"

namespace posthouse::relay {

namespace {

std::string describe(const dns::DnssecState& state) {
    switch (state.state) {
        case dns::Dnssec::working: return "DNSSEC answers are validated";
        case dns::Dnssec::off: return "DANE unavailable: no trust anchor is configured";
        case dns::Dnssec::broken: return "DANE unavailable: the DNS servers in use lose signatures (" + state.why + ")";
        case dns::Dnssec::unknown: return "DANE unavailable for now: the DNS does not answer (" + state.why + ")";
    }
    return "";
}

std::string describe(const StsFound& found) {
    const std::string trouble = found.trouble == policy::TlsResult::success
                                    ? ""
                                    : fmt::format(" ({}: {})", policy::to_string(found.trouble), found.reason);
    if (found.policy == nullptr) return "none" + trouble;
    const storage::StsEntry& entry = found.policy->entry;
    return fmt::format("mode {}, edition {}, until {}{}", policy::to_string(found.policy->policy.mode), entry.id,
                       format_rfc3339(entry.expires), trouble);
}

net::Task<TlsExplanation::Host> explain_host(Core& core, TlsDemand demand, std::string domain, MxHost host) {
    TlsExplanation::Host out;
    out.name = host.name.empty() ? host.addresses.front().to_literal() : host.name;
    std::optional<dns::Answer<net::IpAddress>> answer;
    if (!host.name.empty()) {
        auto found = co_await core.deps.resolver->addresses(host.name);
        if (!found) {
            out.policy = "unusable";
            out.why = "its addresses cannot be had now: " + found.error().context;
            co_return out;
        }
        answer = *std::move(found);
    }
    const HostTls asked =
        co_await find_host_tls(*core.deps.resolver, std::move(demand), storage::TlsWish::policy, std::move(domain),
                               host.name, core.deps.options.mx_port, std::move(answer));
    out.why = asked.describe();
    out.policy = asked.unusable          ? "unusable"
                 : asked.by == "DANE"    ? "dane"
                 : asked.by == "MTA-STS" ? "mta-sts"
                                         : "opportunistic";
    for (const auto& record : asked.peer.tlsa) out.records.push_back(policy::format_tlsa(record));
    co_return out;
}

}  // namespace

net::Task<TlsExplanation> explain_tls(RelayDeps deps, std::string domain) {
    Core core(std::move(deps));
    TlsExplanation out;
    domain = ascii::to_lower(domain);
    out.dnssec = describe(co_await core.deps.resolver->test_dnssec());
    auto answer = co_await plan_mx(*core.deps.resolver, domain, core.deps.hostname, *core.deps.random);
    const DomainPlan plan = make_plan(domain, std::move(answer));
    if (plan.refusal) {
        out.refusal = plan.refusal->reply;
        co_return out;
    }
    const StsFound sts = co_await core.sts.find(domain);
    out.sts = describe(sts);
    out.mx_secure = plan.mx.secure;
    TlsDemand demand;
    demand.mx_secure = plan.mx.secure;
    demand.sts = sts.policy;
    for (const MxHost& host : plan.mx.hosts) {
        auto explained = co_await explain_host(core, demand, domain, host);
        out.hosts.push_back(std::move(explained));
    }
    co_return out;
}

}  // namespace posthouse::relay
