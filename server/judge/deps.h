#pragma once
/// server/judge/deps: what both checks of this room work with: the one of mail that comes in (judge.h) and the one of
/// mail that our own people send (alignment.h). All pointers outlive the check.
#include <string>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/dns/resolver.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "storage/store.h"

namespace posthouse::server {

struct CheckDeps {
    storage::Store* store = nullptr;
    net::Loop* loop = nullptr;
    net::ThreadPool* pool = nullptr;
    net::TaskGroup* tasks = nullptr;  ///< what the DNS is asked goes on in it
    dns::Resolver* resolver = nullptr;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    std::string hostname;  ///< our authserv-id
    CheckDeps() = default;
    CheckDeps(storage::Store& s, net::Loop& l, net::ThreadPool& p, net::TaskGroup& t, dns::Resolver& r, const Clock& c,
              Metrics& m, std::string name)
        : store(&s), loop(&l), pool(&p), tasks(&t), resolver(&r), clock(&c), metrics(&m), hostname(std::move(name)) {}
};

}  // namespace posthouse::server
