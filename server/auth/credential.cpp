#include "server/auth/credential.h"

#include <cstring>

#include "protocols/crypto/crypto.h"

namespace posthouse::server {

Credential password_credential(std::string_view password_hash) {
    const crypto::Sha256Digest digest = crypto::sha256(password_hash);
    Credential out;
    std::memcpy(&out.mark, digest.data(), sizeof out.mark);
    return out;
}

Credential app_password_credential(storage::AppPasswordId id) {
    Credential out;
    out.kind = Credential::Kind::app_password;
    out.mark = static_cast<std::uint64_t>(id);
    return out;
}

Result<bool> is_good(const storage::Snapshot& snapshot, storage::AccountId account, const Credential& credential) {
    const auto found = snapshot.catalog().account(account);
    if (!found && found.error().code == Errc::not_found) return false;
    if (!found) return Error(found.error());
    if (found->disabled) return false;
    switch (credential.kind) {
        case Credential::Kind::password: return password_credential(found->password_hash) == credential;
        case Credential::Kind::app_password:
            return storage::CredentialView(snapshot).has_app_password(
                static_cast<storage::AppPasswordId>(credential.mark));
        case Credential::Kind::token: return true;
    }
    return false;
}

}  // namespace posthouse::server
