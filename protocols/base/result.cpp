#include "protocols/base/result.h"

#include <cstdio>
#include <cstdlib>

namespace posthouse {

std::string_view to_string(Errc code) {
    switch (code) {
        case Errc::invalid: return "invalid";
        case Errc::not_found: return "not_found";
        case Errc::already_exists: return "already_exists";
        case Errc::too_large: return "too_large";
        case Errc::limit: return "limit";
        case Errc::denied: return "denied";
        case Errc::unauthenticated: return "unauthenticated";
        case Errc::over_quota: return "over_quota";
        case Errc::no_space: return "no_space";
        case Errc::io: return "io";
        case Errc::corrupt: return "corrupt";
        case Errc::timeout: return "timeout";
        case Errc::closed: return "closed";
        case Errc::cancelled: return "cancelled";
        case Errc::refused: return "refused";
        case Errc::unreachable: return "unreachable";
        case Errc::tls: return "tls";
        case Errc::dns_temporary: return "dns_temporary";
        case Errc::dns_bogus: return "dns_bogus";
        case Errc::conflict: return "conflict";
        case Errc::unsupported: return "unsupported";
        case Errc::unavailable: return "unavailable";
        case Errc::internal: return "internal";
    }
    return "unknown";
}

void assertion_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "posthouse: broken invariant: %s at %s:%d\n", condition, file, line);
    std::abort();
}

}  // namespace posthouse
