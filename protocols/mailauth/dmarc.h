#pragma once
/// protocols/mailauth/dmarc: does a domain that the reader sees vouch for the message? RFC 9989 (the section numbers
/// here), which replaces RFC 7489: policy and organizational domain come from a walk up the DNS tree, not from a list.
/// Limits: kDmarcQueriesMax questions a walk (4.10).   Threads: the resolver's loop; the rest is pure.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/dns/resolver.h"

namespace posthouse::mailauth {

inline constexpr std::size_t kDmarcQueriesMax = 8;

enum class DmarcPolicy { none, quarantine, reject };
std::string_view to_string(DmarcPolicy policy);

/// One record (4.7). `valid_policy` false: no usable p=, sp= or np=, and no rua= that would make it "none" (4.10.1).
struct DmarcRecord {
    DmarcPolicy policy = DmarcPolicy::none;  ///< p=
    std::optional<DmarcPolicy> subdomain;    ///< sp=
    std::optional<DmarcPolicy> nonexistent;  ///< np=
    bool strict_dkim = false;
    bool strict_spf = false;
    bool testing = false;  ///< t=y
    char psd = 'u';
    std::string rua;
    bool valid_policy = true;
};
/// Nothing where the text is no DMARC record: v=DMARC1 must come first, in this case of letters.
std::optional<DmarcRecord> parse_dmarc_record(std::string_view text);

/// What the DNS says about one domain.
struct DmarcWalk {
    std::string org_domain;                                    ///< 4.10.2; the domain itself where nothing was found
    std::vector<std::pair<std::string, DmarcRecord>> records;  ///< longest name first
    const DmarcRecord* at(std::string_view name) const;
};
/// Errc::dns_temporary and dns_bogus as the resolver says them. `domain` in A-labels.
net::Task<Result<DmarcWalk>> walk_dmarc(dns::Resolver& resolver, std::string domain);

/// The policy that applies to mail of `domain` (4.10.1).
struct DmarcFound {
    std::string domain;         ///< the author's, A-labels
    std::string policy_domain;  ///< where the record stands
    std::string org_domain;
    DmarcRecord record;
    DmarcPolicy policy = DmarcPolicy::none;       ///< p, sp or np as it fits
    DmarcPolicy disposition = DmarcPolicy::none;  ///< one step milder with t=y
};
/// Nothing where DMARC does not apply: no record, or none that is usable.
net::Task<Result<std::optional<DmarcFound>>> find_dmarc(dns::Resolver& resolver, std::string domain);

enum class DmarcResult { none, pass, fail, temperror };
std::string_view to_string(DmarcResult result);

struct DmarcQuestion {
    std::string author_domain;              ///< A-labels; "" where the From field has none or several (5.3.1)
    std::string spf_domain;                 ///< that passed SPF; "" where none did
    std::vector<std::string> dkim_domains;  ///< d= of the signatures that verified
    std::vector<std::string> unsure;        ///< domains whose SPF or DKIM could not be looked at
    DmarcQuestion() = default;
};
struct DmarcAnswer {
    DmarcResult result = DmarcResult::none;
    std::optional<DmarcFound> found;
    bool spf_aligned = false;
    bool dkim_aligned = false;
    std::string reason;  ///< one sentence
    DmarcAnswer() = default;
};
net::Task<DmarcAnswer> check_dmarc(dns::Resolver& resolver, DmarcQuestion question);
/// The same where find_dmarc() was asked before: who has a budget asks for the policy before he follows what the sender
/// alone chose.
net::Task<DmarcAnswer> align_dmarc(dns::Resolver& resolver, Result<std::optional<DmarcFound>> found,
                                   DmarcQuestion question);

/// The one domain of a From field, A-labels in lower case; "" where there is none or more than one (5.3.1).
std::string author_domain(std::string_view from_value);
/// ... of the message: "" also where there are several From fields.
std::string author_domain_of(std::string_view header_block);

}  // namespace posthouse::mailauth
