#pragma once
/// storage/route_match: which line of the route table a message takes. Pure, so that the relay and the command line
/// (`route explain`) give the same answer.
///
/// First match by (priority, id) wins; "" matches any domain, "*.example.org" every name below example.org; no match
/// means direct delivery. The null sender has the domain "", which only "" matches.
#include <span>
#include <string>
#include <string_view>

#include "storage/catalog.h"

namespace posthouse::storage {

/// The matching route, or null for direct delivery; points into `routes`. Domains in any case.
const Route* match_route(std::span<const Route> routes, std::string_view sender_domain,
                         std::string_view recipient_domain);

/// What will happen to a message from one address to another, and because of which line: one plain sentence.
std::string explain_route(std::span<const Route> routes, std::string_view sender, std::string_view recipient);

/// "example.org" of "Alice@Example.org" in lower case; "" where there is none.
std::string address_domain(std::string_view address);

}  // namespace posthouse::storage
