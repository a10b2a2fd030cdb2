#pragma once
/// protocols/policy/tls_report: TLSRPT (RFC 8460): where a domain wants its reports, and what a report says.
///   in:  texts of TXT records -> addresses            a report's JSON is read and written where Poco is at home
/// Invariants  1. An address in a TlsReportRecord is a "mailto:" with one plain mailbox, or an "https://" URL.
/// Threads: pure functions, values.   Limits: kReportAddressesMax; the readers of reports name theirs.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::policy {

inline constexpr std::size_t kReportAddressesMax = 8;

/// policy-type                                                              RFC 8460 4.4
enum class ReportedPolicy { tlsa, sts, none };
std::string_view to_string(ReportedPolicy type);

/// result-type                                                              RFC 8460 4.3; `success` is ours
enum class TlsResult {
    success,
    starttls_not_supported,
    certificate_host_mismatch,
    certificate_expired,
    certificate_not_trusted,
    validation_failure,
    tlsa_invalid,
    dnssec_invalid,
    dane_required,
    sts_policy_fetch_error,
    sts_policy_invalid,
    sts_webpki_invalid,
};
std::string_view to_string(TlsResult result);

/// What "_smtp._tls.DOMAIN" asks for.
struct TlsReportRecord {
    std::vector<std::string> mail;   ///< mailboxes
    std::vector<std::string> https;  ///< URLs
};
/// Errc::not_found: no record is meant for TLSRPT. Errc::invalid: two are, or the one cannot be read.
Result<TlsReportRecord> parse_tls_report_record(std::span<const std::string> texts);
std::string format_tls_report_record(std::string_view mailbox);

/// A report as it travels (RFC 8460 4.4).
struct TlsFailure {
    std::string result;  ///< result-type; unknown ones are kept
    std::string sending_ip;
    std::string mx_host;
    std::string receiving_ip;
    std::string reason;       ///< failure-reason-code
    std::string information;  ///< additional-information
    std::uint64_t sessions = 0;
};
struct TlsReportPolicy {
    std::string type;                  ///< policy-type; unknown ones are kept
    std::vector<std::string> strings;  ///< policy-string
    std::string domain;
    std::vector<std::string> mx_hosts;
    std::uint64_t successes = 0;
    std::uint64_t failures = 0;
    std::vector<TlsFailure> details;
};
struct TlsReport {
    std::string organization;
    std::string contact;
    std::string id;
    std::string start;  ///< RFC 3339
    std::string end;
    std::vector<TlsReportPolicy> policies;
};

}  // namespace posthouse::policy
