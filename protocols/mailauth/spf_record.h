#pragma once
/// protocols/mailauth/spf_record: one SPF record as values, and its macros (RFC 7208 4.6, 5, 6, 7).
/// The whole record is read before any of it is followed: an error anywhere is a permerror (RFC 7208 4.6).
/// Threads: pure functions.   Limits: kSpfRecordOctetsMax, kSpfTermsMax.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/address.h"

namespace posthouse::mailauth {

inline constexpr std::size_t kSpfRecordOctetsMax = 8192;
inline constexpr std::size_t kSpfTermsMax = 512;

enum class SpfResult { none, neutral, pass, fail, softfail, temperror, permerror };
std::string_view to_string(SpfResult result);

struct SpfTerm {
    enum class Kind { all, include, a, mx, ptr, ip4, ip6, exists };
    Kind kind = Kind::all;
    SpfResult result = SpfResult::pass;  ///< what a match means: the qualifier
    std::string domain;                  ///< domain-spec with its macros; "" is the current domain
    net::IpAddress network;              ///< ip4 and ip6
    unsigned bits4 = 32;
    unsigned bits6 = 128;
    std::string text;  ///< as written
};

struct SpfRecord {
    std::vector<SpfTerm> terms;
    std::optional<std::string> redirect;
    std::optional<std::string> explanation;  ///< exp=
};

/// "v=spf1" and a blank, or the end (RFC 7208 4.5).
bool is_spf_record(std::string_view text);
/// Errc::invalid with the reason of the permerror; what is no SPF record at all is one of them.
Result<SpfRecord> parse_spf_record(std::string_view text);

/// What the letters stand for (RFC 7208 7.2).
struct SpfMacroValues {
    std::string sender_local = "postmaster";
    std::string sender_domain;
    std::string domain;  ///< <domain>: where the record was found
    std::string helo;
    std::string receiver;
    net::IpAddress client;
    std::string client_name = "unknown";  ///< %{p}
    std::int64_t now_seconds = 0;         ///< %{t}
};

enum class SpfMacroUse { domain, explanation };
/// Whether `text` keeps the grammar; a domain-spec must end in a top label or a macro (RFC 7208 7.1).
bool is_spf_macro_string(std::string_view text, SpfMacroUse use);
/// `text` must have kept the grammar. A domain over 253 octets loses labels on the left (RFC 7208 7.3).
std::string expand_spf_macros(std::string_view text, const SpfMacroValues& values, SpfMacroUse use);
/// Whether %{p} stands in it: the one macro that costs questions.
bool wants_client_name(std::string_view text);

}  // namespace posthouse::mailauth
