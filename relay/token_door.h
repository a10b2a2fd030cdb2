#pragma once
/// relay/token_door: forms to token endpoints over HTTPS (protocols/http): the certificate is checked, redirects are
/// not followed, private addresses are refused unless RelayOptions::allow_loopback says otherwise.
/// Threads: the loop's.   Limits: kTokenAnswerOctetsMax, kTokenFetchMax.
#include <chrono>
#include <memory>
#include <set>

#include "relay/service.h"

namespace posthouse::relay {

/// Shorter than the patience of a stop: a server that ends does not wait for an endpoint.
inline constexpr std::chrono::milliseconds kTokenFetchMax{9'000};

/// What `deps` points to must outlive it. `open`: streams under way, for an owner that must interrupt them.
std::unique_ptr<TokenDoor> make_token_door(const RelayDeps& deps, std::set<net::Stream*>& open);

}  // namespace posthouse::relay
