#pragma once
/// relay/tls_explain: what a domain asks of TLS and why, for people: the same questions that delivery asks.
/// Threads: the loop's.
#include <string>
#include <vector>

#include "relay/service.h"

namespace posthouse::relay {

struct TlsExplanation {
    std::string dnssec;   ///< whether DANE can be had here at all
    std::string refusal;  ///< why there is no host to send to; "" where there is
    bool mx_secure = false;
    std::string sts;  ///< the MTA-STS policy in force, one sentence
    struct Host {
        std::string name;
        std::string policy;  ///< "dane", "mta-sts", "opportunistic", "unusable"
        std::string why;
        std::vector<std::string> records;  ///< TLSA
    };
    std::vector<Host> hosts;
    TlsExplanation() = default;
};

/// `deps` as for a Relay; nothing is sent, but a policy that is fetched is kept.
net::Task<TlsExplanation> explain_tls(RelayDeps deps, std::string domain);

}  // namespace posthouse::relay
