#include "relay/site.h"

#include <algorithm>
#include <vector>

#include "protocols/base/ascii.h"
#include "relay/core.h"
#include "relay/tls_upkeep.h"

namespace posthouse::relay {

bool DomainPlan::takes(std::string_view host) const {
    if (provider != nullptr && provider->any_host && smtp::provider_of(host) == provider) return true;
    return std::ranges::any_of(mx.hosts, [&](const MxHost& one) {
        if (!one.name.empty()) return ascii::equals_ci(one.name, host);
        return std::ranges::any_of(one.addresses, [&](const auto& a) { return a.to_string() == host; });
    });
}

DomainPlan make_plan(std::string domain, MxAnswer answer) {
    DomainPlan out;
    out.domain = std::move(domain);
    if (auto* verdict = std::get_if<Verdict>(&answer)) {
        out.refusal = std::move(*verdict);
        return out;
    }
    out.mx = std::get<MxPlan>(std::move(answer));
    std::vector<std::string> names;
    for (const MxHost& host : out.mx.hosts) names.push_back(host.name);
    out.provider = smtp::provider_of_all(names);
    out.site = out.provider != nullptr ? std::string(out.provider->name) : out.mx.site;
    return out;
}

net::Task<DomainPlanPtr> find_plan(Core& core, std::string domain) {
    // Before the resolver is known to work, a broken one would look like an attack on every domain.
    const auto tested = co_await core.resolver_tested.wait_for(kResolverTestMax);
    static_cast<void>(tested);
    auto answer = co_await plan_mx(*core.deps.resolver, domain, core.deps.hostname, *core.deps.random);
    const auto* const refused = std::get_if<Verdict>(&answer);
    if (refused != nullptr && refused->bogus_dns && !co_await resolver_validates(core)) {
        answer = co_await plan_mx(*core.deps.resolver, domain, core.deps.hostname, *core.deps.random);
    }
    DomainPlan plan = make_plan(domain, std::move(answer));
    if (!plan.refusal) {
        plan.demand.mx_secure = plan.mx.secure;
        StsFound found = co_await core.sts.find(domain);
        if (found.trouble != policy::TlsResult::success) {
            core.tally.add_policy_trouble(domain, found.trouble, found.reason);
        }
        plan.demand.sts = std::move(found.policy);
    }
    co_return std::make_shared<const DomainPlan>(std::move(plan));
}

DomainPlanPtr PlanCache::find(std::string_view domain, Time now) {
    const auto found = plans_.find(domain);
    if (found == plans_.end() || found->second.until <= now) return nullptr;
    return found->second.plan;
}

void PlanCache::keep(DomainPlanPtr plan, Time now) {
    if (const auto old = plans_.find(plan->domain); old != plans_.end()) {
        ages_.erase(old->second.age);
        plans_.erase(old);
    }
    while (plans_.size() >= kPlansMax) {
        plans_.erase(ages_.front());
        ages_.pop_front();
    }
    ages_.push_back(plan->domain);
    Kept kept;
    kept.until = now + (plan->refusal ? Milliseconds(kRefusalLifetime) : Milliseconds(kPlanLifetime));
    kept.age = std::prev(ages_.end());
    kept.plan = std::move(plan);
    const std::string domain = ages_.back();
    plans_.emplace(domain, std::move(kept));
}

void PlanCache::clear() {
    plans_.clear();
    ages_.clear();
}

}  // namespace posthouse::relay
