#include "protocols/dns/rdata.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::dns {

namespace {

constexpr std::size_t kV4Octets = 4;
constexpr std::size_t kV6Octets = 16;

bool is_name_octet(char c) { return ascii::is_printable(c) && c != ' ' && c != '.' && c != '\\'; }

std::uint8_t octet(char c) { return static_cast<std::uint8_t>(c); }

// <domain-name> is a series of labels, each a length and that many octets, ended by a length of zero. RFC 1035 3.1
Result<std::string> take_name(Cursor& in) {
    const std::size_t start = in.position();
    std::string name;
    for (;;) {
        if (in.at_end()) return Error(Errc::invalid, "a DNS name ends within its labels");
        const std::size_t length = octet(in.take_octets(1).front());
        if (length == 0) return name;
        // The two top bits mark a compression pointer (RFC 1035 4.1.4): it points out of what we were given.
        if (length > kLabelOctetsMax) return Error(Errc::invalid, "a DNS label is longer than 63 octets");
        const std::string_view label = in.take_octets(length);
        if (label.size() != length) return Error(Errc::invalid, "a DNS label is cut off");
        if (in.position() - start >= kWireNameOctetsMax) return Error(Errc::invalid, "a DNS name is too long");
        if (!std::ranges::all_of(label, is_name_octet)) {
            return Error(Errc::invalid, "a DNS name has an octet that no host name has");
        }
        if (!name.empty()) name += '.';
        name += ascii::to_lower(label);
    }
}

}  // namespace

Result<std::string> parse_name(std::string_view rdata) {
    Cursor in(rdata);
    TRY(std::string name, take_name(in));
    if (!in.at_end()) return Error(Errc::invalid, "octets follow a DNS name");
    return name;
}

// MX: PREFERENCE, 16 bit; EXCHANGE, a <domain-name>. RFC 1035 3.3.9
Result<MxRecord> parse_mx(std::string_view rdata) {
    Cursor in(rdata);
    const std::string_view preference = in.take_octets(2);
    if (preference.size() != 2) return Error(Errc::invalid, "an MX record is cut off");
    TRY(std::string host, parse_name(in.rest()));
    MxRecord record;
    record.preference = static_cast<std::uint16_t>(octet(preference[0]) << 8U | octet(preference[1]));
    record.host = std::move(host);
    return record;
}

Result<net::IpAddress> parse_a(std::string_view rdata) {
    if (rdata.size() != kV4Octets) return Error(Errc::invalid, "an A record is not four octets long");
    std::uint32_t value = 0;
    for (const char c : rdata) value = value << 8U | octet(c);
    return net::IpAddress::v4(value);
}

Result<net::IpAddress> parse_aaaa(std::string_view rdata) {
    if (rdata.size() != kV6Octets) return Error(Errc::invalid, "an AAAA record is not sixteen octets long");
    std::array<std::uint8_t, kV6Octets> octets{};
    std::ranges::transform(rdata, octets.begin(), octet);
    return net::IpAddress::v6(octets);
}

// TXT-DATA: one or more <character-string>s, each a length and that many octets. RFC 1035 3.3.14
Result<std::string> parse_txt(std::string_view rdata) {
    Cursor in(rdata);
    if (in.at_end()) return Error(Errc::invalid, "a TXT record has no string");
    std::string text;
    while (!in.at_end()) {
        const std::size_t length = octet(in.take_octets(1).front());
        const std::string_view part = in.take_octets(length);
        if (part.size() != length) return Error(Errc::invalid, "a string of a TXT record is cut off");
        text += part;
    }
    return text;
}

Result<TlsaRecord> parse_tlsa(std::string_view rdata) {
    constexpr std::size_t kFixedOctets = 3;
    if (rdata.size() <= kFixedOctets) return Error(Errc::invalid, "a TLSA record is cut off");
    TlsaRecord record;
    record.usage = octet(rdata[0]);
    record.selector = octet(rdata[1]);
    record.matching = octet(rdata[2]);
    record.data = rdata.substr(kFixedOctets);
    return record;
}

Result<std::string> normalise_name(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty()) return Error(Errc::invalid, "the DNS name is empty");
    if (name.size() > kNameOctetsMax) return Error(Errc::invalid, "the DNS name is longer than 253 octets");
    std::size_t label_octets = 0;
    for (const char c : name) {
        if (c == '.') {
            if (label_octets == 0) return Error(Errc::invalid, "the DNS name has an empty label");
            label_octets = 0;
            continue;
        }
        if (!is_name_octet(c)) return Error(Errc::invalid, "the DNS name has an octet that no host name has");
        if (++label_octets > kLabelOctetsMax) return Error(Errc::invalid, "the DNS name has a label over 63 octets");
    }
    if (label_octets == 0) return Error(Errc::invalid, "the DNS name has an empty label");
    return ascii::to_lower(name);
}

std::string reverse_name(const net::IpAddress& address) {
    const auto& octets = address.octets();
    if (address.family() == net::IpAddress::Family::v4) {
        return fmt::format("{}.{}.{}.{}.in-addr.arpa", octets[3], octets[2], octets[1], octets[0]);
    }
    std::string name;
    for (std::size_t i = kV6Octets; i-- > 0;) {
        name += fmt::format("{:x}.{:x}.", octets[i] & 0xfU, octets[i] >> 4U);
    }
    return name + "ip6.arpa";
}

}  // namespace posthouse::dns
