#include "protocols/net/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "protocols/base/ascii.h"

namespace posthouse::net {

namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Error bad_address(std::string_view text) {
    return Error(Errc::invalid, fmt::format("\"{}\" is not an IP address", text.substr(0, 64)));
}

bool has_prefix(const std::array<std::uint8_t, 16>& octets, std::uint8_t first, std::uint8_t second,
                std::uint8_t second_mask) {
    return octets[0] == first && (octets[1] & second_mask) == second;
}

}  // namespace

IpAddress IpAddress::v4(std::uint32_t host_order) {
    IpAddress out;
    for (unsigned i = 0; i < 4; ++i) out.octets_[i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    return out;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& octets) {
    IpAddress out;
    if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), octets.begin())) {
        std::copy(octets.begin() + 12, octets.end(), out.octets_.begin());
        return out;
    }
    out.family_ = Family::v6;
    out.octets_ = octets;
    return out;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
    if (text.empty() || text.size() >= INET6_ADDRSTRLEN) return bad_address(text);
    if (text.find('\0') != std::string_view::npos) return bad_address(text);
    const std::string terminated(text);
    std::array<std::uint8_t, 16> octets{};
    if (text.find(':') == std::string_view::npos) {
        // inet_pton takes four decimal numbers and nothing else: no octal, no short forms.
        if (inet_pton(AF_INET, terminated.c_str(), octets.data()) != 1) return bad_address(text);
        IpAddress out;
        out.octets_ = octets;
        return out;
    }
    if (inet_pton(AF_INET6, terminated.c_str(), octets.data()) != 1) return bad_address(text);
    return v6(octets);
}

std::string IpAddress::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(family_ == Family::v4 ? AF_INET : AF_INET6, octets_.data(), text.data(), text.size());
    return text.data();
}

std::string IpAddress::to_literal() const {
    return family_ == Family::v4 ? fmt::format("[{}]", to_string()) : fmt::format("[IPv6:{}]", to_string());
}

bool IpAddress::is_loopback() const {
    if (family_ == Family::v4) return octets_[0] == 127;
    return octets_[15] == 1 && std::all_of(octets_.begin(), octets_.begin() + 15, [](auto o) { return o == 0; });
}

bool IpAddress::is_private() const {
    if (family_ == Family::v6) {
        return (octets_[0] & 0xfe) == 0xfc ||          // fc00::/7, RFC 4193
               has_prefix(octets_, 0xfe, 0x80, 0xc0);  // fe80::/10, RFC 4291 2.5.6
    }
    return octets_[0] == 10 ||                     // 10.0.0.0/8, RFC 1918
           has_prefix(octets_, 172, 16, 0xf0) ||   // 172.16.0.0/12
           has_prefix(octets_, 192, 168, 0xff) ||  // 192.168.0.0/16
           has_prefix(octets_, 100, 64, 0xc0) ||   // 100.64.0.0/10, RFC 6598
           has_prefix(octets_, 169, 254, 0xff);    // 169.254.0.0/16, RFC 3927
}

bool IpAddress::is_unspecified() const {
    return std::all_of(octets_.begin(), octets_.end(), [](auto o) { return o == 0; });
}

bool IpAddress::is_public() const {
    if (is_loopback() || is_private() || is_unspecified()) return false;
    if (family_ == Family::v4) {
        return octets_[0] != 0 && octets_[0] < 224 &&  // 0.0.0.0/8; multicast, reserved, broadcast
               !(octets_[0] == 192 && octets_[1] == 0 && octets_[2] == 0) &&  // 192.0.0.0/24, RFC 6890
               !has_prefix(octets_, 198, 18, 0xfe);                           // 198.18.0.0/15, RFC 2544
    }
    const auto embedded = [&](unsigned at) {
        std::uint32_t host_order = 0;
        for (unsigned i = 0; i < 4; ++i) host_order = host_order << 8U | octets_[at + i];
        return v4(host_order);
    };
    constexpr std::array<std::uint8_t, 12> kNat64 = {0, 0x64, 0xff, 0x9b};  // 64:ff9b::/96, RFC 6052
    if (std::equal(kNat64.begin(), kNat64.end(), octets_.begin())) return embedded(12).is_public();
    if (has_prefix(octets_, 0x20, 0x02, 0xff)) return embedded(2).is_public();  // 2002::/16, RFC 3056
    const bool teredo = has_prefix(octets_, 0x20, 0x01, 0xff) && octets_[2] == 0 && octets_[3] == 0;
    return octets_[0] >= 0x20 && octets_[0] < 0x40 && !teredo;  // 2000::/3: nothing else is given out
}

IpAddress IpAddress::masked(unsigned bits) const {
    IpAddress out = *this;
    for (unsigned i = 0; i < out.octets_.size(); ++i) {
        const unsigned start = i * 8;
        const unsigned kept = bits <= start ? 0 : std::min(8U, bits - start);
        out.octets_[i] = static_cast<std::uint8_t>(out.octets_[i] & (0xff00U >> kept));
    }
    return out;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
    const auto bad = [&] {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is not an address with a port: write 192.0.2.1:25 or [2001:db8::1]:25",
                                 text.substr(0, 80)));
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad();
    std::string_view host = text.substr(0, colon);
    const auto port = ascii::parse_number(text.substr(colon + 1));
    if (!port || *port > 65535) return bad();
    const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
    if (bracketed) host = host.substr(1, host.size() - 2);
    const bool looks_v6 = host.find(':') != std::string_view::npos;
    if (looks_v6 != bracketed) return bad();
    const auto address = IpAddress::parse(host);
    if (!address) return bad();
    return Endpoint(*address, static_cast<std::uint16_t>(*port));
}

std::string Endpoint::to_string() const {
    const bool v4 = address.family() == IpAddress::Family::v4;
    return v4 ? fmt::format("{}:{}", address.to_string(), port) : fmt::format("[{}]:{}", address.to_string(), port);
}

}  // namespace posthouse::net
