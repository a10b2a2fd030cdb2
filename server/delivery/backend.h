#pragma once
/// server/delivery/backend: what SMTP sessions ask for, answered from the directory, the authenticator and the store.
/// One commit takes a message: copies for local accounts and the queue rows for all others (storage::Tx::deliver).
/// Threads: one backend per loop; every call on the loop's thread.
#include <memory>
#include <string>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "server/auth/authenticator.h"
#include "server/delivery/directory.h"
#include "server/smtp/backend.h"
#include "storage/store.h"

namespace posthouse::server {

/// How long a message may wait in the queue (RFC 5321 4.5.4.1: at least 4 to 5 days).
inline constexpr std::chrono::hours kQueueLifetime{5 * 24};
/// A larger message is parsed on the pool, not on the loop.
inline constexpr std::uint64_t kParseHereOctetsMax = 256 * 1024;

/// `pool` reads the store and parses large messages. All references outlive the backend.
std::unique_ptr<smtp::Backend> make_backend(storage::Store& store, net::Loop& loop, net::ThreadPool& pool,
                                            Authenticator& authenticator, Directory& directory, std::string hostname,
                                            const Clock& clock, Metrics& metrics);

}  // namespace posthouse::server
