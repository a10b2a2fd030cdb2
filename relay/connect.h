#pragma once
/// relay/connect: an open connection to a destination: hosts in their order, TLS as far as it is asked for.
///
/// By MX: every host and address once, in clear on a new connection where TLS broke. Addresses of this machine and of
/// private networks are no mail servers of others and are passed over (RelayOptions::allow_loopback lifts that).
/// A host that turns us away with 5yz is not the last word of its domain: the next is asked; the mail fails only where
/// all said 5yz. What one host of a provider says of our pace all of them would say: the others are not asked.
/// Hosts and addresses in quarantine (relay/host_health) come last; by way of a relay host its addresses likewise.
/// Limits: kDialsMax.   Threads: the loop's.
#include <memory>
#include <set>
#include <string>

#include "relay/core.h"
#include "relay/route.h"
#include "relay/site.h"

namespace posthouse::relay {

inline constexpr std::size_t kDialsMax = 8;

/// Where one message is to be handed over.
struct Destination {
    Target target;       ///< the relay host, or "by MX" with the address to come from
    DomainPlanPtr plan;  ///< by MX: the hosts, and the domain for which policies are looked up; else null
    storage::TlsWish wish = storage::TlsWish::policy;  ///< of the message
    std::optional<net::Endpoint> avoid;                ///< passed over: it has just failed this mail
    Destination() = default;
};

/// Where a connection leads.
struct Hop {
    std::string host;  ///< "mx.b.example"; "" where there is no name
    net::Endpoint at;
    std::vector<net::IpAddress> addresses;  ///< all of the host that we may dial
    Hop() = default;
};

/// A client, and whom it speaks with.
class Connection {
 public:
    Connection(Core& core, std::unique_ptr<Client> client, std::string remote, Hop hop, HostTls tls);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Client& client() { return *client_; }
    /// "mx.b.example [192.0.2.1]"
    const std::string& remote() const { return remote_; }
    const Hop& hop() const { return hop_; }
    /// Whether mail for `to` may go over this connection too.
    bool serves(const Destination& to) const;
    /// It is used for this policy domain. True the first time.
    bool begin_for(const std::string& domain) { return domains_.insert(domain).second; }

 private:
    Core& core_;
    std::unique_ptr<Client> client_;
    std::string remote_;
    Hop hop_;
    HostTls tls_;                    ///< what it had to meet when it was opened
    std::set<std::string> domains_;  ///< that it has been used for
};

struct Connected {
    std::unique_ptr<Connection> connection;  ///< null: `verdict` says why
    Verdict verdict;
    std::string remote;  ///< the last that was tried
    std::optional<storage::Refusal> turned_away;  ///< by a host before it, in its greeting, for good (T-Online's 554)
    Connected() = default;
};

/// Whatever the plan refuses is the verdict. `to` must outlive the call.
net::Task<Connected> connect(Core& core, const Destination& to, Dialogue& dialogue);

/// An open connection is used for another domain: for that domain's report it is a session, too, once, judged by that
/// domain's policy (RFC 8460 4.2, 4.3).
net::Task<void> count_reuse(Core& core, Connection& connection, Destination to);

/// Whether a host or an address that is not in quarantine is left beside `hop`.
bool has_other_hop(const Core& core, const Destination& to, const Hop& hop);
/// Quarantine for the address; for its host, too, where none of its addresses is any better.
void hop_failed(Core& core, const Hop& hop, HostTrouble trouble);
void hop_served(Core& core, const Hop& hop);
/// It spoke of our pace (HostHealth::spoke_of_pace).
void hop_spoke_of_pace(Core& core, const Hop& hop);

}  // namespace posthouse::relay
