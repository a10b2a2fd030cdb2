#include "storage/route_match.h"

#include <fmt/format.h>

#include <tuple>

#include "protocols/base/ascii.h"

namespace posthouse::storage {

namespace {

bool matches(std::string_view pattern, std::string_view domain) {
    if (pattern.empty() || pattern == "*") return true;
    if (pattern.starts_with("*.")) {
        return domain.size() > pattern.size() - 1 && ascii::ends_with_ci(domain, pattern.substr(1));
    }
    return ascii::equals_ci(pattern, domain);
}

std::string condition(const Route& route) {
    if (route.sender_domain.empty() && route.recipient_domain.empty()) return "it takes all mail";
    if (route.recipient_domain.empty()) return fmt::format("the sender is at {}", route.sender_domain);
    if (route.sender_domain.empty()) return fmt::format("the recipient is at {}", route.recipient_domain);
    return fmt::format("the sender is at {} and the recipient at {}", route.sender_domain, route.recipient_domain);
}

}  // namespace

std::string address_domain(std::string_view address) {
    const std::size_t at = address.rfind('@');
    return at == std::string_view::npos ? std::string() : ascii::to_lower(address.substr(at + 1));
}

const Route* match_route(std::span<const Route> routes, std::string_view sender_domain,
                         std::string_view recipient_domain) {
    const Route* best = nullptr;
    for (const Route& route : routes) {
        if (!matches(route.sender_domain, sender_domain) || !matches(route.recipient_domain, recipient_domain))
            continue;
        if (best == nullptr || std::tuple(route.priority, raw(route.id)) < std::tuple(best->priority, raw(best->id))) {
            best = &route;
        }
    }
    return best;
}

std::string explain_route(std::span<const Route> routes, std::string_view sender, std::string_view recipient) {
    const std::string domain = address_domain(recipient);
    const Route* const route = match_route(routes, address_domain(sender), domain);
    if (route == nullptr) {
        return fmt::format("No route matches, so mail to {} goes directly to the mail servers (MX) of {}.", recipient,
                           domain);
    }
    if (ascii::equals_ci(route->way, "direct")) {
        return fmt::format(
            "Route \"{}\" (priority {}) applies because {}: mail goes directly to the mail servers (MX) of {}.",
            route->name, route->priority, condition(*route), domain);
    }
    return fmt::format("Route \"{}\" (priority {}) applies because {}: mail is handed to {}.", route->name,
                       route->priority, condition(*route), route->way);
}

}  // namespace posthouse::storage
