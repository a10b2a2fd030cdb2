#pragma once
/// storage/tokens: who may use the HTTP API. A token is for the whole server or confined to one account.
///
/// Invariants  1. The secret leaves once, from create(); kept is its SHA-256. It is 256 random bits: a slow hash would
///                protect nothing more.
///             2. find_secret() compares with every token in constant time, found or not.
///             3. A token that has expired, or whose account is gone or disabled, opens nothing.
///             4. The time of the last use is kept to the hour: at most one write an hour and token.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.  Limits: kTokensMax, kTokenNameMax.
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

enum class ApiTokenId : std::int64_t {};

inline constexpr std::size_t kTokensMax = 1000;
inline constexpr std::size_t kTokenNameMax = 64;
/// What every secret begins with, so that one that leaked is recognised for what it is.
inline constexpr std::string_view kTokenPrefix = "ph_";

struct ApiToken {
    ApiTokenId id{};
    std::string name;
    std::optional<AccountId> account;  ///< nothing: the whole server
    std::string address;               ///< of the account; "" for the whole server
    Time created{};
    std::optional<Time> expires;
    std::optional<Time> used;  ///< the hour of the last use
};

/// What create() gives back; the only place where the secret is seen.
struct NewApiToken {
    ApiTokenId id{};
    std::string secret;  ///< kTokenPrefix and 64 hexadecimal digits
};

class TokenView {
 public:
    explicit TokenView(const Snapshot& snapshot);
    Result<std::vector<ApiToken>> list() const;  ///< by name
    /// The token that `secret` belongs to, if it opens anything at `now`.
    Result<std::optional<ApiToken>> find_secret(std::string_view secret, Time now) const;

 protected:
    explicit TokenView(Connection& db) : db_(db) {}
    Connection& db_;
};

class TokenTx final : public TokenView {
 public:
    explicit TokenTx(Tx& tx);
    /// Errc::invalid (name, expiry in the past), already_exists, limit.
    Result<NewApiToken> create(std::string_view name, std::optional<AccountId> account, std::optional<Time> expires);
    /// Errc::not_found.
    Result<> revoke(std::string_view name);
    /// Notes the hour of `now`; a token that is gone by now is passed over.
    Result<> note_use(ApiTokenId id, Time now);

 private:
    Tx& tx_;
};

/// Whether a use at `now` is still to be noted.
bool use_is_news(const ApiToken& token, Time now);

}  // namespace posthouse::storage
