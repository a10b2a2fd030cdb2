#pragma once
/// relay/site: who is at the other end. A site is the set of hosts that share a patience: the MX hosts of a domain, or
/// a big provider under whichever names (all Google-hosted domains are one site, so they share one lane).
///
///   plan of a domain   hosts in their order, the site they belong to, and what the domain asks of TLS; kept for a
///                      while, as the runner needs it before it can choose a lane
/// Providers are a table in protocols/smtp/provider.
/// Threads: the loop's.   Limits: kPlansMax domains, kPlanLifetime, kRefusalLifetime.
#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/smtp/provider.h"
#include "relay/mx.h"
#include "relay/tls_demand.h"

namespace posthouse::relay {

struct Core;

inline constexpr std::size_t kPlansMax = 20'000;
inline constexpr std::chrono::minutes kPlanLifetime{5};
inline constexpr std::chrono::seconds kRefusalLifetime{60};
inline constexpr std::chrono::milliseconds kResolverTestMax{15'000};

/// What is known of a domain's way: a refusal, or hosts.
struct DomainPlan {
    std::string domain;
    std::optional<Verdict> refusal;  ///< no host can be had: null MX, no such domain, DNS trouble
    MxPlan mx;
    std::string site;  ///< "google", or the MX hosts in alphabetical order
    const smtp::Provider* provider = nullptr;
    TlsDemand demand;

    DomainPlan() = default;
    /// Whether a connection to `host` can carry mail for this domain.
    bool takes(std::string_view host) const;
};
using DomainPlanPtr = std::shared_ptr<const DomainPlan>;

/// The pure part: from the answer of the DNS to a plan.
DomainPlan make_plan(std::string domain, MxAnswer answer);

/// Asks the DNS, and finds out what the domain asks of TLS.
net::Task<DomainPlanPtr> find_plan(Core& core, std::string domain);

/// Plans by domain, the oldest go first.
class PlanCache {
 public:
    DomainPlanPtr find(std::string_view domain, Time now);
    void keep(DomainPlanPtr plan, Time now);
    void clear();
    std::size_t size() const { return plans_.size(); }

 private:
    struct Kept {
        DomainPlanPtr plan;
        Time until{};
        std::list<std::string>::iterator age;
    };
    std::map<std::string, Kept, std::less<>> plans_;
    std::list<std::string> ages_;
};

}  // namespace posthouse::relay
