#include "admin/oidc/provider.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

Error refused(std::string why) { return Error(Errc::unauthenticated, std::move(why)); }

Result<std::string> read_secret_file(const std::string& file) {
    std::ifstream in(file);
    std::string line;
    std::getline(in, line);
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) return Error(Errc::unavailable, fmt::format("oidc.client_secret_file {} has no secret", file));
    return line;
}

}  // namespace

Result<OidcProvider::Settings> OidcProvider::load_settings() const {
    return store_.read([](const storage::Snapshot& snapshot) -> Result<Settings> {
        const auto get = [&](std::string_view key) { return storage::setting_text(snapshot.catalog(), key); };
        Settings out;
        TRY(out.issuer, get("oidc.issuer"));
        TRY(out.audience, get("oidc.audience"));
        TRY(out.claim, get("oidc.claim"));
        TRY(out.jwks_url, get("oidc.jwks_url"));
        TRY(out.introspection_url, get("oidc.introspection_url"));
        TRY(out.client_id, get("oidc.client_id"));
        TRY(out.client_secret_file, get("oidc.client_secret_file"));
        TRY(out.ca_file, get("oidc.ca_file"));
        if (out.audience.empty()) out.audience = out.client_id;
        return out;
    });
}

JwtRules OidcProvider::rules(const Settings& settings) const {
    JwtRules out;
    out.issuer = settings.issuer;
    out.audience = settings.audience;
    out.now = clock_.now();
    return out;
}

Result<std::string> OidcProvider::judge(const std::string& token) {
    TRY(const Settings settings, load_settings());
    const std::lock_guard hold(mutex_);
    if (!(settings == of_)) {
        keys_.clear();
        answers_.clear();
        fetched_ = tried_ = Time{};
        of_ = settings;
    }
    TRY(const Claims claims,
        settings.introspection_url.empty() ? open_signed(token, settings) : introspect(token, settings));
    const std::string address(claims.text(settings.claim));
    if (address.empty()) return refused(fmt::format("it has no claim {} (oidc.claim)", settings.claim));
    // Whoever may write any address into a profile would log in as anybody.
    if (settings.claim == "email" && claims.texts.contains("email_verified") &&
        claims.text("email_verified") != "true") {
        return refused(fmt::format("the provider has not verified the address {}", address));
    }
    return address;
}

Result<Claims> OidcProvider::open_signed(const std::string& token, const Settings& settings) {
    TRY(const std::string wanted, key_id_of(token));
    const Time now = clock_.now();
    const auto known = [&] {
        return std::ranges::any_of(keys_, [&](const Jwk& key) { return wanted.empty() || key.id == wanted; });
    };
    const bool stale = fetched_ == Time{} || now - fetched_ > kKeysKept;
    const std::chrono::seconds pause = keys_.empty() ? std::chrono::seconds(kFailurePause) : kKeysPause;
    if ((stale || !known()) && (tried_ == Time{} || now - tried_ > pause)) {
        tried_ = now;
        const auto fetched = fetch_keys(settings);
        if (!fetched && keys_.empty()) return Error(fetched.error());
        if (!fetched) log::warn("oidc", "the keys stay as they were: {}", fetched.error().context);
    }
    if (keys_.empty()) return Error(Errc::unavailable, "the provider's keys could not be fetched a moment ago");
    return open_jwt(token, keys_, rules(settings));
}

Result<std::string> OidcProvider::keys_url(const Settings& settings) const {
    if (!settings.jwks_url.empty()) return settings.jwks_url;
    // OpenID Connect Discovery 4
    WebRequest request;
    request.ca_file = settings.ca_file;
    request.url = settings.issuer;
    if (request.url.ends_with('/')) request.url.pop_back();
    request.url += "/.well-known/openid-configuration";
    TRY(const std::string json, fetch_(request));
    const auto metadata = parse_claims(json);
    if (!metadata || metadata->text("issuer") != settings.issuer || metadata->text("jwks_uri").empty()) {
        return Error(Errc::unavailable, fmt::format("{} is no metadata of {}", request.url, settings.issuer));
    }
    return std::string(metadata->text("jwks_uri"));
}

Result<> OidcProvider::fetch_keys(const Settings& settings) {
    WebRequest request;
    request.ca_file = settings.ca_file;
    TRY(request.url, keys_url(settings));
    TRY(const std::string json, fetch_(request));
    auto keys = parse_jwks(json);
    if (!keys) return Error(Errc::unavailable, fmt::format("{}: {}", request.url, keys.error().context));
    if (keys->empty()) return Error(Errc::unavailable, fmt::format("{} has no key that can be used", request.url));
    keys_ = *std::move(keys);
    fetched_ = clock_.now();
    log::info("oidc", "{} keys were fetched from {}", keys_.size(), request.url);
    return {};
}

// RFC 7662 2: the provider says whether it is good; who we are it learns by RFC 6749 2.3.1.
Result<Claims> OidcProvider::introspect(const std::string& token, const Settings& settings) {
    const Time now = clock_.now();
    const crypto::Sha256Digest digest = crypto::sha256(token);
    const std::string key(digest.begin(), digest.end());
    if (const auto known = answers_.find(key); known != answers_.end()) {
        if (known->second.until > now) return known->second.claims;
        answers_.erase(known);
    }
    WebRequest request;
    request.url = settings.introspection_url;
    request.ca_file = settings.ca_file;
    request.form = "token=" + form_encode(token) + "&token_type_hint=access_token";
    if (!settings.client_id.empty()) {
        TRY(const std::string secret, read_secret_file(settings.client_secret_file));
        request.authorization =
            "Basic " + crypto::base64_encode(form_encode(settings.client_id) + ":" + form_encode(secret));
    }
    TRY(const std::string json, fetch_(request));
    const auto claims = parse_claims(json);
    if (!claims) return Error(Errc::unavailable, fmt::format("{} did not answer with JSON", request.url));
    if (claims->text("active") != "true") return refused("the provider says that it is not active");
    JwtRules wanted = rules(settings);
    Claims checked = *claims;
    // Unlike a JWT the answer may leave these out (RFC 7662 2.2): the provider has judged them.
    if (!checked.texts.contains("exp")) checked.texts["exp"] = "1000000000000";
    if (!checked.texts.contains("iss")) wanted.issuer.clear();
    // Whom it was made for has to be said: a token of another application must not open a mailbox.
    const bool has_audience = checked.texts.contains("aud") || checked.lists.contains("aud");
    if (!has_audience) checked.texts["aud"] = std::string(checked.text("client_id"));
    TRY_VOID(check_claims(checked, wanted));
    if (answers_.size() >= kAnswersMax) answers_.clear();
    answers_[key] = {*claims, now + kAnswerKept};
    return *claims;
}

}  // namespace posthouse::admin
