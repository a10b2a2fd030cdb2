#pragma once
/// storage/relay_clients: other servers and devices of the house that hand their mail in here: what they may send, and
/// how much of it. A client has a password, or addresses from which it is known without one, or both.
///
/// A password is made here and shown once: 160 random bits, of which the SHA-256 is kept (a slow hash would protect
/// nothing more).
/// Invariants  1. A client has at least one sender domain and one way of being known.
///             2. charge() counts and judges in the same write that takes the message: the limits hold whoever is
///                fast, and over restarts.
///             3. No address is trusted because of the network it lies in: only those that were listed are.
/// Errors: already_exists, not_found, invalid, limit (charge: with the sentence to show).
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::size_t kRelayClientsMax = 1000;
inline constexpr std::size_t kClientListMax = 100;  ///< addresses, and sender domains, of one client

struct RelayClient {
    RelayClientId id{};
    std::string name;                         ///< also its login
    std::string password_digest;              ///< SHA-256 in hexadecimal; "" where it has none
    std::vector<std::string> addresses;       ///< "192.0.2.7", "192.0.2.0/28"
    std::vector<std::string> sender_domains;  ///< lower case
    std::uint32_t minute_max = 0;             ///< recipients; 0: no limit
    std::uint32_t day_max = 0;                ///< recipients, UTC days; 0: no limit
    std::uint8_t mail_class = 1;              ///< 0 interactive 1 transactional 2 bulk
    bool disabled = false;
    Time created{};
    Time minute{};  ///< the minute that minute_used counts
    std::uint64_t minute_used = 0;
    std::int64_t day = 0;  ///< since 1970
    std::uint64_t day_used = 0;
    std::string distrust;  ///< why its addresses are not believed; "" where they are
    std::string stream;    ///< that its mail is of where it names none (storage/streams.h), or ""
};

/// What to set anew; the rest stays as it is.
struct RelayClientChange {
    std::optional<std::string> password_digest;
    std::optional<std::vector<std::string>> addresses;
    std::optional<std::vector<std::string>> sender_domains;
    std::optional<std::uint32_t> minute_max;
    std::optional<std::uint32_t> day_max;
    std::optional<std::uint8_t> mail_class;
    std::optional<std::string> stream;
};

class RelayClientView {
 public:
    explicit RelayClientView(const Snapshot& snapshot);
    explicit RelayClientView(Tx& tx);
    Result<std::vector<RelayClient>> list() const;  ///< by name
    Result<RelayClient> by_name(std::string_view name) const;
    Result<RelayClient> by_id(RelayClientId id) const;

 protected:
    Connection& db_;
};

class RelayClientTx final : public RelayClientView {
 public:
    explicit RelayClientTx(Tx& tx);
    Result<RelayClientId> add(const RelayClient& client);
    /// Errors: those of add(). What it has sent already counts under the new limits too.
    Result<> set(std::string_view name, const RelayClientChange& change);
    Result<> set_disabled(std::string_view name, bool disabled);
    Result<> remove(std::string_view name);
    /// Counts `recipients` of one message, or refuses it: Errc::limit for now, denied for good: the client is gone or
    /// disabled, or may not send so much on any day.
    Result<> charge(RelayClientId id, std::uint64_t recipients);
    /// Its addresses are not believed any more, and why; "" believes them again.
    Result<> set_distrust(std::string_view name, std::string_view why);

 private:
    Result<> check(const RelayClient& client) const;
    Result<> change(std::string_view name);
    void changed();
    Tx& tx_;
};

/// What is kept of a password.
std::string client_password_digest(std::string_view password);
/// Whether a message for `recipients` more would be too much now: the sentence to show, or nothing. A message for more
/// than a minute takes goes while anything of the minute is left, and uses up the minutes behind it: the rate holds.
std::optional<std::string> over_limit(const RelayClient& client, std::uint64_t recipients, Time now);
/// Whether it would be too much on any day: likewise.
std::optional<std::string> never_fits(const RelayClient& client, std::uint64_t recipients);
/// Of the minute's recipients, what is used up, with what large messages of earlier minutes took of it.
std::uint64_t used_this_minute(const RelayClient& client, Time now);

}  // namespace posthouse::storage
