#pragma once
/// protocols/policy/dane: which TLSA records mean something for mail (RFC 7672, RFC 6698, RFC 7671). The matching of a
/// certificate itself is OpenSSL's (protocols/net/tls).
///   usages 2 and 3 count; 0 and 1 need public authorities that a mail client does not share: unusable (RFC 7672 3.1.3)
/// Threads: pure functions.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/net/tls_peer.h"

namespace posthouse::policy {

inline constexpr std::size_t kTlsaMax = 64;  ///< more than that is no rollover any more: the first count

/// "_25._tcp.mx.example"                                                    RFC 6698 3
std::string tlsa_name(std::string_view base, unsigned port);
bool is_usable(const net::TlsaRecord& record);
std::vector<net::TlsaRecord> usable(std::span<const net::TlsaRecord> records);
/// "3 1 1 0a1b..."                                                          RFC 6698 2.2
std::string format_tlsa(const net::TlsaRecord& record);

}  // namespace posthouse::policy
