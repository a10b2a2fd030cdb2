#pragma once
/// protocols/http: HTTPS as a client: one request, one answer, one connection (RFC 9110, RFC 9112).
///
///   head    the octets of heads, pure;   client   name -> address -> TLS -> request -> answer
/// Invariants  1. The certificate is checked for `host` (a context with Verify::required); nothing of the request
///                leaves before. Without TLS (Request::plain) only networks of `allowed_networks` are spoken to.
///             2. A redirect is an answer like any other: it is given back, never followed.
///             3. The whole exchange ends within `time_max`; no more than `body_octets_max` of a body are kept, and a
///                longer one is Errc::too_large, never a part.
///             4. Addresses that are not public are refused unless allowed: a name in somebody's DNS must not reach
///                into our house. The name is resolved once, and the address that was looked at is the one that is
///                dialled.
///             5. A body that ends with the connection is refused: cut short, it could not be told from a whole one.
/// Errors: not_found (no address), unreachable, refused, tls, timeout, closed, too_large, denied, invalid, dns_*.
/// Threads: the loop's.
#include <chrono>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "protocols/dns/resolver.h"
#include "protocols/http/head.h"
#include "protocols/net/dialer.h"
#include "protocols/net/tls.h"

namespace posthouse::http {

inline constexpr std::size_t kHeadOctetsMax = 16UL * 1024;
inline constexpr std::size_t kFieldsMax = 100;
inline constexpr std::size_t kAddressesMax = 4;  ///< tried in their order, each as long as there is time

/// All must outlive the exchange.
struct Deps {
    dns::Resolver* resolver = nullptr;
    net::Dialer* dialer = nullptr;
    net::TlsClientContext* tls = nullptr;       ///< Verify::required
    bool allow_private = false;                 ///< tests, and services of the own house
    std::vector<std::string> allowed_networks;  ///< that may be private: "192.168.1.0/24", "127.0.0.1"
    std::set<net::Stream*>* open = nullptr;     ///< streams under way, for an owner that must interrupt() them to stop
    Deps() = default;
};

struct Limits {
    std::size_t body_octets_max = 64UL * 1024;
    std::chrono::milliseconds time_max{60'000};
    bool wants_body = true;  ///< false: the status and the fields are all, a body is not read
    Limits() = default;
};

/// Any status is an answer; an Error says that there was none.
net::Task<Result<Response>> exchange(Deps deps, Request request, Limits limits);

}  // namespace posthouse::http
