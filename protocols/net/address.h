#pragma once
/// protocols/net/address: IP addresses and endpoints as values, without sockets. Pure.
#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::net {

/// An IPv4 or IPv6 address. IPv4-mapped IPv6 addresses are turned into IPv4 when parsed.
class IpAddress {
 public:
    enum class Family { v4, v6 };

    IpAddress() = default;  ///< 0.0.0.0
    static IpAddress v4(std::uint32_t host_order);
    static IpAddress v6(const std::array<std::uint8_t, 16>& octets);
    /// "192.0.2.1" or "2001:db8::1"; anything else (zones, brackets, octal) is Errc::invalid.
    static Result<IpAddress> parse(std::string_view text);

    Family family() const { return family_; }
    /// 4 or 16 octets in network order; the rest is zero.
    const std::array<std::uint8_t, 16>& octets() const { return octets_; }
    std::string to_string() const;
    /// "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 4.1.3).
    std::string to_literal() const;
    bool is_loopback() const;
    /// RFC 1918, RFC 6598 (shared), RFC 4193 (unique local) and link-local.
    bool is_private() const;
    bool is_unspecified() const;
    /// One that a stranger's name may lead us to: of the public internet, and not one of the forms in which an address
    /// of our own house can be written (loopback, private, link-local, metadata services, NAT64, 6to4, multicast, ...).
    /// The networks for documentation count as public.
    bool is_public() const;
    /// The same address with all but the first `bits` cleared: /32 and /64 for rate limits.
    IpAddress masked(unsigned bits) const;
    auto operator<=>(const IpAddress&) const = default;

 private:
    Family family_ = Family::v4;
    std::array<std::uint8_t, 16> octets_{};
};

struct Endpoint {
    IpAddress address;
    std::uint16_t port = 0;

    Endpoint() = default;
    Endpoint(IpAddress at, std::uint16_t on) : address(at), port(on) {}
    /// "192.0.2.1:25", "[2001:db8::1]:25".
    static Result<Endpoint> parse(std::string_view text);
    std::string to_string() const;
    auto operator<=>(const Endpoint&) const = default;
};

}  // namespace posthouse::net
