#pragma once
/// relay/mx: which hosts take the mail of a domain, in which order (RFC 5321 5.1, RFC 7505).
///
///   null MX              5.1.10 at once              RFC 7505 4.2
///   no such domain       5.1.2
///   MX records           by preference, in random order within one; ourselves and all behind us are dropped, and
///                        where nobody is left the mail loops: 5.4.6
///   no MX, A or AAAA     the domain itself           RFC 5321 5.1
///   DNS does not answer  deferred, 4.4.3
/// Threads: the loop's.   Limits: kMxHostsMax hosts.
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocols/base/random.h"
#include "protocols/dns/resolver.h"
#include "relay/client.h"

namespace posthouse::relay {

inline constexpr std::size_t kMxHostsMax = 20;

struct MxHost {
    std::string name;                       ///< "" for an address literal
    std::vector<net::IpAddress> addresses;  ///< known already; else the name is looked up when its turn comes
    std::uint16_t preference = 0;
};

struct MxPlan {
    std::vector<MxHost> hosts;  ///< in the order to try; never empty
    std::string site;     ///< the same for all domains that share their hosts
    bool secure = false;  ///< the list of hosts was validated by DNSSEC
};

using MxAnswer = std::variant<MxPlan, Verdict>;

/// `domain` may be an address literal (RFC 5321 4.1.3). `own_name` is what we call ourselves.
net::Task<MxAnswer> plan_mx(dns::Resolver& resolver, std::string domain, std::string own_name, Random& random);

/// The same hosts for one more connection: those of one preference in a new random order.
std::vector<MxHost> dial_order(const MxPlan& plan, Random& random);

/// The pure part: order and exclusions. `records` is not empty.
MxAnswer order_mx(std::vector<dns::MxRecord> records, std::string_view domain, std::string_view own_name,
                  Random& random);

}  // namespace posthouse::relay
