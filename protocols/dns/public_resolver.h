#pragma once
/// protocols/dns/public_resolver: resolvers that serve the whole world. Block lists do not answer through them: they
/// say "blocked" (127.255.255.254), or nothing, which reads like "not listed" (standards: RFC 5782, the lists' terms).
/// Pure.
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace posthouse::dns {

/// Of servers as in the config ("8.8.8.8", "2620:fe::fe@53"), the first that is a public one: "Quad9 (9.9.9.9)".
std::optional<std::string> public_resolver(std::span<const std::string> servers);
/// What that means, and what to do: one sentence.
std::string lists_do_not_answer(std::string_view resolver);

}  // namespace posthouse::dns
