#include "storage/credentials.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kSecretLetters = 26;  // of 32 kinds: 130 bits
constexpr std::size_t kSaltOctets = 16;

std::string_view text_of(const crypto::Sha256Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// No letters that are taken for others when they are typed off a screen.
std::string make_secret() {
    constexpr std::string_view kLetters = "abcdefghijkmnpqrstuvwxyz23456789";
    static_assert(kLetters.size() == 32);
    std::string out = crypto::random_octets(kSecretLetters);
    for (char& c : out) c = kLetters[static_cast<unsigned char>(c) % kLetters.size()];
    return out;
}

#define APP_PASSWORD_COLUMNS "id, account, name, created_ms, used_ms"

AppPassword password_of(const Query& row) {
    AppPassword out;
    out.id = row.id<AppPasswordId>(0);
    out.account = row.id<AccountId>(1);
    out.name = row.text(2);
    out.created = row.time(3);
    if (!row.is_null(4)) out.used = row.time(4);
    return out;
}

Time hour_of(Time now) { return std::chrono::floor<std::chrono::hours>(now); }

// It stands in lists and in the log.
bool is_name(std::string_view name) {
    return !name.empty() && name.size() <= kAppPasswordNameMax && ascii::is_valid_utf8(name) &&
           std::ranges::none_of(name, ascii::is_control) && name.front() != ' ' && name.back() != ' ';
}

}  // namespace

CredentialView::CredentialView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::vector<AppPassword>> CredentialView::app_passwords(AccountId account) const {
    Query q = db_.query("SELECT " APP_PASSWORD_COLUMNS " FROM app_passwords WHERE account = ?1 ORDER BY name");
    q.bind(account);
    std::vector<AppPassword> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(password_of(q));
    }
}

Result<std::optional<AppPassword>> CredentialView::find_secret(AccountId account, std::string_view secret) const {
    // By the index: how long it takes tells of the digest, which tells nothing of the secret.
    const crypto::Sha256Digest digest = crypto::sha256(secret);
    Query q = db_.query("SELECT " APP_PASSWORD_COLUMNS " FROM app_passwords WHERE digest = ?1 AND account = ?2");
    TRY(const bool found, q.bind(Blob(text_of(digest)), account).row());
    if (!found) return std::optional<AppPassword>();
    return std::optional(password_of(q));
}

Result<bool> CredentialView::has_app_password(AppPasswordId id) const {
    Query q = db_.query("SELECT 1 FROM app_passwords WHERE id = ?1");
    return q.bind(id).row();
}

Result<std::vector<ProvableKeys>> CredentialView::scram_keys(AccountId account) const {
    std::vector<ProvableKeys> out;
    {
        Query q = db_.query("SELECT salt, iterations, stored_key, server_key FROM scram_keys WHERE account = ?1");
        TRY(const bool found, q.bind(account).row());
        if (found) {
            ProvableKeys own;
            own.keys.salt = q.text(0);
            own.keys.iterations = q.u32(1);
            own.keys.stored_key = q.text(2);
            own.keys.server_key = q.text(3);
            out.push_back(std::move(own));
        }
    }
    Query q = db_.query(
        "SELECT id, salt, iterations, stored_key, server_key FROM app_passwords WHERE account = ?1 AND iterations > 0 "
        "ORDER BY id");
    q.bind(account);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        ProvableKeys program;
        program.program = q.id<AppPasswordId>(0);
        program.keys.salt = q.text(1);
        program.keys.iterations = q.u32(2);
        program.keys.stored_key = q.text(3);
        program.keys.server_key = q.text(4);
        // Made before the salt or the count was another one: it still logs in, but not by SCRAM.
        const bool alike = out.empty() || (out.front().keys.salt == program.keys.salt &&
                                           out.front().keys.iterations == program.keys.iterations);
        if (alike) out.push_back(std::move(program));
    }
}

Result<bool> CredentialView::any_without_keys() const {
    Query q = db_.query(
        "SELECT 1 FROM accounts a LEFT JOIN scram_keys k ON k.account = a.id WHERE a.disabled = 0 AND "
        "a.password_hash <> '' AND k.account IS NULL LIMIT 1");
    return q.row();
}

CredentialTx::CredentialTx(Tx& tx) : CredentialView(context_of(tx).db), tx_(tx) {}

NewAppPassword make_app_password(std::string salt) {
    NewAppPassword out;
    out.secret = make_secret();
    out.keys = crypto::derive_scram_keys(out.secret, std::move(salt), crypto::kScramIterations);
    return out;
}

Result<AppPasswordId> CredentialTx::add(AccountId account, std::string_view name, const NewAppPassword& made) {
    if (!is_name(name)) {
        return Error(Errc::invalid,
                     fmt::format("the name of an app password is 1 to {} octets of plain text", kAppPasswordNameMax));
    }
    TRY_VOID(tx_.catalog().account(account));
    TRY(const std::vector<AppPassword> there, app_passwords(account));
    if (std::ranges::any_of(there, [&](const AppPassword& one) { return one.name == name; })) {
        return Error(Errc::already_exists, fmt::format("there is an app password {} already: revoke it first", name));
    }
    if (there.size() >= kAppPasswordsMax) {
        return Error(Errc::limit, fmt::format("there are {} app passwords: revoke some first", there.size()));
    }
    const crypto::Sha256Digest digest = crypto::sha256(made.secret);
    const crypto::ScramKeys& keys = made.keys;
    TRY_VOID(db_.query("INSERT INTO app_passwords (account, name, digest, created_ms, salt, iterations, stored_key, "
                       "server_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
                 .bind(account, name, Blob(text_of(digest)), tx_.now(), Blob(keys.salt), std::int64_t{keys.iterations},
                       Blob(keys.stored_key), Blob(keys.server_key))
                 .run());
    return static_cast<AppPasswordId>(db_.last_id());
}

Result<> CredentialTx::revoke(AccountId account, std::string_view name) {
    TRY_VOID(db_.query("DELETE FROM app_passwords WHERE account = ?1 AND name = ?2").bind(account, name).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no app password {}", name));
    // Whoever logged in with it is looked at again.
    context_of(tx_).write->notice.catalog = true;
    return {};
}

Result<> CredentialTx::note_use(AppPasswordId id, Time now) {
    return db_.query("UPDATE app_passwords SET used_ms = ?2 WHERE id = ?1").bind(id, hour_of(now)).run();
}

Result<> CredentialTx::set_scram_keys(AccountId account, std::string_view password_hash,
                                      const crypto::ScramKeys& keys) {
    Query q = db_.query("SELECT 1 FROM accounts WHERE id = ?1 AND password_hash = ?2");
    TRY(const bool present, q.bind(account, password_hash).row());
    if (!present) return {};
    TRY_VOID(
        db_.query("INSERT OR REPLACE INTO scram_keys VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(account, Blob(keys.salt), std::int64_t{keys.iterations}, Blob(keys.stored_key), Blob(keys.server_key))
            .run());
    context_of(tx_).write->notice.catalog = true;
    return {};
}

std::string scram_salt(const std::string& sealing_key, std::string_view address) {
    const crypto::Sha256Digest key = crypto::hmac_sha256(sealing_key, "SCRAM salt");
    const crypto::Sha256Digest salt = crypto::hmac_sha256(text_of(key), address);
    return std::string(text_of(salt).substr(0, kSaltOctets));
}

bool use_is_news(const AppPassword& password, Time now) { return !password.used || *password.used < hour_of(now); }

}  // namespace posthouse::storage
