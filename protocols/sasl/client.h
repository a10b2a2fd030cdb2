#pragma once
/// protocols/sasl/client: the client's side of the mechanisms that a relay may ask for:
///   PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00), CRAM-MD5 (RFC 2195), XOAUTH2 (Google's and Microsoft's
///   form of a bearer token)
/// A password is given to whoever holds a verified certificate, so the plainest mechanism that is offered comes first:
/// servers announce the others without having what they need for them.
/// Invariants  1. A mechanism sees decoded octets only; its transport does base64.
///             2. What was learned of a secret is wiped when its holder goes.
/// Threads: values.   Limits: kCredentialOctetsMax a field.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::sasl {

/// Who logs in: a password, or a token (then only XOAUTH2 will do).
struct ClientLogin {
    std::string user;
    std::string password;
    std::string token;

    ClientLogin() = default;
    ClientLogin(std::string who, std::string secret) : user(std::move(who)), password(std::move(secret)) {}
    ClientLogin(const ClientLogin&) = default;
    ClientLogin(ClientLogin&&) = default;
    ClientLogin& operator=(const ClientLogin&) = default;
    ClientLogin& operator=(ClientLogin&&) = default;
    ~ClientLogin();  ///< wipes the secrets
};

class ClientMechanism {
 public:
    virtual ~ClientMechanism() = default;
    virtual std::string_view name() const = 0;
    /// Sent with the command; nothing where the server speaks first.
    virtual Result<std::optional<std::string>> initial() = 0;
    /// Errc::invalid where the server asks for more than the mechanism has to say.
    virtual Result<std::string> answer(std::string_view challenge) = 0;
};

/// Names in the order of preference for this login.
std::span<const std::string_view> client_mechanisms(const ClientLogin& login);
/// Null for an unknown name.
std::unique_ptr<ClientMechanism> make_client_mechanism(std::string_view name, const ClientLogin& login);

}  // namespace posthouse::sasl
