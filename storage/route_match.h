#pragma once
/// storage/route_match: which route a message takes. Pure, so that the relay and the command line (`route explain`)
/// give the same answer.
///
/// Every condition of a route must hold; the first by (priority, id) counts; none means direct delivery. A pattern is
/// "" (any), an address, a domain, or "*.example.org" (every name below it). The null sender matches "" only.
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "storage/routes.h"

namespace posthouse::storage {

struct MailFacts {
    std::string_view sender;  ///< "" is the null one
    std::string_view recipient;
    std::string_view provider;  ///< site of the recipient's domain where it is a known provider; "" else
    std::uint64_t size_octets = 0;
    std::uint8_t mail_class = 0;
    std::string_view client;  ///< relay client that handed it in
    MailFacts() = default;
    MailFacts(std::string_view from, std::string_view to) : sender(from), recipient(to) {}
};

/// The matching route, or null for direct delivery; points into `routes`, which lie in the order they are tried.
const Route* match_route(std::span<const Route> routes, const MailFacts& mail);
/// Whether the answer can hang on the provider, so that the recipient's mail servers must be known first.
bool asks_for_provider(std::span<const Route> routes, const MailFacts& mail);
/// "the sender is at example.org and the message is over 1000000 octets"; "it takes all mail".
std::string conditions_of(const Route& route);

/// "example.org" of "Alice@Example.org" in lower case; "" where there is none.
std::string address_domain(std::string_view address);

}  // namespace posthouse::storage
