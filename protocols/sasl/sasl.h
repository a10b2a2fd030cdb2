#pragma once
/// protocols/sasl: mechanisms as small state machines; they know no accounts and decode no base64 of their transport.
///   server: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00), SCRAM-SHA-256 and -PLUS (scram.h, RFC 5802 and
///           7677), OAUTHBEARER (RFC 7628) and XOAUTH2 (token.h)
///   client: PLAIN and LOGIN, answer by answer, and SCRAM (scram.h)
/// Invariants  1. A mechanism sees decoded octets only; its transport does base64 and the "*" that cancels.
///             2. An authorisation identity is empty or equal to the login: acting for others is not offered.
///             3. Credentials are wiped when their holder goes.
///             4. Names and passwords are compared as prepare_login() and prepare_password() give them.
///             5. A mechanism decides nothing about accounts: it asks for a check, and is told what came of it.
/// Threads: values.   Limits: kCredentialOctetsMax a field, kTokenOctetsMax a token; the transport bounds the line.
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/crypto/scram_keys.h"

namespace posthouse::sasl {

inline constexpr std::size_t kCredentialOctetsMax = 1024;
inline constexpr std::size_t kTokenOctetsMax = 8UL * 1024;

/// A login and its password, as the client claims.
struct Credentials {
    std::string login;
    std::string password;

    Credentials() = default;
    Credentials(std::string who, std::string secret) : login(std::move(who)), password(std::move(secret)) {}
    Credentials(Credentials&&) = default;
    Credentials& operator=(Credentials&&) = default;
    Credentials(const Credentials&) = delete;
    Credentials& operator=(const Credentials&) = delete;
    ~Credentials();  ///< wipes the password
};

/// A token of an OpenID provider, and whose it is meant to be ("" where the client does not say).
struct TokenClaim {
    std::string login;
    std::string token;

    TokenClaim() = default;
};

/// What a server does next: the first of these that is set, else send `challenge`.
struct Step {
    std::string challenge;                   ///< raw octets, not base64
    std::optional<Credentials> credentials;  ///< check them; that is the end
    std::optional<TokenClaim> token;         ///< check it; that is the end, or refuse_token()
    std::optional<std::string> keys_of;      ///< give the SCRAM keys of this login with take_keys()
    /// The client knows the password of the keys with this index. Send `challenge`, take one empty answer: the end.
    std::optional<std::size_t> proven;
};

/// What the TLS connection beneath can bind to; "" where it cannot.
struct ChannelBinding {
    std::string exporter;   ///< tls-exporter, RFC 9266
    std::string end_point;  ///< tls-server-end-point, RFC 5929 4

    bool available() const { return !exporter.empty() || !end_point.empty(); }
};

/// What a server's side of an exchange needs to know.
struct ServerSide {
    ChannelBinding binding;
    bool plus_offered = false;  ///< a -PLUS mechanism was announced: a client that believes the opposite was deceived
    std::string nonce;          ///< fresh, printable, without ','

    ServerSide() = default;
};

/// One exchange, seen from the server.
class ServerMechanism {
 public:
    virtual ~ServerMechanism() = default;
    /// `initial` is the initial response where the client sent one.
    virtual Result<Step> start(std::optional<std::string_view> initial) = 0;
    /// The client's answer to the last challenge. Errc::invalid for bad syntax, too_large over the limits,
    /// denied for a foreign authorisation identity, unauthenticated for a proof that is wrong.
    virtual Result<Step> answer(std::string_view response) = 0;
    /// After Step::keys_of: all that fit the login, of one salt and count of iterations; at least one.
    virtual Result<Step> take_keys(std::vector<crypto::ScramKeys> keys);
    /// After Step::token: it opens nothing; what to tell the client first.
    virtual Result<Step> refuse_token();
};

/// Null for an unknown name (ASCII case ignored).
std::unique_ptr<ServerMechanism> make_server_mechanism(std::string_view name, ServerSide side);

/// Client side: the initial response of PLAIN: NUL login NUL password. Errc::invalid where one of them holds a NUL.
Result<std::string> plain_response(std::string_view login, std::string_view password);
/// Client side of LOGIN: what to answer to the first (0) and second (1) challenge.
Result<std::string> login_response(std::size_t step, std::string_view login, std::string_view password);

/// SASLprep (RFC 4013): a login or password as all sides write it. Errc::invalid where it holds characters that none
/// may.
Result<std::string> prepare(std::string_view text);
/// A password as it is hashed, whichever way it comes: SASLprep; what that refuses (letters from right to left with
/// digits, characters younger than Unicode 3.2) as OpaqueString of RFC 8265 4.2. Errc::invalid: controls, and what no
/// keyboard gives.
Result<std::string> prepare_password(std::string_view text);
/// A login as it is looked up: SASLprep in lower case (ASCII); what that refuses as it came, in lower case.
std::string prepare_login(std::string_view text);

}  // namespace posthouse::sasl
