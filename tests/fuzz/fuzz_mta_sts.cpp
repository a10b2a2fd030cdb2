/// MTA-STS as others publish it: records, policies, names of mail servers.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/policy/mta_sts.h"
#include "protocols/policy/tls_report.h"

using namespace posthouse::policy;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    (void)parse_sts_record(std::vector{text});
    (void)parse_tls_report_record(std::vector{text});
    (void)sts_policy_lines(text);
    const auto policy = parse_sts_policy(text);
    if (!policy) return 0;
    if (policy->mode != StsMode::none && policy->mx.empty()) std::abort();
    if (policy->mx.size() > kStsMxMax || policy->max_age > kStsMaxAgeMax) std::abort();
    (void)sts_mx_matches(policy->mx, "mail.example.com");
    // What we write of it is read as the same.
    const auto again = parse_sts_policy(format_sts_policy(*policy));
    if (!again || again->mode != policy->mode || again->max_age != policy->max_age || again->mx != policy->mx) {
        std::abort();
    }
    return 0;
}
