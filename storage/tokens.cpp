#include "storage/tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kSecretOctets = 32;

std::string digest_of(std::string_view secret) {
    const crypto::Sha256Digest digest = crypto::sha256(secret);
    return {digest.begin(), digest.end()};
}

#define TOKEN_COLUMNS "t.id, t.name, t.account, t.created_ms, t.expires_ms, t.used_ms, coalesce(a.address, '')"

ApiToken token_of(const Query& row) {
    ApiToken out;
    out.id = row.id<ApiTokenId>(0);
    out.name = row.text(1);
    if (!row.is_null(2)) out.account = row.id<AccountId>(2);
    out.created = row.time(3);
    if (!row.is_null(4)) out.expires = row.time(4);
    if (!row.is_null(5)) out.used = row.time(5);
    out.address = row.text(6);
    return out;
}

Time hour_of(Time now) { return std::chrono::floor<std::chrono::hours>(now); }

// The name stands in logs, in events and on the command line.
bool is_name(std::string_view name) {
    const auto fits = [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_' || c == '.'; };
    return !name.empty() && name.size() <= kTokenNameMax && std::ranges::all_of(name, fits);
}

}  // namespace

TokenView::TokenView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::vector<ApiToken>> TokenView::list() const {
    Query q = db_.query("SELECT " TOKEN_COLUMNS
                        " FROM api_tokens t LEFT JOIN accounts a ON a.id = t.account "
                        "ORDER BY t.name");
    std::vector<ApiToken> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(token_of(q));
    }
}

Result<std::optional<ApiToken>> TokenView::find_secret(std::string_view secret, Time now) const {
    const std::string digest = digest_of(secret);
    // Every row is looked at, also behind the one that fits: how long it takes tells nothing (there are few).
    Query q = db_.query("SELECT " TOKEN_COLUMNS
                        ", t.digest, t.account IS NULL OR (a.id IS NOT NULL AND a.disabled = 0) "
                        "FROM api_tokens t LEFT JOIN accounts a ON a.id = t.account");
    std::optional<ApiToken> found;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        const bool same = crypto::equal_constant_time(q.view(7), digest);
        if (same && q.flag(8)) found = token_of(q);
    }
    if (found && found->expires && *found->expires <= now) found.reset();
    return found;
}

TokenTx::TokenTx(Tx& tx) : TokenView(context_of(tx).db), tx_(tx) {}

Result<NewApiToken> TokenTx::create(std::string_view name, std::optional<AccountId> account,
                                    std::optional<Time> expires) {
    if (!is_name(name)) {
        return Error(Errc::invalid,
                     fmt::format("the name of a token is 1 to {} letters, digits, '-', '_' and '.'", kTokenNameMax));
    }
    if (expires && *expires <= tx_.now()) return Error(Errc::invalid, "a token must end in the future");
    {
        Query q = db_.query("SELECT 1 FROM api_tokens WHERE name = ?1");
        TRY(const bool taken, q.bind(name).row());
        if (taken)
            return Error(Errc::already_exists, fmt::format("there is a token {} already: revoke it first", name));
    }
    TRY(const std::int64_t count, db_.value("SELECT count(*) FROM api_tokens"));
    if (static_cast<std::size_t>(count) >= kTokensMax) {
        return Error(Errc::limit, fmt::format("there are {} tokens: revoke some first", count));
    }
    if (account) TRY_VOID(tx_.catalog().account(*account));
    const std::string random = crypto::random_octets(kSecretOctets);
    NewApiToken out;
    out.secret = std::string(kTokenPrefix) +
                 crypto::hex(std::span(reinterpret_cast<const std::uint8_t*>(random.data()), random.size()));
    const std::string digest = digest_of(out.secret);
    TRY_VOID(db_.query("INSERT INTO api_tokens (name, digest, created_ms, account, expires_ms) "
                       "VALUES (?1, ?2, ?3, ?4, ?5)")
                 .bind(name, Blob(digest), tx_.now(), std::as_const(account), std::as_const(expires))
                 .run());
    out.id = static_cast<ApiTokenId>(db_.last_id());
    return out;
}

Result<> TokenTx::revoke(std::string_view name) {
    TRY_VOID(db_.query("DELETE FROM api_tokens WHERE name = ?1").bind(name).run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no token {}", name));
    return {};
}

Result<> TokenTx::note_use(ApiTokenId id, Time now) {
    return db_.query("UPDATE api_tokens SET used_ms = ?2 WHERE id = ?1").bind(id, hour_of(now)).run();
}

bool use_is_news(const ApiToken& token, Time now) { return !token.used || *token.used < hour_of(now); }

}  // namespace posthouse::storage
