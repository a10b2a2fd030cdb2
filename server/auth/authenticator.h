#pragma once
/// server/auth: who is it? One function for submission and IMAP; identity comes from nowhere else.
///
/// A password is checked against its argon2id hash on the crypto pool; an unknown login costs one decoy hash and gets
/// the same answer. A verified password may be remembered in memory as a keyed hash (dropped when the account changes).
/// Limits (per address /32 or /64 and per account; reference figures of the project's limits table): failures a minute
/// and a day per network, failures an hour per account from networks that have not logged in before.
/// Errors: unauthenticated (wrong, unknown or disabled: one text), limit (too many failures: try later), unavailable.
/// Threads: the loop's.
#include <memory>
#include <string>
#include <string_view>

#include "protocols/base/metrics.h"
#include "protocols/base/result.h"
#include "protocols/net/address.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "storage/store.h"

namespace posthouse::server {

struct Identity {
    storage::AccountId account{};
    std::string address;  ///< the account's own address, as stored
};

class Authenticator {
 public:
    virtual ~Authenticator() = default;
    /// `service` is "submission" or "imap", for the log.
    virtual net::Task<Result<Identity>> authenticate(std::string login, std::string password, net::IpAddress peer,
                                                     std::string service) = 0;
    /// The catalog changed: forget remembered passwords whose account changed.
    virtual void refresh() = 0;
};

std::unique_ptr<Authenticator> make_authenticator(storage::Store& store, net::Loop& loop, net::ThreadPool& crypto_pool,
                                                  const Clock& clock, Metrics& metrics);

}  // namespace posthouse::server
