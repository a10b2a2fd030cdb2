#pragma once
/// protocols/smtp/provider: who keeps the mail of a domain, by the names of its mail servers. Domains of one provider
/// are one site: they share its patience, its limits and its opinion of our address.
/// Pure.
#include <span>
#include <string>
#include <string_view>

namespace posthouse::smtp {

struct Provider {
    std::string_view name;
    /// Any host takes mail for every domain. Where not, a connection serves only domains that name its host.
    bool any_host = false;
};
/// Null for all who are not in the table.
const Provider* provider_of(std::string_view host);
/// The site of a domain with these mail servers, the best first: "google", or their names in alphabetical order, each
/// followed by a blank. Who is best says whose domain it is: a stray backup elsewhere makes no site of its own.
std::string site_of(std::span<const std::string> hosts);

}  // namespace posthouse::smtp
