#include "server/delivery/client_login.h"

#include <algorithm>

#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::server {

namespace {

bool opens(const storage::RelayClient* client, std::string_view digest) {
    return client != nullptr && !client->disabled && !client->password_digest.empty() &&
           crypto::equal_constant_time(client->password_digest, digest);
}

}  // namespace

net::Task<Result<Identity>> ClientLogin::authenticate(std::string login, std::string password, net::IpAddress peer,
                                                      std::string service) {
    if (login.contains('@')) {
        co_return co_await accounts_.authenticate(std::move(login), std::move(password), peer, std::move(service));
    }
    const std::string digest = storage::client_password_digest(password);
    const storage::RelayClient* client = directory_.clients().by_name(login);
    if (!opens(client, digest)) {
        // Perhaps the command line added it a moment ago.
        static_cast<void>(co_await directory_.fresh());
        client = directory_.clients().by_name(login);
    }
    // 160 random bits: whoever guesses may go on.
    if (!opens(client, digest)) {
        failed_.add();
        log::warn("auth", "{}: relay client {} from {} failed to log in", service, login, peer.to_string());
        co_return Error(Errc::unauthenticated, "wrong login or password");
    }
    log::info("auth", "{}: relay client {} from {}", service, client->name, peer.to_string());
    Identity out;
    out.address = client->name;
    co_return out;
}

net::Task<Result<ProofOffer>> ClientLogin::offer_proof(std::string login, net::IpAddress peer, std::string service) {
    co_return co_await accounts_.offer_proof(std::move(login), peer, std::move(service));
}

net::Task<Result<Identity>> ClientLogin::judge_proof(ProofOffer offer, std::optional<std::size_t> proven,
                                                     net::IpAddress peer, std::string service) {
    co_return co_await accounts_.judge_proof(std::move(offer), proven, peer, std::move(service));
}

net::Task<Result<Identity>> ClientLogin::authenticate_token(std::string login, std::string token, net::IpAddress peer,
                                                            std::string service) {
    co_return co_await accounts_.authenticate_token(std::move(login), std::move(token), peer, std::move(service));
}

net::Task<Result<>> ClientLogin::recheck(Identity& identity) {
    if (identity.account != storage::AccountId{}) co_return co_await accounts_.recheck(identity);
    const storage::RelayClient* client = directory_.clients().by_name(identity.address);
    if (client != nullptr && !client->disabled) co_return Result<>();
    co_return Error(Errc::unauthenticated, "the relay client is disabled or gone");
}

std::vector<std::string_view> ClientLogin::mechanisms() const {
    std::vector<std::string_view> out = accounts_.mechanisms();
    const auto has_password = [](const storage::RelayClient& client) {
        return !client.disabled && !client.password_digest.empty();
    };
    if (std::ranges::any_of(directory_.clients().clients(), has_password)) std::erase(out, "SCRAM-SHA-256");
    return out;
}

}  // namespace posthouse::server
