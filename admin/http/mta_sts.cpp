// The MTA-STS policy of a domain at home (RFC 8461 3.2), for the reverse proxy that speaks HTTPS as "mta-sts.DOMAIN".
//
//   GET /.well-known/mta-sts.txt   Host: mta-sts.DOMAIN
#include "protocols/policy/mta_sts.h"
#include "admin/http/router.h"
#include "protocols/base/ascii.h"
#include "storage/transport.h"

namespace posthouse::admin {
namespace {

HttpAnswer answer_mta_sts(Call& call) {
    constexpr std::string_view kPrefix = "mta-sts.";
    const std::string host = ascii::to_lower(call.request.host.substr(0, call.request.host.find(':')));
    if (!host.starts_with(kPrefix)) return problem(404, "The policy is served for the host mta-sts.DOMAIN only.");
    const std::string domain = host.substr(kPrefix.size());
    const auto served = call.deps.store->read(
        [&](const storage::Snapshot& snapshot) { return storage::TransportView(snapshot).sts_served(domain); });
    if (!served) return problem(served.error());
    if (!*served) return problem(404, "This domain publishes no MTA-STS policy.");
    const auto mode = static_cast<policy::StsMode>((*served)->mode);
    const policy::StsPolicy policy = policy::hosted_sts_policy(mode, (*served)->mx, call.deps.hostname);
    HttpAnswer out;
    out.type = "text/plain; charset=utf-8";
    out.body = policy::format_sts_policy(policy);
    return out;
}

constexpr Endpoint kRows[] = {{"GET", policy::kStsTarget, Access::open, answer_mta_sts}};

}  // namespace

std::span<const Endpoint> policy_endpoints() { return kRows; }

}  // namespace posthouse::admin
