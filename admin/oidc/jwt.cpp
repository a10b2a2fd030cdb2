#include "admin/oidc/jwt.h"

#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

constexpr std::size_t kDepthMax = 16;
constexpr std::size_t kListMax = 64;

Error refused(std::string why) { return Error(Errc::unauthenticated, std::move(why)); }

Result<Object::Ptr> parse_object(const std::string& json) {
    try {
        Poco::JSON::Parser parser;
        parser.setDepth(kDepthMax);
        const Poco::Dynamic::Var parsed = parser.parse(json);
        if (parsed.type() == typeid(Object::Ptr)) return parsed.extract<Object::Ptr>();
    } catch (const Poco::Exception&) {
    }
    return Error(Errc::invalid, "it is no JSON object");
}

std::string text_of(const Object& object, const std::string& name) {
    const Poco::Dynamic::Var value = object.get(name);
    return value.isString() ? value.convert<std::string>() : std::string();
}

Result<crypto::PublicKey> key_of(const Object& jwk, std::string& algorithm) {
    const std::string kind = text_of(jwk, "kty");
    const std::string curve = text_of(jwk, "crv");
    const auto number = [&jwk](const char* name) { return crypto::base64url_decode(text_of(jwk, name)); };
    if (kind == "RSA") {
        algorithm = "RS256";
        TRY(const std::string n, number("n"));
        TRY(const std::string e, number("e"));
        return crypto::PublicKey::rsa(n, e);
    }
    if (kind == "EC" && curve == "P-256") {
        algorithm = "ES256";
        TRY(const std::string x, number("x"));
        TRY(const std::string y, number("y"));
        return crypto::PublicKey::p256(x, y);
    }
    if (kind == "OKP" && curve == "Ed25519") {
        algorithm = "EdDSA";
        TRY(const std::string x, number("x"));
        return crypto::PublicKey::ed25519(x);
    }
    return Error(Errc::unsupported, "a key of another kind");
}

// header "." payload "." signature                                     RFC 7515 3.1
struct Pieces {
    std::string_view signed_part;
    std::string payload;
    std::string signature;
    std::string key_id;
    std::string algorithm;
};

Result<Pieces> split(std::string_view token) {
    const std::size_t first = token.find('.');
    const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
    if (token.size() > kJwtOctetsMax || second == std::string_view::npos ||
        token.find('.', second + 1) != std::string_view::npos) {
        return refused("it is no signed JWT");
    }
    const auto header = crypto::base64url_decode(token.substr(0, first));
    auto payload = crypto::base64url_decode(token.substr(first + 1, second - first - 1));
    auto signature = crypto::base64url_decode(token.substr(second + 1));
    if (!header || !payload || !signature) return refused("it is no signed JWT");
    const auto object = parse_object(*header);
    if (!object) return refused("its header is no JSON object");
    // RFC 7515 4.1.11: an extension that must be understood; none is.
    if ((*object)->has("crit")) return refused("it asks for extensions");
    Pieces out;
    out.signed_part = token.substr(0, second);
    out.payload = *std::move(payload);
    out.signature = *std::move(signature);
    out.key_id = text_of(**object, "kid");
    out.algorithm = text_of(**object, "alg");
    return out;
}

std::optional<std::int64_t> seconds_of(const Claims& claims, std::string_view name) {
    const std::string_view text = claims.text(name);
    const auto number = ascii::parse_number(text.substr(0, text.find('.')));
    if (!number || *number > (1ULL << 40U)) return std::nullopt;
    return static_cast<std::int64_t>(*number);
}

}  // namespace

Result<std::vector<Jwk>> parse_jwks(const std::string& json) {
    TRY(const Object::Ptr object, parse_object(json));
    const Array::Ptr keys = object->getArray("keys");
    if (keys.isNull()) return Error(Errc::invalid, "it is no set of keys (RFC 7517 5)");
    std::vector<Jwk> out;
    for (std::size_t i = 0; i < keys->size() && out.size() < kJwksKeysMax; ++i) {
        const Object::Ptr jwk = keys->getObject(static_cast<unsigned>(i));
        if (jwk.isNull()) continue;
        const std::string use = text_of(*jwk, "use");
        if (!use.empty() && use != "sig") continue;
        std::string algorithm;
        auto key = key_of(*jwk, algorithm);
        if (!key) continue;
        const std::string meant = text_of(*jwk, "alg");
        if (!meant.empty() && meant != algorithm) continue;
        out.emplace_back(text_of(*jwk, "kid"), std::move(algorithm), *std::move(key));
    }
    return out;
}

std::string_view Claims::text(std::string_view name) const {
    const auto found = texts.find(name);
    return found == texts.end() ? std::string_view() : std::string_view(found->second);
}

bool Claims::names(std::string_view claim, std::string_view value) const {
    if (text(claim) == value && !value.empty()) return true;
    const auto found = lists.find(claim);
    return found != lists.end() && std::ranges::find(found->second, value) != found->second.end();
}

Result<Claims> parse_claims(const std::string& json) {
    TRY(const Object::Ptr object, parse_object(json));
    Claims out;
    for (const auto& [name, value] : *object) {
        if (value.type() == typeid(Array::Ptr)) {
            const auto array = value.extract<Array::Ptr>();
            std::vector<std::string>& list = out.lists[name];
            for (const auto& item : *array) {
                if (item.isString() && list.size() < kListMax) list.push_back(item.convert<std::string>());
            }
        } else if (value.isBoolean()) {
            out.texts[name] = value.convert<bool>() ? "true" : "false";
        } else if (value.isString() || value.isNumeric()) {
            out.texts[name] = value.convert<std::string>();
        }
    }
    return out;
}

Result<> check_claims(const Claims& claims, const JwtRules& rules) {
    const std::int64_t now = to_unix_ms(rules.now) / 1000;
    const auto skew = static_cast<std::int64_t>(kClockSkewMax.count());
    const auto ends = seconds_of(claims, "exp");
    if (!ends) return refused("it never ends (no exp)");
    if (*ends + skew <= now) return refused("it has ended (exp)");
    if (claims.texts.contains("nbf")) {
        const auto begins = seconds_of(claims, "nbf");
        if (!begins || *begins - skew > now) return refused("it is not good yet (nbf)");
    }
    if (!rules.issuer.empty() && claims.text("iss") != rules.issuer) {
        return refused(fmt::format("it was issued by \"{}\" (iss)", claims.text("iss")));
    }
    if (rules.audience.empty() || !claims.names("aud", rules.audience)) {
        return refused("it is meant for others (aud): oidc.audience says what it must hold");
    }
    return {};
}

Result<std::string> key_id_of(std::string_view token) {
    TRY(Pieces pieces, split(token));
    return std::move(pieces.key_id);
}

Result<Claims> open_jwt(std::string_view token, const std::vector<Jwk>& keys, const JwtRules& rules) {
    TRY(const Pieces pieces, split(token));
    const auto signed_by = [&](const Jwk& jwk) {
        const bool meant = pieces.key_id.empty() || jwk.id.empty() || jwk.id == pieces.key_id;
        return meant && jwk.algorithm == pieces.algorithm && jwk.key.verify(pieces.signed_part, pieces.signature);
    };
    if (std::ranges::none_of(keys, signed_by)) return refused("no key of the provider signed it");
    const auto claims = parse_claims(pieces.payload);
    if (!claims) return refused("its claims are no JSON object");
    TRY_VOID(check_claims(*claims, rules));
    return *claims;
}

}  // namespace posthouse::admin
