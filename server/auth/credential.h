#pragma once
/// server/auth/credential: what somebody logged in with, told without the secret, so that a session can be ended when
/// that is no longer good: the password was changed, the app password revoked, the account disabled or removed.
/// Threads: values; is_good() as the snapshot.
#include <compare>
#include <cstdint>
#include <string_view>

#include "protocols/base/result.h"
#include "storage/credentials.h"
#include "storage/store.h"

namespace posthouse::server {

struct Credential {
    enum class Kind : std::uint8_t { password, app_password, token };
    Kind kind = Kind::password;
    std::uint64_t mark = 0;  ///< of the password's hash; the app password's id; nothing of a token

    auto operator<=>(const Credential&) const = default;
};

/// Of an account's own password, whose hash is given.
Credential password_credential(std::string_view password_hash);
Credential app_password_credential(storage::AppPasswordId id);

Result<bool> is_good(const storage::Snapshot& snapshot, storage::AccountId account, const Credential& credential);

}  // namespace posthouse::server
