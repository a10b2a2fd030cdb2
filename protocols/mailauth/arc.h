#pragma once
/// protocols/mailauth/arc: the Authenticated Received Chain (RFC 8617): what those who passed a message on before us
/// said of it, checked, and our own word added when we pass it on.
///   in:  a message                                   -> ArcChain: none, pass or fail, and who sealed
///   out: a message, the verdict at its arrival, a key -> three fields to put on top
/// It leaves to others: whom to believe. A chain that passes only says who spoke.
/// A DNS that fails makes the chain fail (5.2.1), but is told apart (`undecided`), so that nothing is sealed for good.
/// Threads: verify asks a Resolver on its loop; the rest is pure.   Limits: kArcSetsMax sets (5.2).
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/dns/resolver.h"
#include "protocols/mailauth/dkim.h"

namespace posthouse::mailauth {

inline constexpr std::size_t kArcSetsMax = 50;

enum class ArcStatus { none, pass, fail };
std::string_view to_string(ArcStatus status);

/// One set of a chain that passed.
struct ArcSet {
    std::string sealer;       ///< d= of the seal
    std::string authserv_id;  ///< who wrote the results
    std::string dmarc;        ///< "pass", ...; "" where nothing is said of it
};

struct ArcChain {
    ArcStatus status = ArcStatus::none;
    std::string reason;        ///< of a fail: one sentence
    std::size_t highest = 0;   ///< instance of the newest set that was found
    bool closed = false;       ///< the newest seal says cv=fail: nothing may be added (5.1)
    bool undecided = false;    ///< status is fail since the DNS could not be asked: nothing should be added
    std::vector<ArcSet> sets;  ///< of a chain that passed: from the oldest on
};

class ReadMessage;
net::Task<ArcChain> verify_arc(dns::Resolver& resolver, const ReadMessage& message);
net::Task<ArcChain> verify_arc(dns::Resolver& resolver, std::string_view message);

/// Whether those in `trusted` (domains, their subdomains with them) answer for this chain from its end back to one who
/// saw DMARC pass.
bool is_vouched_for(const ArcChain& chain, const std::vector<std::string>& trusted);

struct ArcSealing {
    std::string authserv_id;
    std::string results;  ///< as in Authentication-Results, behind the authserv-id
    ArcStatus chain = ArcStatus::none;
    ArcSealing() = default;
};
/// ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results of the next set, to be put on top of the message; ""
/// where none may be added (the chain is closed, or has kArcSetsMax sets).
Result<std::string> seal_arc(const DkimSigner& signer, MessageSource message, const ArcSealing& sealing, Time now);

}  // namespace posthouse::mailauth
