#include "protocols/dns/public_resolver.h"

#include <fmt/format.h>

#include "protocols/net/address.h"

namespace posthouse::dns {

namespace {

struct Row {
    std::string_view address;  ///< in its shortest form
    std::string_view name;
};
constexpr Row kPublic[] = {
    {"8.8.8.8", "Google Public DNS"},
    {"8.8.4.4", "Google Public DNS"},
    {"2001:4860:4860::8888", "Google Public DNS"},
    {"2001:4860:4860::8844", "Google Public DNS"},
    {"2001:4860:4860::64", "Google Public DNS"},
    {"2001:4860:4860::6464", "Google Public DNS"},
    {"1.1.1.1", "Cloudflare"},
    {"1.0.0.1", "Cloudflare"},
    {"1.1.1.2", "Cloudflare"},
    {"1.0.0.2", "Cloudflare"},
    {"1.1.1.3", "Cloudflare"},
    {"1.0.0.3", "Cloudflare"},
    {"2606:4700:4700::1111", "Cloudflare"},
    {"2606:4700:4700::1001", "Cloudflare"},
    {"2606:4700:4700::1112", "Cloudflare"},
    {"2606:4700:4700::1002", "Cloudflare"},
    {"2606:4700:4700::1113", "Cloudflare"},
    {"2606:4700:4700::1003", "Cloudflare"},
    {"9.9.9.9", "Quad9"},
    {"149.112.112.112", "Quad9"},
    {"9.9.9.10", "Quad9"},
    {"149.112.112.10", "Quad9"},
    {"9.9.9.11", "Quad9"},
    {"149.112.112.11", "Quad9"},
    {"2620:fe::fe", "Quad9"},
    {"2620:fe::9", "Quad9"},
    {"2620:fe::10", "Quad9"},
    {"2620:fe::fe:10", "Quad9"},
    {"2620:fe::11", "Quad9"},
    {"2620:fe::fe:11", "Quad9"},
    {"208.67.222.222", "OpenDNS"},
    {"208.67.220.220", "OpenDNS"},
    {"2620:119:35::35", "OpenDNS"},
    {"2620:119:53::53", "OpenDNS"},
    {"94.140.14.14", "AdGuard DNS"},
    {"94.140.15.15", "AdGuard DNS"},
    {"2a10:50c0::ad1:ff", "AdGuard DNS"},
    {"2a10:50c0::ad2:ff", "AdGuard DNS"},
};

}  // namespace

std::optional<std::string> public_resolver(std::span<const std::string> servers) {
    for (const std::string& server : servers) {
        const std::string_view text = std::string_view(server).substr(0, server.find('@'));
        const auto address = net::IpAddress::parse(text);
        if (!address) continue;
        for (const Row& row : kPublic) {
            const auto known = net::IpAddress::parse(row.address);
            if (known && *known == *address) return fmt::format("{} ({})", row.name, text);
        }
    }
    return std::nullopt;
}

std::string lists_do_not_answer(std::string_view resolver) {
    return fmt::format(
        "block lists do not answer through the public resolver {}: what they say through it is not believed; leave "
        "[dns] servers out, so that this server asks the DNS itself, or name a resolver of your own",
        resolver);
}

}  // namespace posthouse::dns
