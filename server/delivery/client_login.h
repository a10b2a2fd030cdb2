#pragma once
/// server/delivery/client_login: the authenticator of submission: logins of relay clients (names without '@'), all
/// others are passed on to the accounts'. A relay client never opens a mailbox: IMAP asks the accounts' alone.
/// An identity without an account (0) is a relay client's; its address is the client's name.
/// A relay client cannot prove its password, of which a digest is kept: while any has one, SCRAM is not offered, since
/// a program that sees it does not come back with the password.
/// Threads: the loop's.
#include "protocols/base/metrics.h"
#include "server/auth/authenticator.h"
#include "server/delivery/directory.h"

namespace posthouse::server {

class ClientLogin final : public Authenticator {
 public:
    ClientLogin(Authenticator& accounts, Directory& directory, Metrics& metrics)
        : accounts_(accounts),
          directory_(directory),
          failed_(metrics.counter("relay_client_login_failures_total", "Logins of relay clients that failed")) {}

    net::Task<Result<Identity>> authenticate(std::string login, std::string password, net::IpAddress peer,
                                             std::string service) override;
    net::Task<Result<ProofOffer>> offer_proof(std::string login, net::IpAddress peer, std::string service) override;
    net::Task<Result<Identity>> judge_proof(ProofOffer offer, std::optional<std::size_t> proven, net::IpAddress peer,
                                            std::string service) override;
    net::Task<Result<Identity>> authenticate_token(std::string login, std::string token, net::IpAddress peer,
                                                   std::string service) override;
    net::Task<Result<>> recheck(Identity& identity) override;
    std::vector<std::string_view> mechanisms() const override;
    void refresh() override { accounts_.refresh(); }

 private:
    Authenticator& accounts_;
    Directory& directory_;
    Metrics::Value& failed_;
};

}  // namespace posthouse::server
