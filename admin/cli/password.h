#pragma once
/// admin/cli/password: what the store keeps of a new password: its slow hash, and the keys by which SCRAM proves it.
#include <string>

#include "protocols/base/result.h"
#include "protocols/crypto/scram_keys.h"
#include "storage/store.h"

namespace posthouse::admin {

struct NewPassword {
    std::string hash;
    crypto::ScramKeys keys;
};

/// Of the account with this address (lower case). Some hundred milliseconds. Errc::invalid for one that cannot be typed
/// everywhere.
Result<NewPassword> make_password(const storage::Store& store, const std::string& address, const std::string& password);
/// Both, for an account that is there.
Result<> set_password(storage::Tx& tx, storage::AccountId account, const NewPassword& password);

}  // namespace posthouse::admin
