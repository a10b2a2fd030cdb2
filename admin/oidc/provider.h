#pragma once
/// admin/oidc: which account does a token stand for? Asked of the OpenID provider that the settings oidc.* name: by its
/// keys, fetched by URL and kept, where tokens are JWTs; else by token introspection (RFC 7662).
///   provider.h  the question and its answer    jwt.h  tokens and keys    web.h  HTTPS
/// Invariants  1. A token is good only for the audience that is set: one that was made for another service of the same
///                provider opens nothing here.
///             2. Keys are fetched again when a token names one that is not there, at most once in kKeysPause.
/// Threads: judge() from any; it blocks.
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "admin/oidc/jwt.h"
#include "admin/oidc/web.h"
#include "protocols/base/clock.h"
#include "storage/store.h"

namespace posthouse::admin {

inline constexpr std::chrono::hours kKeysKept{1};
inline constexpr std::chrono::minutes kKeysPause{1};
inline constexpr std::chrono::seconds kFailurePause{5};  ///< while there are none: strangers must not make us wait
inline constexpr std::chrono::minutes kAnswerKept{1};    ///< of introspection, where it was yes
inline constexpr std::size_t kAnswersMax = 1000;

class OidcProvider {
 public:
    OidcProvider(storage::Store& store, const Clock& clock, WebFetch fetch)
        : store_(store), clock_(clock), fetch_(std::move(fetch)) {}

    /// The address that the token stands for. Errc::unauthenticated: it is not good; unavailable: the provider is not
    /// to be asked now; both with a sentence for the log.
    Result<std::string> judge(const std::string& token);

 private:
    struct Settings {
        std::string issuer;
        std::string audience;
        std::string claim;
        std::string jwks_url;
        std::string introspection_url;
        std::string client_id;
        std::string client_secret_file;
        std::string ca_file;
        bool operator==(const Settings&) const = default;
    };
    Result<Settings> load_settings() const;
    JwtRules rules(const Settings& settings) const;
    Result<Claims> open_signed(const std::string& token, const Settings& settings);
    Result<Claims> introspect(const std::string& token, const Settings& settings);
    Result<> fetch_keys(const Settings& settings);
    Result<std::string> keys_url(const Settings& settings) const;

    storage::Store& store_;
    const Clock& clock_;
    WebFetch fetch_;
    std::mutex mutex_;  // of all below
    Settings of_;       // what was fetched belongs to these
    std::vector<Jwk> keys_;
    Time fetched_{};
    Time tried_{};
    struct Answer {
        Claims claims;
        Time until{};
    };
    std::map<std::string, Answer> answers_;  // by the token's digest
};

}  // namespace posthouse::admin
