#pragma once
/// admin/cli/return_paths: is the DNS ready for the reverse-path of what goes by a way? Where the way has a return-path
/// domain of its own, bounces must come here (MX) and SPF must name who sends; where the service behind it puts its own
/// name there (a domain below the sender's), the service asks for a record.
/// Threads: the caller's; asks the DNS and waits.
#include <string>
#include <vector>

#include "admin/cli/dns_facts.h"
#include "storage/routes.h"

namespace posthouse::admin {

struct ReturnPathFinding {
    std::string name;  ///< "pm-bounces.example.org CNAME"
    RecordStatus status = RecordStatus::unknown;
    std::string sentence;  ///< what to do, where it is not good
};

/// What the records are, before anything is asked. `sender_domain`: whose mail it is.
std::vector<DnsRecord> return_path_records(const storage::Way& way, const std::string& sender_domain,
                                           const std::string& hostname);
/// One finding a record, in their order; all are asked for at once, and waited for no longer than `budget`.
std::vector<ReturnPathFinding> check_return_paths(Lookup& lookup, const std::vector<DnsRecord>& wanted,
                                                  std::chrono::milliseconds budget);
/// "bounces.example.org", which comes from the way or from its service; "" where the sender's own domain stays.
std::string return_path_domain(const storage::Way& way, const std::string& sender_domain);

}  // namespace posthouse::admin
