#pragma once
/// storage/credentials: what an account can log in with besides its password's hash: passwords of single programs, and
/// the keys by which SCRAM proves a password.
///
/// Invariants  1. Kept of a program's secret is its SHA-256 and SCRAM keys. It is 130 random bits: a slow
///                hash would protect nothing more.
///             2. All SCRAM keys of an account have one salt, which follows from its address: any of its passwords can
///                prove itself, and an address without an account has a salt just as steady.
///             3. Keys never outlive the password they were made from.
///             4. The time of the last use is kept to the hour: at most one write an hour and program.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.  Limits: kAppPasswordsMax an account.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "protocols/crypto/scram_keys.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

enum class AppPasswordId : std::int64_t {};

inline constexpr std::size_t kAppPasswordsMax = 100;
inline constexpr std::size_t kAppPasswordNameMax = 64;  ///< octets

struct AppPassword {
    AppPasswordId id{};
    AccountId account{};
    std::string name;
    Time created{};
    std::optional<Time> used;  ///< the hour of the last use
};

/// One that is to be added; the only place where the secret is seen.
struct NewAppPassword {
    std::string secret;  ///< 26 lower-case letters and digits
    crypto::ScramKeys keys;
};
/// A fresh one. `salt` as scram_salt() gives it for the account's address. Some ten milliseconds.
NewAppPassword make_app_password(std::string salt);

/// Keys, and whose: nothing for the account's own password.
struct ProvableKeys {
    crypto::ScramKeys keys;
    std::optional<AppPasswordId> program;
};

class CredentialView {
 public:
    explicit CredentialView(const Snapshot& snapshot);
    Result<std::vector<AppPassword>> app_passwords(AccountId account) const;  ///< by name
    /// The one that `secret` is, if it is one of this account's.
    Result<std::optional<AppPassword>> find_secret(AccountId account, std::string_view secret) const;
    Result<bool> has_app_password(AppPasswordId id) const;
    /// Of the account's password first, then of its programs.
    Result<std::vector<ProvableKeys>> scram_keys(AccountId account) const;
    /// Whether an account that may log in has a password without keys: SCRAM would lock its owner out.
    Result<bool> any_without_keys() const;

 protected:
    explicit CredentialView(Connection& db) : db_(db) {}
    Connection& db_;
};

class CredentialTx final : public CredentialView {
 public:
    explicit CredentialTx(Tx& tx);
    /// Errc::invalid (name), already_exists, limit, not_found (account).
    Result<AppPasswordId> add(AccountId account, std::string_view name, const NewAppPassword& made);
    /// Errc::not_found.
    Result<> revoke(AccountId account, std::string_view name);
    /// Notes the hour of `now`; one that is gone by now is passed over.
    Result<> note_use(AppPasswordId id, Time now);
    /// Keys of the account's present password: its hash is `password_hash`, else nothing is changed.
    Result<> set_scram_keys(AccountId account, std::string_view password_hash, const crypto::ScramKeys& keys);

 private:
    Tx& tx_;
};

/// The salt of an address, whether or not it is an account's. `sealing_key` as Store gives it.
std::string scram_salt(const std::string& sealing_key, std::string_view address);
/// Whether a use at `now` is still to be noted.
bool use_is_news(const AppPassword& password, Time now);

}  // namespace posthouse::storage
