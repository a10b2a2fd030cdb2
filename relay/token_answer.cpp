// What a token endpoint answers, RFC 6749 5.1 and 5.2: JSON, from a server that we chose but do not believe blindly.
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "relay/tokens.h"

namespace posthouse::relay {

namespace {

constexpr std::size_t kJsonDepthMax = 8;
constexpr std::size_t kSentenceOctetsMax = 300;
constexpr std::int64_t kExpiryMaxS = 24LL * 3600;

Poco::JSON::Object::Ptr parse_object(std::string_view body) {
    try {
        Poco::JSON::Parser parser;
        parser.setDepth(kJsonDepthMax);
        return parser.parse(std::string(body)).extract<Poco::JSON::Object::Ptr>();
    } catch (const Poco::Exception&) {
        return nullptr;
    }
}

std::string text_of(const Poco::JSON::Object& object, const char* name) {
    try {
        return object.optValue<std::string>(name, "");
    } catch (const Poco::Exception&) {
        return "";
    }
}

bool is_token(std::string_view text) {
    // b64token of RFC 6750 2.1 and a little more; above all nothing that ends a line or a field.
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

Result<Token> read_token(int status, std::string_view body) {
    if (body.size() > kTokenAnswerOctetsMax) return Error(Errc::too_large, "its answer is too long");
    const Poco::JSON::Object::Ptr object = parse_object(body);
    if (status != 200 || object.isNull()) {
        std::string why = object.isNull() ? std::string() : text_of(*object, "error_description");
        if (why.empty() && !object.isNull()) why = text_of(*object, "error");
        if (why.empty()) return Error(Errc::unavailable, fmt::format("it answered with status {}", status));
        return Error(Errc::unauthenticated, why.substr(0, kSentenceOctetsMax));
    }
    Token out;
    out.value = text_of(*object, "access_token");
    if (!is_token(out.value)) return Error(Errc::invalid, "its answer holds no token");
    const std::string type = text_of(*object, "token_type");
    if (!type.empty() && !ascii::equals_ci(type, "bearer")) {
        return Error(Errc::invalid, fmt::format("it gives tokens of the type {}, not Bearer", type.substr(0, 40)));
    }
    out.refresh = text_of(*object, "refresh_token");
    if (!out.refresh.empty() && !is_token(out.refresh)) out.refresh.clear();
    // A number, though some send it as text.
    const auto seconds = ascii::parse_number(text_of(*object, "expires_in"));
    if (seconds) out.expires_in_s = std::min<std::int64_t>(static_cast<std::int64_t>(*seconds), kExpiryMaxS);
    return out;
}

}  // namespace posthouse::relay
