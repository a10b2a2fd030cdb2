#pragma once
/// protocols/dns/rdata: the octets of one record's data, read into values (RFC 1035 3.3, RFC 3596 2.2).
///   in:  RDATA in wire form, names not compressed (libunbound has undone that)  -> values
/// Invariants  1. Every length is checked before the octets behind it are read, and the input is used up exactly.
///             2. A name that comes out is fit for comparison and logs: lower case, printable, without the final dot.
/// Errors: Errc::invalid throughout; callers skip such a record.   Threads: pure functions.
#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/dns/resolver.h"
#include "protocols/net/address.h"

namespace posthouse::dns {

inline constexpr std::size_t kNameOctetsMax = 253;  ///< as text, without the final dot (RFC 1035 2.3.4)
inline constexpr std::size_t kLabelOctetsMax = 63;  ///< RFC 1035 2.3.4
inline constexpr std::size_t kWireNameOctetsMax = 255;

/// One name that fills `rdata` (CNAME, PTR). The root is "". A label with a dot, a backslash, a blank or anything
/// not printable is refused: no mail host may be called so, and its text form could be taken for another name.
Result<std::string> parse_name(std::string_view rdata);
Result<MxRecord> parse_mx(std::string_view rdata);
Result<net::IpAddress> parse_a(std::string_view rdata);
Result<net::IpAddress> parse_aaaa(std::string_view rdata);
/// The character-strings, joined without anything between (RFC 7208 3.3, RFC 6376 3.6.2.2).
Result<std::string> parse_txt(std::string_view rdata);
/// Three octets and what is matched (RFC 6698 2.1); an empty association is refused.
Result<TlsaRecord> parse_tlsa(std::string_view rdata);

/// Lower case, one final dot taken off, lengths and octets checked as above. The root is refused: nobody mails there.
Result<std::string> normalise_name(std::string_view name);
/// "1.2.0.192.in-addr.arpa" (RFC 1035 3.5) or the nibbles under ip6.arpa (RFC 3596 2.5).
std::string reverse_name(const net::IpAddress& address);

}  // namespace posthouse::dns
