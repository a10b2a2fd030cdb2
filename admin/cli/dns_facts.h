#pragma once
/// admin/cli/dns_facts: what the store and the configuration say about a domain's DNS, and how people see it.
#include <memory>
#include <string>
#include <vector>

#include "admin/cli/cli.h"
#include "admin/dns/lookup.h"
#include "admin/dns/records.h"

namespace posthouse::admin {

/// Errc::not_found where the domain is not ours.
Result<DomainFacts> load_domain_facts(storage::Store& store, const Settings& settings, const std::string& domain);
/// What the DNS says of this key's record; unknown where it does not say.
RecordStatus look_up_key(Lookup& lookup, const storage::DkimKey& key);
Result<std::unique_ptr<Lookup>> make_lookup(const Settings& settings);
/// Each record as a line to paste, under the reason for it.
std::string records_text(const std::vector<DnsRecord>& records);

}  // namespace posthouse::admin
