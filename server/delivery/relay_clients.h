#pragma once
/// server/delivery/relay_clients: which relay client a peer is by its address alone, and whether that address may be
/// believed.
///
/// An address tells who somebody is only where nobody else can come from it. Behind a NAT or a container's bridge all
/// peers come from one private gateway: to list it would be to relay for the world. So
///   - the default gateway of this machine is never believed, whatever is listed;
///   - a private address from which more than kHelloNamesMax machines (by their EHLO names) come within a day is not
///     believed any more, and the client is marked until somebody has looked at it (client trust).
/// Invariants  1. Loopback and listed networks give nothing by themselves: only the list of a client does.
///             2. Names are counted for listed addresses only: strangers cannot fill the memory.
/// Threads: the loop's.   Limits: kHelloNamesMax names, kHelloAddressesMax addresses.
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/net/address.h"
#include "storage/relay_clients.h"

namespace posthouse::server {

inline constexpr std::size_t kHelloNamesMax = 8;
inline constexpr std::size_t kHelloAddressesMax = 1000;

/// The default gateways of this machine.
std::vector<net::IpAddress> default_gateways();

class RelayClientBook {
 public:
    explicit RelayClientBook(std::vector<net::IpAddress> gateways) : gateways_(std::move(gateways)) {}

    void set(std::vector<storage::RelayClient> clients) { clients_ = std::move(clients); }
    const std::vector<storage::RelayClient>& clients() const { return clients_; }
    const storage::RelayClient* by_name(std::string_view name) const;

    struct Answer {
        const storage::RelayClient* client = nullptr;  ///< null: a stranger
        std::string distrust;                          ///< why a listed address is not believed; "" else
        bool newly = false;                            ///< found out now: to be written down
    };
    /// `hello` is what the peer called itself.
    Answer find(const net::IpAddress& peer, std::string_view hello, Time now);

 private:
    struct Names {
        Time since{};
        std::set<std::string> names;
    };
    std::vector<net::IpAddress> gateways_;
    std::vector<storage::RelayClient> clients_;
    std::map<net::IpAddress, Names> names_;
};

/// Whether the client may write as an address of `domain`.
bool may_send_as(const storage::RelayClient& client, std::string_view domain);

}  // namespace posthouse::server
