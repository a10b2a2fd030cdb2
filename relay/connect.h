#pragma once
/// relay/connect: an open connection to a target: hosts in their order, TLS as far as it is asked for.
///
/// By MX: every host and address once, in clear on a new connection where TLS broke. Addresses of this machine and of
/// private networks are no mail servers of others and are passed over (RelayOptions::allow_loopback lifts that).
/// A host that turns us away with 5yz is not the last word of its domain: the next is asked; the mail fails only where
/// all said 5yz.   Limits: kDialsMax.   Threads: the loop's.
#include <memory>
#include <string>

#include "relay/core.h"
#include "relay/route.h"

namespace posthouse::relay {

inline constexpr std::size_t kDialsMax = 8;

/// A client and its place among the connections of its site.
class Connection {
 public:
    Connection(Core& core, std::unique_ptr<Client> client, std::string remote, std::string site);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    Client& client() { return *client_; }
    /// "mx.b.example [192.0.2.1]"
    const std::string& remote() const { return remote_; }

 private:
    Core& core_;
    std::unique_ptr<Client> client_;
    std::string remote_;
    std::string site_;
};

struct Connected {
    std::unique_ptr<Connection> connection;  ///< null: `verdict` says why
    Verdict verdict;
    std::string remote;  ///< the last that was tried
    Connected() = default;
};

net::Task<Connected> connect(Core& core, const Target& target, Dialogue& dialogue);

}  // namespace posthouse::relay
