#pragma once
/// server/listen: the doors of the house: which services are open where, and closing them without losing a sentence.
///
/// It leaves to others: accepting and limits (net::Listener), what is spoken (the handlers it is given).
/// Invariants  1. All doors open or none: open() gives back what failed and closes the rest.
///             2. Stop is two steps (net::Listener): stop() lets sessions say goodbye, cut() ends them.
/// Threads: the loop's.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/net/listener.h"
#include "server/config/config.h"

namespace posthouse::server {

/// One service as it is offered: a row of [listen] with its handler.
struct Door {
    std::string service;  ///< "smtp", a key of [listen]
    std::vector<net::Endpoint> endpoints;
    net::ListenLimits limits;
    net::TlsServerContext* implicit_tls = nullptr;  ///< outlives the listeners; null: in clear at first
    std::string over_limit;                         ///< said to a connection there is no room for
    net::Listener::Handler handler;
};

class Listeners {
 public:
    /// Binds every endpoint of every door. Errors name the address and what to do. Who is turned away is counted for
    /// each service in `metrics`.
    static Result<std::unique_ptr<Listeners>> open(net::Loop& loop, std::vector<Door> doors, Metrics& metrics);

    struct Open {
        std::string service;
        net::Endpoint at;  ///< with the real port
    };
    std::vector<Open> list() const;
    std::size_t connections() const;
    void stop();
    void cut();
    /// Completes when the last session of the last listener has ended.
    net::Task<void> join();

 private:
    struct Entry {
        std::string service;
        std::unique_ptr<net::Listener> listener;
    };
    std::vector<Entry> entries_;
};

/// `{"smtp": ["127.0.0.1:40123"], ...}`: where the services really are, for tests and tools.
std::string format_ports(const std::vector<Listeners::Open>& open);

}  // namespace posthouse::server
