#pragma once
/// admin/reports: what others report about our mail. Here: TLS reports (RFC 8460), as mail, gzip or JSON.
/// Input is a stranger's: Invariants  1. No more than kReportOctetsMax are inflated, and no more than kRatioMax times
///                                       what came: a bomb is Errc::too_large, early.
///                                    2. JSON deeper than kJsonDepthMax, or with more than kItemsMax policies or
///                                       failures, is refused whole.
/// Threads: pure functions; keep_tls_report() writes.
#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/policy/tls_report.h"
#include "storage/store.h"

namespace posthouse::admin {

inline constexpr std::size_t kReportOctetsMax = 10UL * 1024 * 1024;  ///< RFC 8460 5.2 names it as a usual limit
inline constexpr std::size_t kRatioMax = 200;                        ///< counts beyond kRatioFreeOctets
inline constexpr std::size_t kRatioFreeOctets = 256UL * 1024;
inline constexpr int kJsonDepthMax = 16;
inline constexpr std::size_t kItemsMax = 10'000;

struct ReadTlsReport {
    policy::TlsReport report;
    std::string json;  ///< what it was read from
};

/// A mail with the report in it, or the report itself, compressed or not. Errc::invalid, too_large, not_found (a mail
/// without a report).
Result<ReadTlsReport> read_tls_report(std::string_view octets);
Result<policy::TlsReport> parse_tls_report(const std::string& json);
/// RFC 1952. Errc::invalid, too_large.
Result<std::string> inflate_gzip(std::string_view octets);
/// False where the report is in the store already.
Result<bool> keep_tls_report(storage::Store& store, const ReadTlsReport& read);
/// Both: what a mail has is kept. Errors as read_tls_report, and of the store.
Result<> take_tls_report(storage::Store& store, const std::string& mail);

}  // namespace posthouse::admin
