#pragma once
/// protocols/policy/mta_sts: MTA-STS as a domain publishes it (RFC 8461): the TXT record that says "there is a policy,
/// in this edition", and the policy itself.
///   in:  texts of TXT records -> edition          policy file -> StsPolicy          MX name -> does it match?
///   out: the same two, for the domains that are at home here
/// Invariants  1. Unknown fields are passed over, the first of a repeated field counts (RFC 8461 3.2).
///             2. A policy that could be read has its three required fields, and mx unless its mode is none.
/// Threads: pure functions.   Limits: kStsPolicyOctetsMax, kStsMxMax.
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::policy {

inline constexpr std::size_t kStsPolicyOctetsMax = 64UL * 1024;  ///< RFC 8461 3.3
inline constexpr std::size_t kStsMxMax = 256;
inline constexpr std::chrono::seconds kStsMaxAgeMax{31'557'600};  ///< RFC 8461 3.2
inline constexpr std::string_view kStsTarget = "/.well-known/mta-sts.txt";

enum class StsMode { none, testing, enforce };
std::string_view to_string(StsMode mode);
std::optional<StsMode> parse_sts_mode(std::string_view text);

struct StsPolicy {
    StsMode mode = StsMode::none;
    std::chrono::seconds max_age{0};
    std::vector<std::string> mx;  ///< lower case; "mail.example.com" or "*.example.net"
    StsPolicy() = default;
};

/// The edition (id) in the TXT records of "_mta-sts.DOMAIN". Errc::not_found: none of them is meant for MTA-STS.
/// Errc::invalid: there are two, or the one cannot be read; for a sender that is as good as none (RFC 8461 3.1).
Result<std::string> parse_sts_record(std::span<const std::string> texts);
Result<StsPolicy> parse_sts_policy(std::string_view text);
/// Whether `host` may be an MX under one of the patterns (RFC 8461 4.1): "*." stands for one label.
bool sts_mx_matches(std::span<const std::string> patterns, std::string_view host);

std::string format_sts_record(std::string_view id);
/// The policy of a domain at home: good for two weeks once it holds, for a day while it is tried out or taken back
/// (RFC 8461 3.2). Where `mx` is empty it names `hostname`.
StsPolicy hosted_sts_policy(StsMode mode, std::vector<std::string> mx, std::string_view hostname);
/// Ends every line with CRLF.
std::string format_sts_policy(const StsPolicy& policy);
/// The fields of `text` one by one, as a report about it lists them (RFC 8460 4.4, policy-string).
std::vector<std::string> sts_policy_lines(std::string_view text);

}  // namespace posthouse::policy
