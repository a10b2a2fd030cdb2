#pragma once
/// relay/tls_reports: the daily reports to other domains on how TLS with them went (RFC 8460).
///
///   a day that is over, a domain  ->  JSON, gzip  ->  https POST, else a mail through the queue, signed like any other
/// A domain without a TLSRPT record gets none, and its counts go. A report by mail and the removal of what it tells of
/// are one commit: none is sent twice. It goes out whatever policies say (RFC 8460 3), and it is not counted itself.
/// Threads: build_* and format_* are pure; send on the loop.   Limits: two days, then counts are dropped unsent.
#include <span>
#include <string>
#include <vector>

#include "protocols/policy/tls_report.h"
#include "relay/core.h"
#include "storage/transport.h"

namespace posthouse::relay {

/// Who reports.
struct TlsReporter {
    std::string organization;
    std::string domain;   ///< TLS-Report-Submitter, and the domain of `contact`
    std::string contact;  ///< "postmaster@home.example"
};

/// `rows` are all of one day and one domain.
policy::TlsReport build_tls_report(std::span<const storage::TlsSessions> rows, const TlsReporter& reporter);
/// RFC 8460 4.4, as JSON.
std::string format_tls_report(const policy::TlsReport& report);
std::string gzip(const std::string& octets);
/// The whole message (RFC 8460 5.3), CRLF line ends.
std::string format_tls_report_mail(const policy::TlsReport& report, std::string_view domain, std::int64_t day,
                                   const TlsReporter& reporter, std::string_view to, Time now, Random& random);

/// Everything that is due now.
net::Task<void> send_due_tls_reports(Core& core);

}  // namespace posthouse::relay
