#pragma once
/// server/delivery/client_login: the authenticator of submission: logins of relay clients (names without '@'), all
/// others are passed on to the accounts'. A relay client never opens a mailbox: IMAP asks the accounts' alone.
/// An identity without an account (0) is a relay client's; its address is the client's name.
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
    void refresh() override { accounts_.refresh(); }

 private:
    Authenticator& accounts_;
    Directory& directory_;
    Metrics::Value& failed_;
};

}  // namespace posthouse::server
