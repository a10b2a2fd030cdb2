#pragma once
/// server/auth/exchange: a SASL dialogue from its first word to an identity (protocols/sasl on one side, the accounts
/// on the other). Base64, "*" and lines are the transport's. Threads: the loop's; one exchange a dialogue.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/net/stream.h"
#include "protocols/sasl/sasl.h"
#include "server/auth/authenticator.h"

namespace posthouse::server {

/// What to do next: send `challenge`, or take in `identity`.
struct LoginStep {
    std::string challenge;  ///< raw octets
    std::optional<Identity> identity;
};

/// Names to announce on a connection, the strongest first; those that bind to it where there is TLS.
std::vector<std::string> offered_mechanisms(const Authenticator& authenticator, const net::TlsBinding& binding);

class LoginExchange {
 public:
    /// Null for a mechanism that is not offered here. The authenticator outlives the exchange.
    static std::unique_ptr<LoginExchange> begin(Authenticator& authenticator, std::string_view mechanism,
                                                net::TlsBinding binding, net::IpAddress peer, std::string service);

    /// `initial` as SASL has it: nothing, or the first response. Errors end the exchange: as Authenticator, and invalid
    /// for bad syntax, denied for a foreign authorisation identity or a client that was deceived about what is offered.
    net::Task<Result<LoginStep>> start(std::optional<std::string> initial);
    net::Task<Result<LoginStep>> answer(std::string response);

 private:
    LoginExchange(Authenticator& authenticator, std::unique_ptr<sasl::ServerMechanism> mechanism, net::IpAddress peer,
                  std::string service);
    net::Task<Result<LoginStep>> go_on(Result<sasl::Step> step);
    net::Task<Result<LoginStep>> check_password(sasl::Credentials credentials);
    net::Task<Result<LoginStep>> check_token(sasl::TokenClaim claim);
    net::Task<Result<sasl::Step>> fetch_keys(std::string login);
    net::Task<Result<Identity>> judge(std::optional<std::size_t> proven);

    Authenticator& authenticator_;
    std::unique_ptr<sasl::ServerMechanism> mechanism_;
    net::IpAddress peer_;
    std::string service_;
    std::optional<ProofOffer> offer_;   // until its proof was judged
    std::optional<Identity> identity_;  // proven; the client has still to hear our proof
};

}  // namespace posthouse::server
