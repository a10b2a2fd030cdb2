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
/// Null for all who are not in the table. A name counts only where the provider alone gives out such names: what a
/// customer of an access or hosting provider calls his machine says nothing.
const Provider* provider_of(std::string_view host);
/// Of a domain with these mail servers: only where all of them are one provider's. With a host of his own behind them
/// anybody could speak in the provider's name.
const Provider* provider_of_all(std::span<const std::string> hosts);
/// The site of a domain with these mail servers: "google", or their names in alphabetical order, each followed by a
/// blank.
std::string site_of(std::span<const std::string> hosts);

}  // namespace posthouse::smtp
