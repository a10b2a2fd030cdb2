#include "server/delivery/client_login.h"

#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::server {

net::Task<Result<Identity>> ClientLogin::authenticate(std::string login, std::string password, net::IpAddress peer,
                                                      std::string service) {
    if (login.contains('@')) {
        co_return co_await accounts_.authenticate(std::move(login), std::move(password), peer, std::move(service));
    }
    const storage::RelayClient* const client = clients_.by_name(login);
    const std::string digest = storage::client_password_digest(password);
    const bool known = client != nullptr && !client->disabled && !client->password_digest.empty();
    // 160 random bits: whoever guesses may go on.
    if (!known || !crypto::equal_constant_time(client->password_digest, digest)) {
        failed_.add();
        log::warn("auth", "{}: relay client {} from {} failed to log in", service, login, peer.to_string());
        co_return Error(Errc::unauthenticated, "wrong login or password");
    }
    log::info("auth", "{}: relay client {} from {}", service, client->name, peer.to_string());
    Identity out;
    out.address = client->name;
    co_return out;
}

}  // namespace posthouse::server
