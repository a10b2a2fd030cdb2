#include "server/auth/claim.h"

#include <algorithm>
#include <span>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "protocols/sasl/sasl.h"
#include "storage/settings.h"

namespace posthouse::server {

namespace {

constexpr std::size_t kKeyOctets = 32;

struct Known {
    std::optional<storage::Account> account;  // none: unknown or disabled
    std::optional<storage::AppPassword> program;
    bool has_keys = false;
};

// Nothing: unknown or disabled.
Result<std::optional<storage::Account>> find_account(const storage::Snapshot& snapshot, const LoginName& login) {
    auto account = snapshot.catalog().account(login.name);
    if (!account && account.error().code == Errc::not_found && login.typed != login.name) {
        account = snapshot.catalog().account(login.typed);
    }
    if (!account && account.error().code != Errc::not_found) return Error(account.error());
    if (!account || account->disabled) return std::optional<storage::Account>();
    return std::optional(*std::move(account));
}

// As which it may have been hashed, what it is hashed as now first.
std::vector<std::string> spellings(const std::string& password) {
    std::vector<std::string> out;
    if (auto prepared = sasl::prepare_password(password)) out.push_back(*std::move(prepared));
    if (out.empty() || out.front() != password) out.push_back(password);
    return out;
}

Result<Known> look_up(storage::Store& store, const LoginName& login, std::span<const std::string> passwords) {
    return store.read([&](const storage::Snapshot& snapshot) -> Result<Known> {
        Known out;
        TRY(auto account, find_account(snapshot, login));
        if (!account) return out;
        const storage::CredentialView credentials(snapshot);
        for (const std::string& password : passwords) {
            if (out.program) break;
            TRY(out.program, credentials.find_secret(account->id, password));
        }
        TRY(const auto keys, credentials.scram_keys(account->id));
        out.has_keys = !keys.empty() && !keys.front().program;
        out.account = *std::move(account);
        return out;
    });
}

Identity identity_of(const storage::Account& account, const Credential& credential) {
    Identity out;
    out.account = account.id;
    out.address = account.address;
    out.credential = credential;
    return out;
}

}  // namespace

LoginName::LoginName(const std::string& as_typed)
    : name(sasl::prepare_login(as_typed)), typed(ascii::to_lower(as_typed)) {}

Result<ClaimCheck> check_password(storage::Store& store, const LoginName& login, const std::string& password,
                                  Time now) {
    ClaimCheck out;
    const std::vector<std::string> passwords = spellings(password);
    TRY(const Known known, look_up(store, login, passwords));
    if (known.program) {
        out.right = true;
        out.identity = identity_of(*known.account, app_password_credential(known.program->id));
        if (storage::use_is_news(*known.program, now)) out.note_use = known.program->id;
        return out;
    }
    // Unknown and disabled logins cost the same hash as known ones: the clock tells nobody who lives here.
    const bool usable = known.account && !known.account->password_hash.empty();
    const std::string& hash = usable ? known.account->password_hash : crypto::decoy_password_hash();
    // How many are tried follows from what was typed alone.
    const bool matches =
        std::ranges::any_of(passwords, [&](const std::string& one) { return crypto::verify_password(hash, one); });
    out.right = usable && matches;
    if (!out.right) return out;
    out.identity = identity_of(*known.account, password_credential(hash));
    if (known.has_keys) return out;
    // One that cannot be prepared cannot be proved: it goes on without keys.
    if (const auto prepared = sasl::prepare_password(password)) {
        const std::string salt = storage::scram_salt(store.sealing_key(), known.account->address);
        out.new_keys = crypto::derive_scram_keys(*prepared, salt, crypto::kScramIterations);
        out.password_hash = hash;
    }
    return out;
}

Result<ProofOffer> find_keys(storage::Store& store, const LoginName& login) {
    ProofOffer out;
    out.login = login.name;
    TRY_VOID(store.read([&](const storage::Snapshot& snapshot) -> Result<> {
        TRY(const auto account, find_account(snapshot, login));
        if (!account) return {};
        TRY(auto found, storage::CredentialView(snapshot).scram_keys(account->id));
        for (storage::ProvableKeys& one : found) {
            const Credential credential =
                one.program ? app_password_credential(*one.program) : password_credential(account->password_hash);
            out.identities.push_back(identity_of(*account, credential));
            out.keys.push_back(std::move(one.keys));
        }
        return {};
    }));
    if (!out.keys.empty()) return out;
    // RFC 5802 9: an address without an account looks like one, and the same at every try.
    crypto::ScramKeys decoy;
    decoy.salt = storage::scram_salt(store.sealing_key(), login.name);
    decoy.iterations = crypto::kScramIterations;
    decoy.stored_key = crypto::random_octets(kKeyOctets);
    decoy.server_key = crypto::random_octets(kKeyOctets);
    out.keys.push_back(std::move(decoy));
    return out;
}

Result<Identity> find_token_account(storage::Store& store, const std::string& address) {
    const std::string login = ascii::to_lower(address);
    const auto account =
        store.read([&](const storage::Snapshot& snapshot) { return snapshot.catalog().account(login); });
    if (!account && account.error().code != Errc::not_found) return Error(account.error());
    if (!account || account->disabled) {
        return Error(Errc::unauthenticated, "the token stands for " + address + ", which may not log in here");
    }
    Credential credential;
    credential.kind = Credential::Kind::token;
    return identity_of(*account, credential);
}

Result<Offers> read_offers(storage::Store& store) {
    return store.read([](const storage::Snapshot& snapshot) -> Result<Offers> {
        Offers out;
        TRY(const std::string scram, storage::setting_text(snapshot.catalog(), "auth.scram"));
        out.scram = scram == "on";
        if (scram == "auto") {
            // A client that sees SCRAM takes it, and does not come back with the password where it fails.
            TRY(const bool missing, storage::CredentialView(snapshot).any_without_keys());
            out.scram = !missing;
        }
        TRY(const std::string issuer, storage::setting_text(snapshot.catalog(), "oidc.issuer"));
        TRY(const std::string introspection, storage::setting_text(snapshot.catalog(), "oidc.introspection_url"));
        out.tokens = !issuer.empty() || !introspection.empty();
        return out;
    });
}

}  // namespace posthouse::server
