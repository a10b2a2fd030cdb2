#include "relay/route.h"

#include <fmt/format.h>

#include "storage/route_match.h"

namespace posthouse::relay {

std::string Target::lane_key() const {
    const std::string from = source ? source->to_string() : std::string();
    if (is_mx()) return fmt::format("mx:{}:{}", from, ehlo_name);
    return fmt::format("host:{}:{}:{}:{}:{}", url.to_string(), ca_file, sealed_password, from, ehlo_name);
}

std::string Target::describe() const {
    return is_mx() ? "the mail servers of " + domain : fmt::format("{}:{}", url.host, url.port);
}

Result<Target> choose_target(std::span<const storage::Route> routes, std::string_view reverse_path,
                             std::string_view recipient_domain) {
    Target out;
    const storage::Route* const route =
        storage::match_route(routes, storage::address_domain(reverse_path), recipient_domain);
    if (route != nullptr) {
        TRY(out.url, smtp::parse_relay_url(route->way));
        out.route = route->name;
    }
    if (route == nullptr || out.url.direct) {
        out.domain = recipient_domain;
        return out;
    }
    out.sealed_password = route->sealed_password;
    out.ca_file = route->ca_file;
    return out;
}

}  // namespace posthouse::relay
