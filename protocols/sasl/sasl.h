#pragma once
/// protocols/sasl: mechanisms as small state machines; they know no accounts and decode no base64 of their transport.
///   server: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00)     client: the same, answer by answer
/// Invariants  1. A mechanism sees decoded octets only; its transport does base64 and the "*" that cancels.
///             2. The authorisation identity of PLAIN is empty or equal to the login: acting for others is not offered.
///             3. Credentials are wiped when their holder goes.
/// Threads: values.   Limits: kCredentialOctetsMax a field; the transport bounds the line.
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::sasl {

inline constexpr std::size_t kCredentialOctetsMax = 1024;

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

/// What a server does next: send `challenge`, or check `credentials`.
struct Step {
    std::string challenge;  ///< raw octets, not base64; sent where there are no credentials yet
    std::optional<Credentials> credentials;
};

/// One exchange, seen from the server.
class ServerMechanism {
 public:
    virtual ~ServerMechanism() = default;
    /// `initial` is the initial response where the client sent one.
    virtual Result<Step> start(std::optional<std::string_view> initial) = 0;
    /// The client's answer to the last challenge. Errc::invalid for bad syntax, too_large over the limits,
    /// denied for a foreign authorisation identity.
    virtual Result<Step> answer(std::string_view response) = 0;
};

/// Names in the order they are offered: "PLAIN", "LOGIN".
const std::vector<std::string_view>& server_mechanisms();
/// Null for an unknown name (ASCII case ignored).
std::unique_ptr<ServerMechanism> make_server_mechanism(std::string_view name);

/// Client side: the initial response of PLAIN: NUL login NUL password. Errc::invalid where one of them holds a NUL.
Result<std::string> plain_response(std::string_view login, std::string_view password);
/// Client side of LOGIN: what to answer to the first (0) and second (1) challenge.
Result<std::string> login_response(std::size_t step, std::string_view login, std::string_view password);

}  // namespace posthouse::sasl
