#pragma once
/// protocols/sasl/client: the client's side of the mechanisms that a relay may ask for:
///   SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677), PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login-00), CRAM-MD5
///   (RFC 2195), XOAUTH2 (Google's and Microsoft's form of a bearer token)
/// SCRAM comes first: the server proves that it knows the password, and learns nothing of it. Many announce it without
/// having what they need for it; then comes the plainest of the others, for their certificate was checked.
/// Invariants  1. A mechanism sees decoded octets only; its transport does base64.
///             2. What was learned of a secret is wiped when its holder goes.
/// Threads: values.   Limits: kCredentialOctetsMax a field.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/sasl/sasl.h"

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
    /// The server says that it let us in. Errc::unauthenticated where it owes a proof of its own.
    virtual Result<> finish() const { return {}; }
};

/// What SCRAM needs besides a login.
struct ScramSide {
    ChannelBinding binding;     ///< of the TLS connection
    bool plus_offered = false;  ///< the server announced -PLUS
    std::string nonce;          ///< random, printable; "": no SCRAM
    ScramSide() = default;
};

/// Names in the order of preference for this login.
std::span<const std::string_view> client_mechanisms(const ClientLogin& login);
bool is_scram(std::string_view mechanism);
/// Null for an unknown name.
std::unique_ptr<ClientMechanism> make_client_mechanism(std::string_view name, const ClientLogin& login,
                                                       const ScramSide& side = ScramSide());

}  // namespace posthouse::sasl
