#pragma once
/// relay/tokens: bearer tokens for relays that want XOAUTH2: fetched from the way's token endpoint, kept in memory
/// until shortly before they end.
///   refresh token       grant_type=refresh_token           RFC 6749 6
///   client credentials  grant_type=client_credentials      RFC 6749 4.4
/// Invariants  1. A token is never written anywhere; a refresh token that replaces another is sealed before it is.
///             2. Secrets go to https:// endpoints whose certificate was checked.
/// Threads: the loop's.   Limits: kTokenMarginS, kTokenAnswerOctetsMax.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/net/task.h"
#include "storage/routes.h"

namespace posthouse::relay {

struct Core;

inline constexpr std::int64_t kTokenMarginS = 60;  ///< a token that ends this soon is not used any more
inline constexpr std::size_t kTokenAnswerOctetsMax = 64UL * 1024;

/// How a form reaches a token endpoint. Errors say that there was no answer.
class TokenDoor {
 public:
    struct Answer {
        int status = 0;
        std::string body;
        Answer() = default;
    };
    virtual ~TokenDoor() = default;
    virtual net::Task<Result<Answer>> post(std::string url, std::string form) = 0;
};

/// What an endpoint answers (RFC 6749 5.1).
struct Token {
    std::string value;
    std::int64_t expires_in_s = 3600;
    std::string refresh;  ///< "" where the old one stays good
};
/// Errc::unauthenticated with what the endpoint says is wrong; invalid where it is no such answer.
Result<Token> read_token(int status, std::string_view body);
/// application/x-www-form-urlencoded
std::string token_form(const storage::WayOauth& oauth, std::string_view secret, std::string_view refresh);

class Tokens {
 public:
    /// However many connections ask at once, the endpoint is asked once; all get its answer, or its error.
    net::Task<Result<std::string>> get(Core& core, storage::Way way);
    /// The server did not take this token: the next get() fetches another, where there is none yet.
    void drop(std::string_view way, std::string_view token);

 private:
    struct Fetch;
    net::Task<Result<std::string>> fetch(Core& core, storage::Way way, std::string made_for);
    struct Kept {
        std::string value;
        std::string made_for;  ///< the settings it was fetched with
        Time until{};
    };
    std::map<std::string, Kept, std::less<>> kept_;
    std::map<std::string, std::shared_ptr<Fetch>> under_way_;  // by way and settings
};

}  // namespace posthouse::relay
