#include "admin/cli/password.h"

#include "protocols/crypto/crypto.h"
#include "protocols/sasl/sasl.h"
#include "storage/credentials.h"

namespace posthouse::admin {

Result<NewPassword> make_password(const storage::Store& store, const std::string& address,
                                  const std::string& password) {
    NewPassword out;
    const auto prepared = sasl::prepare_password(password);
    if (!prepared) return Error(Errc::invalid, prepared.error().context + "; choose another one");
    TRY(out.hash, crypto::hash_password(*prepared));
    out.keys = crypto::derive_scram_keys(*prepared, storage::scram_salt(store.sealing_key(), address),
                                         crypto::kScramIterations);
    return out;
}

Result<> set_password(storage::Tx& tx, storage::AccountId account, const NewPassword& password) {
    TRY_VOID(tx.catalog().set_password_hash(account, password.hash));
    return storage::CredentialTx(tx).set_scram_keys(account, password.hash, password.keys);
}

}  // namespace posthouse::admin
