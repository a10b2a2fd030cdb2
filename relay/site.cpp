#include "relay/site.h"

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "relay/core.h"

namespace posthouse::relay {

namespace {

struct Row {
    Provider provider;
    std::array<std::string_view, 5> suffixes;  ///< with their dot: "." + domain
};

// Where tenants have host names of their own, a host answers for its tenant alone and `any_host` is false.
constexpr Row kProviders[] = {
    {{"google", true}, {".google.com", ".googlemail.com"}},
    {{"microsoft-consumer", true}, {".olc.protection.outlook.com"}},
    {{"microsoft-365", false}, {".mail.protection.outlook.com", ".mx.microsoft", ".mail.protection.outlook.de"}},
    {{"yahoo", true}, {".yahoodns.net"}},
    {{"apple", true}, {".mail.icloud.com", ".apple.com"}},
    {{"comcast", true}, {".comcast.net"}},
    {{"orange", true}, {".orange.fr", ".wanadoo.fr"}},
    {{"free", true}, {".free.fr"}},
    {{"united-internet", true}, {".gmx.net", ".web.de", ".mail.com"}},
    {{"ionos", true}, {".kundenserver.de", ".ionos.de", ".ionos.com", ".1and1.com"}},
    {{"t-online", true}, {".t-online.de"}},
    {{"yandex", true}, {".yandex.net", ".yandex.ru"}},
    {{"mail-ru", true}, {".mail.ru"}},
    {{"fastmail", true}, {".messagingengine.com"}},
    {{"proton", true}, {".protonmail.ch"}},
    {{"zoho", true}, {".zoho.com", ".zoho.eu", ".zoho.in"}},
    {{"rackspace", true}, {".emailsrvr.com"}},
    {{"ovh", true}, {".mail.ovh.net", ".ovh.net"}},
    {{"gandi", true}, {".mail.gandi.net"}},
    {{"proofpoint", false}, {".pphosted.com", ".ppe-hosted.com"}},
    {{"mimecast", false}, {".mimecast.com", ".mimecast.co.za"}},
    {{"barracuda", false}, {".barracudanetworks.com"}},
    {{"cloudflare", true}, {".mx.cloudflare.net"}},
    {{"messagelabs", false}, {".messagelabs.com"}},
};

bool ends_with_ci(std::string_view host, std::string_view suffix) {
    return host.size() > suffix.size() && ascii::equals_ci(host.substr(host.size() - suffix.size()), suffix);
}

}  // namespace

const Provider* provider_of(std::string_view host) {
    for (const Row& row : kProviders) {
        for (const std::string_view suffix : row.suffixes) {
            if (!suffix.empty() && ends_with_ci(host, suffix)) return &row.provider;
        }
    }
    return nullptr;
}

bool DomainPlan::takes(std::string_view host) const {
    if (provider != nullptr && provider->any_host && provider_of(host) == provider) return true;
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
    // The best host says whose domain it is: a stray backup elsewhere opens no lane of its own.
    out.provider = provider_of(out.mx.hosts.front().name);
    out.site = out.provider != nullptr ? std::string(out.provider->name) : out.mx.site;
    return out;
}

net::Task<DomainPlanPtr> find_plan(Core& core, std::string domain) {
    auto answer = co_await plan_mx(*core.deps.resolver, domain, core.deps.hostname, *core.deps.random);
    co_return std::make_shared<const DomainPlan>(make_plan(std::move(domain), std::move(answer)));
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
