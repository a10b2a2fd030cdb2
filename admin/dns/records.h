#pragma once
/// admin/dns: which DNS records a domain needs, as text to paste, and whether they are there.
///   MTA-STS RFC 8461 3.1, TLSRPT RFC 8460 3,
///   MX RFC 5321 5, SPF RFC 7208, DKIM RFC 6376 3.6 and RFC 8463, DMARC RFC 9989, SRV RFC 6186 and RFC 8314 5.1
/// Threads: pure functions; Lookup (lookup.h) asks.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::admin {

enum class Need { required, advised, elsewhere };  ///< elsewhere: set by whoever owns the address, not in this zone

struct DnsRecord {
    std::string name;   ///< "example.org", without the final dot
    std::string type;   ///< "MX", "TXT", ...
    std::string value;  ///< TXT: the whole text, not yet split
    Need need = Need::required;
    std::string why;  ///< one short sentence
};

/// What is known of a domain and of the way its mail goes out.
struct DomainFacts {
    std::string domain;
    std::string hostname;
    struct Key {
        std::string selector;
        std::string record;            ///< TXT value
        std::string state = "active";  ///< "pending": takes over once it is there; "retiring": may go after a while
    };
    std::vector<Key> keys;
    struct Relay {
        std::string host;
        std::string spf_term = {};  ///< what its service asks for, where the way says which it is; "": by the host
    };
    std::vector<Relay> relays;  ///< of all ways that its mail may take; none: it goes out directly
    bool is_hosted = true;      ///< its mail comes here
    std::string sts_id;         ///< edition of the MTA-STS policy that we serve for it; "" where there is none
};

/// In the order they should be set.
std::vector<DnsRecord> expected_records(const DomainFacts& facts);
/// One line of a zone file; a TXT longer than 255 octets becomes several strings (RFC 1035 3.3.14, RFC 7208 3.3).
std::string zone_line(const DnsRecord& record);
/// The SPF term that a well-known relay asks for, e.g. "include:mailgun.org"; "" where it needs none or is unknown.
std::string relay_spf_term(std::string_view relay_host);
/// The host of a relay URL: "smtp://user@host:587" gives "host".
std::string relay_host_of(std::string_view way);

enum class RecordStatus { good, missing, different, unknown };
std::string_view to_string(RecordStatus status);

struct RecordCheck {
    DnsRecord wanted;
    RecordStatus status = RecordStatus::unknown;
    std::vector<std::string> found;
    std::string sentence;  ///< what to do; "" where it is good
};

/// Compares what the DNS says with what is wanted: an MX among others will do, SPF must be there once, a DKIM key must
/// be the same key, DMARC may be stricter than ours.
RecordCheck judge_record(const DnsRecord& wanted, const std::vector<std::string>& found);

}  // namespace posthouse::admin
