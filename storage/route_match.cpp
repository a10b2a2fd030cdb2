#include "storage/route_match.h"

#include <fmt/format.h>

#include <vector>

#include "protocols/base/ascii.h"

namespace posthouse::storage {

namespace {

bool matches(std::string_view pattern, std::string_view address) {
    if (pattern.empty() || pattern == "*") return true;
    if (pattern.contains('@')) return ascii::equals_ci(pattern, address);
    const std::string domain = address_domain(address);
    if (pattern.starts_with("*.")) {
        return domain.size() > pattern.size() - 1 && ascii::ends_with_ci(domain, pattern.substr(1));
    }
    return ascii::equals_ci(pattern, domain);
}

// All but the provider, which costs a question to the DNS.
bool fits_otherwise(const Route& route, const MailFacts& mail) {
    if (!matches(route.sender, mail.sender) || !matches(route.recipient, mail.recipient)) return false;
    if (mail.size_octets < route.octets_min) return false;
    if (route.octets_max != 0 && mail.size_octets > route.octets_max) return false;
    if (route.mail_class && *route.mail_class != mail.mail_class) return false;
    return route.client.empty() || ascii::equals_ci(route.client, mail.client);
}

// "microsoft" means "microsoft-365" as well.
bool fits_provider(const Route& route, std::string_view provider) {
    const std::string_view word = route.provider;
    if (word.empty() || ascii::equals_ci(word, provider)) return true;
    return provider.size() > word.size() && ascii::starts_with_ci(provider, word) && provider[word.size()] == '-';
}

std::string whom(std::string_view who, std::string_view pattern) {
    return fmt::format("the {} is {}{}", who, pattern.contains('@') ? "" : "at ", pattern);
}

}  // namespace

std::string address_domain(std::string_view address) {
    const std::size_t at = address.rfind('@');
    return at == std::string_view::npos ? std::string() : ascii::to_lower(address.substr(at + 1));
}

const Route* match_route(std::span<const Route> routes, const MailFacts& mail) {
    for (const Route& route : routes) {
        if (fits_provider(route, mail.provider) && fits_otherwise(route, mail)) return &route;
    }
    return nullptr;
}

bool asks_for_provider(std::span<const Route> routes, const MailFacts& mail) {
    for (const Route& route : routes) {
        if (!fits_otherwise(route, mail)) continue;
        return !route.provider.empty();
    }
    return false;
}

std::string conditions_of(const Route& route) {
    std::vector<std::string> all;
    if (!route.sender.empty()) all.push_back(whom("sender", route.sender));
    if (!route.recipient.empty()) all.push_back(whom("recipient", route.recipient));
    if (!route.provider.empty()) all.push_back(fmt::format("the recipient's mail is kept by {}", route.provider));
    if (route.octets_min != 0) all.push_back(fmt::format("the message has {} octets or more", route.octets_min));
    if (route.octets_max != 0) all.push_back(fmt::format("the message has at most {} octets", route.octets_max));
    if (route.mail_class) all.push_back(fmt::format("it is {} mail", class_name(*route.mail_class)));
    if (!route.client.empty()) all.push_back(fmt::format("the relay client {} handed it in", route.client));
    if (all.empty()) return "it takes all mail";
    std::string out;
    for (const std::string& one : all) out += (out.empty() ? "" : " and ") + one;
    return out;
}

}  // namespace posthouse::storage
