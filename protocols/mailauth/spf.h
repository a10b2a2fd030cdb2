#pragma once
/// protocols/mailauth/spf: may this address send for this domain? check_host() of RFC 7208.
/// Limits (RFC 7208 4.6.4): kSpfLookupsMax terms that ask, kSpfNamesMax names of one mx or ptr, kSpfVoidMax questions
/// without an answer; beyond is a permerror.   Threads: the resolver's loop.
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/dns/resolver.h"
#include "protocols/mailauth/spf_record.h"

namespace posthouse::mailauth {

inline constexpr unsigned kSpfLookupsMax = 10;
inline constexpr std::size_t kSpfNamesMax = 10;
inline constexpr unsigned kSpfVoidMax = 2;

struct SpfQuestion {
    net::IpAddress client;
    std::string helo;
    std::string mail_from;  ///< "bob@b.example"; "" is the null sender: then postmaster@helo is judged
    std::string receiver = "unknown";
    Time now{};
    SpfQuestion() = default;
};

struct SpfAnswer {
    SpfResult result = SpfResult::none;
    std::string domain;       ///< that was judged
    bool of_helo = false;     ///< the null sender: the HELO name was judged
    std::string reason;       ///< one sentence: the term that matched, or what went wrong
    std::string explanation;  ///< of a fail: what the domain itself says (exp=), "" where it says nothing
    unsigned lookups = 0;
    SpfAnswer() = default;
};

net::Task<SpfAnswer> check_spf(dns::Resolver& resolver, SpfQuestion question);

}  // namespace posthouse::mailauth
