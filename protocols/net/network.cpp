#include "protocols/net/network.h"

#include <algorithm>
#include <array>
#include <optional>

#include "protocols/base/ascii.h"

namespace posthouse::net {

namespace {

std::vector<std::string_view> columns(std::string_view line) {
    std::vector<std::string_view> out;
    while (!line.empty()) {
        const std::size_t start = line.find_first_not_of(" \t");
        if (start == std::string_view::npos) break;
        const std::size_t end = std::min(line.find_first_of(" \t", start), line.size());
        out.push_back(line.substr(start, end - start));
        line.remove_prefix(end);
    }
    return out;
}

template <class Line>
void each_line(std::string_view text, Line line) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        line(columns(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

std::optional<std::uint32_t> hex32(std::string_view text) {
    if (text.size() != 8 || !std::ranges::all_of(text, ascii::is_hex)) return std::nullopt;
    std::uint32_t out = 0;
    for (const char c : text) out = out * 16 + static_cast<std::uint32_t>(ascii::hex_value(c));
    return out;
}

}  // namespace

bool network_holds(std::string_view network, const IpAddress& address) {
    const std::size_t slash = network.find('/');
    const auto base = IpAddress::parse(network.substr(0, slash));
    if (!base || base->family() != address.family()) return false;
    if (slash == std::string_view::npos) return *base == address;
    const auto bits = ascii::parse_number(network.substr(slash + 1));
    const unsigned most = base->family() == IpAddress::Family::v4 ? 32 : 128;
    if (!bits || *bits > most) return false;
    return base->masked(static_cast<unsigned>(*bits)) == address.masked(static_cast<unsigned>(*bits));
}

// "eth0 00000000 010011AC 0003 ...": destination and gateway in hexadecimal, octets of the machine's order.
std::vector<IpAddress> parse_gateways(std::string_view route, std::string_view ipv6_route) {
    std::vector<IpAddress> out;
    each_line(route, [&](const std::vector<std::string_view>& cells) {
        if (cells.size() < 8) return;
        const auto destination = hex32(cells[1]);
        const auto gateway = hex32(cells[2]);
        const auto mask = hex32(cells[7]);
        if (!destination || !gateway || !mask || *destination != 0 || *mask != 0 || *gateway == 0) return;
        out.push_back(IpAddress::v4(__builtin_bswap32(*gateway)));
    });
    // "destination length source length gateway ..."
    each_line(ipv6_route, [&](const std::vector<std::string_view>& cells) {
        if (cells.size() < 5 || cells[1] != "00" || cells[4].size() != 32) return;
        if (!std::ranges::all_of(cells[4], ascii::is_hex)) return;
        std::array<std::uint8_t, 16> octets{};
        for (std::size_t i = 0; i < octets.size(); ++i) {
            octets[i] = static_cast<std::uint8_t>(ascii::hex_value(cells[4][i * 2]) * 16 +
                                                  ascii::hex_value(cells[4][i * 2 + 1]));
        }
        const auto gateway = IpAddress::v6(octets);
        if (!gateway.is_unspecified()) out.push_back(gateway);
    });
    return out;
}

}  // namespace posthouse::net
