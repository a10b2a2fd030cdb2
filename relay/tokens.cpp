#include "relay/tokens.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "relay/core.h"
#include "relay/token_door.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr std::string_view kSealPurpose = "route";

std::string form_encode(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (ascii::is_alnum(c) || std::string_view("-._*").contains(c)) {
            out.push_back(c);
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

Result<std::string> unsealed(Core& core, const std::string& box) {
    if (box.empty()) return std::string();
    return crypto::unseal(core.deps.store->sealing_key(), kSealPurpose, box);
}

// The endpoint gave a new refresh token: the old one may be worth nothing from now on.
net::Task<void> keep_refresh(Core& core, std::string way, std::string refresh) {
    std::string sealed = crypto::seal(core.deps.store->sealing_key(), kSealPurpose, refresh);
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [way, sealed](storage::Tx& tx) -> Result<> { return storage::RouteTx(tx).set_refresh(way, sealed); };
    const auto kept =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!kept) log::error("relay", "the new refresh token of way {} cannot be kept: {}", way, kept.error().context);
}

}  // namespace

std::string token_form(const storage::WayOauth& oauth, std::string_view secret, std::string_view refresh) {
    std::string out = fmt::format("client_id={}", form_encode(oauth.client_id));
    if (refresh.empty()) {
        out += "&grant_type=client_credentials";
    } else {
        out += fmt::format("&grant_type=refresh_token&refresh_token={}", form_encode(refresh));
    }
    if (!secret.empty()) out += fmt::format("&client_secret={}", form_encode(secret));
    if (!oauth.scope.empty()) out += fmt::format("&scope={}", form_encode(oauth.scope));
    return out;
}

struct Tokens::Fetch {
    explicit Fetch(net::Loop& loop) : done(loop) {}
    net::Event done;
    Result<std::string> token = Error(Errc::cancelled, "the server is stopping");
};

void Tokens::drop(std::string_view way, std::string_view token) {
    const auto known = kept_.find(way);
    if (known != kept_.end() && known->second.value == token) kept_.erase(known);
}

net::Task<Result<std::string>> Tokens::get(Core& core, storage::Way way) {
    std::string made_for = way.oauth.token_url + way.oauth.client_id + way.sealed_secret + way.oauth.scope;
    const auto known = kept_.find(way.name);
    if (known != kept_.end() && known->second.made_for == made_for && known->second.until > core.now()) {
        co_return known->second.value;
    }
    const std::string key = way.name + '\0' + made_for;
    if (const auto other = under_way_.find(key); other != under_way_.end()) {
        const std::shared_ptr<Fetch> same = other->second;
        co_await same->done.wait();
        co_return same->token;
    }
    const auto mine = std::make_shared<Fetch>(*core.deps.loop);
    under_way_.emplace(key, mine);
    mine->token = co_await fetch(core, std::move(way), std::move(made_for));
    under_way_.erase(key);
    mine->done.set();
    co_return mine->token;
}

net::Task<Result<std::string>> Tokens::fetch(Core& core, storage::Way way, std::string made_for) {
    CO_TRY(const std::string secret, unsealed(core, way.sealed_secret));
    CO_TRY(const std::string refresh, unsealed(core, way.oauth.sealed_refresh));
    std::string form = token_form(way.oauth, secret, refresh);
    const std::unique_ptr<TokenDoor> own =
        core.deps.token_door == nullptr ? make_token_door(core.deps, core.https_open) : nullptr;
    TokenDoor& door = own ? *own : *core.deps.token_door;
    auto answer = co_await door.post(way.oauth.token_url, std::move(form));
    if (!answer) {
        co_return Error(answer.error().code,
                        fmt::format("no token from {}: {}", way.oauth.token_url, answer.error().context));
    }
    auto token = read_token(answer->status, answer->body);
    if (!token) {
        co_return Error(token.error().code,
                        fmt::format("no token from {}: {}", way.oauth.token_url, token.error().context));
    }
    // RFC 6749 4.4.3: client credentials bring none; one that comes all the same is not what the administrator set.
    const bool replaced = !refresh.empty() && !token->refresh.empty() && token->refresh != refresh;
    if (replaced) co_await keep_refresh(core, way.name, token->refresh);
    Kept& kept = kept_[way.name];
    kept.value = token->value;
    kept.made_for = made_for;
    kept.until = core.now() + std::chrono::seconds(token->expires_in_s - kTokenMarginS);
    log::info("relay", "way {} has a new token, good for {} s", way.name, token->expires_in_s);
    co_return token->value;
}

}  // namespace posthouse::relay
