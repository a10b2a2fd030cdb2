#pragma once
/// protocols/report: DMARC aggregate reports (RFC 7489 7.2 and appendix C, RFC 9990): XML of either namespace or none,
/// bare, in gzip, in zip, or in a mail. What is not known is passed over.
/// Invariants  1. A document type declaration is refused: no entities, no expansion.
///             2. At most kRecordsMax records, kXmlDepthMax levels, kValueOctetsMax octets a value, kReportOctetsMax in
///                all.
/// Threads: pure.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::report {

inline constexpr std::size_t kRecordsMax = 50'000;
inline constexpr std::size_t kXmlDepthMax = 32;
inline constexpr std::size_t kValueOctetsMax = 2000;
inline constexpr std::size_t kResultsMax = 20;  ///< of one kind in one record

struct DmarcResult {  ///< of DKIM or SPF for one identity, whatever it is aligned with
    std::string domain;
    std::string selector;  ///< DKIM
    std::string scope;     ///< SPF: "mfrom", "helo"
    std::string result;    ///< lower case
    std::string human;
    bool operator==(const DmarcResult&) const = default;
};
struct DmarcReason {  ///< why the policy was not applied
    std::string type;
    std::string comment;
    bool operator==(const DmarcReason&) const = default;
};
struct DmarcRecord {
    std::string source_ip;
    std::uint64_t count = 0;
    std::string disposition;  ///< none, quarantine, reject, pass; lower case, as are the two below
    std::string dkim;         ///< aligned: pass or fail
    std::string spf;
    std::vector<DmarcReason> reasons;
    std::string header_from;
    std::string envelope_from;
    std::string envelope_to;
    std::vector<DmarcResult> dkim_results;
    std::vector<DmarcResult> spf_results;
};
struct DmarcReport {
    std::string version;
    std::string organization;
    std::string email;
    std::string contact;
    std::string id;
    std::int64_t begin = 0;  ///< seconds since 1970, UTC
    std::int64_t end = 0;
    std::vector<std::string> errors;
    std::string generator;
    std::string domain;  ///< policy_published; lower case
    std::string policy;
    std::string subdomain_policy;
    std::string nonexistent_policy;
    std::string adkim;
    std::string aspf;
    std::string fo;
    std::string testing;
    std::string discovery_method;
    std::vector<DmarcRecord> records;
};

/// Errc::invalid (no XML, no report), too_large.
Result<DmarcReport> parse_dmarc_report(std::string_view xml);
/// From whatever it travels in. Errc::not_found: a mail without a report.
Result<DmarcReport> read_dmarc_report(std::string_view octets);

}  // namespace posthouse::report
