#include "server/delivery/relay_clients.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "protocols/base/ascii.h"
#include "protocols/net/network.h"

namespace posthouse::server {

namespace {

constexpr std::chrono::hours kHelloSpan{24};

std::string text_of(const char* path) {
    std::ifstream in(path);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

}  // namespace

std::vector<net::IpAddress> default_gateways() {
    return net::parse_gateways(text_of("/proc/net/route"), text_of("/proc/net/ipv6_route"));
}

const storage::RelayClient* RelayClientBook::by_name(std::string_view name) const {
    const auto found = std::ranges::find_if(clients_, [&](const auto& c) { return ascii::equals_ci(c.name, name); });
    return found == clients_.end() ? nullptr : &*found;
}

RelayClientBook::Answer RelayClientBook::find(const net::IpAddress& peer, std::string_view hello, Time now) {
    Answer out;
    for (const storage::RelayClient& client : clients_) {
        const bool listed = std::ranges::any_of(
            client.addresses, [&](const std::string& network) { return net::network_holds(network, peer); });
        if (!listed || client.disabled) continue;
        out.client = &client;
        break;
    }
    if (out.client == nullptr) return out;
    if (std::ranges::find(gateways_, peer) != gateways_.end()) {
        out.distrust = fmt::format(
            "{} is the default gateway of this machine: behind a NAT or a container's bridge "
            "everybody comes from it. Let the client log in with a password instead",
            peer.to_string());
        // Of a listed network the gateway alone is left out; where it is the client, the client is not believed.
        const auto is_alone = [&](const std::string& listed) {
            const std::string_view length = std::string_view(listed).substr(std::min(listed.find('/'), listed.size()));
            return net::network_holds(listed, peer) && (length.empty() || length == "/32" || length == "/128");
        };
        const bool is_the_client = std::ranges::any_of(out.client->addresses, is_alone);
        out.newly = is_the_client && out.client->distrust != out.distrust;
        return out;
    }
    if (!out.client->distrust.empty()) {
        out.distrust = out.client->distrust;
        return out;
    }
    if (!peer.is_private()) return out;
    if (names_.size() >= kHelloAddressesMax && !names_.contains(peer)) names_.erase(names_.begin());
    Names& known = names_[peer];
    if (now - known.since >= kHelloSpan) {
        known.since = now;
        known.names.clear();
    }
    known.names.insert(ascii::to_lower(hello));
    if (known.names.size() <= kHelloNamesMax) return out;
    out.distrust = fmt::format(
        "{} machines of different names came from the private address {} within a day: it looks "
        "like a gateway (NAT), behind which anybody may be. Let the client log in with a password "
        "instead",
        known.names.size(), peer.to_string());
    out.newly = true;
    names_.erase(peer);
    return out;
}

bool may_send_as(const storage::RelayClient& client, std::string_view domain) {
    return std::ranges::any_of(client.sender_domains,
                               [&](const std::string& allowed) { return ascii::equals_ci(domain, allowed); });
}

}  // namespace posthouse::server
