#pragma once
/// relay/host_health: which mail servers are asked last for a while, so that one bad MX of several costs its site
/// neither time nor window. Kept by host name and by endpoint: where a name has several addresses, the one is
/// quarantined that is bad.
///
///   unreached   no connection, no greeting                             5 min
///   held_up     it keeps us waiting until we give up, or leaves us in doubt whether a message was taken
///                                                                      7 min, so that the next try goes elsewhere
///   broke_off   421 without a word why, or a drop in the middle, where another of the site carried it through   1 min
///
/// Twice as long for each further time, 1 h at most, until it has served again. Whoever is in quarantine comes behind
/// all others and is never left out. What a server says about our pace it says for its whole site: that is an event
/// of the lane (relay/controller), not of the host. Only where it says nothing else, kPaceMax times, another is asked
/// first. A host that has not the TLS which the policy of a domain demands is asked last for that domain alone: anybody
/// may name another's host, and demand of it what he likes.
/// Pure.   Limits: kHostsMax, the one that was free longest goes first.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "relay/mx.h"

namespace posthouse::relay {

enum class HostTrouble : std::uint8_t { unreached, held_up, broke_off };

class HostHealth {
 public:
    static constexpr std::size_t kHostsMax = 10'000;
    static constexpr Milliseconds kFirst{5 * 60'000};
    static constexpr Milliseconds kFirstHeldUp{7 * 60'000};
    static constexpr Milliseconds kFirstBrokeOff{60'000};
    static constexpr unsigned kPaceMax = 3;
    static constexpr Milliseconds kMax{60 * 60'000};

    /// `place` is a host name or an endpoint ("192.0.2.1:25").
    void failed(std::string_view place, HostTrouble trouble, Time now);
    /// It spoke of our pace. True where it has said nothing else for kPaceMax times.
    bool spoke_of_pace(std::string_view place);
    /// It answered in a transaction, whatever it said.
    void served(std::string_view place);
    bool is_quarantined(std::string_view place, Time now) const;
    /// The place of a host for mail of one domain.
    static std::string for_domain(std::string_view host, std::string_view domain);
    /// Those in quarantine behind all others; nobody is left out, for there may be nobody else.
    void order(std::vector<MxHost>& hosts, std::string_view domain, Time now) const;
    void order(std::vector<net::IpAddress>& addresses, std::uint16_t port, Time now) const;

 private:
    struct Bad {
        Time until{};
        Milliseconds span{0};
        unsigned pace = 0;
    };
    Bad& record(std::string_view place);

    std::map<std::string, Bad, std::less<>> places_;
};

}  // namespace posthouse::relay
