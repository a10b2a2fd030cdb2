#include "server/small_relay.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "protocols/base/random.h"
#include "protocols/net/dialer.h"
#include "protocols/net/tls.h"
#include "relay/probe.h"
#include "relay/tls_explain.h"

namespace posthouse::server {

dns::ResolverOptions dns_options(const Config& config) {
    dns::ResolverOptions out;
    out.servers = config.dns_servers;
    out.trust_anchor_file = config.dns_trust_anchor;
    std::ifstream anchor(config.dns_trust_anchor);
    out.trust_anchor_zone = dns::anchor_zone(std::string(std::istreambuf_iterator<char>(anchor), {}));
    out.ask_loopback = config.dns_ask_loopback;
    return out;
}

relay::RelayDeps relay_deps(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, const Config& config,
                            Metrics& metrics) {
    relay::RelayDeps out;
    out.store = &store;
    out.loop = &loop;
    out.pool = &pool;
    out.random = &system_random();
    out.clock = &system_clock();
    out.metrics = &metrics;
    out.hostname = config.hostname;
    out.dns_servers = config.dns_servers;
    out.ca_file = config.relay_ca_file;
    out.options.allow_loopback = config.relay_allow_loopback_mx;
    out.options.mx_port = config.relay_mx_port;
    out.options.sts_port = config.relay_sts_port;
    out.options.serves_pages = !config.listen.https.empty();
    return out;
}

namespace {

/// A relay of its own for one question: it may run beside a server, or without one.
struct SmallRelay {
    net::Loop loop;
    net::ThreadPool pool{"probe", 1};
    Metrics metrics;
    std::unique_ptr<dns::Resolver> resolver;
    std::unique_ptr<net::TlsClientContext> verified, opportunistic;
    std::unique_ptr<net::Dialer> dialer = net::make_tcp_dialer(loop);

    Result<relay::RelayDeps> open(storage::Store& store, const Config& config) {
        TRY(resolver, dns::make_unbound_resolver(loop, dns_options(config)));
        constexpr auto kBesides = net::Anchors::besides;
        TRY(verified, net::TlsClientContext::make(net::Verify::required, config.relay_ca_file, kBesides));
        TRY(opportunistic, net::TlsClientContext::make(net::Verify::opportunistic, config.relay_ca_file, kBesides));
        relay::RelayDeps deps = relay_deps(store, loop, pool, config, metrics);
        deps.dialer = dialer.get();
        deps.resolver = resolver.get();
        deps.verified_tls = verified.get();
        deps.opportunistic_tls = opportunistic.get();
        return deps;
    }

    /// One task from its beginning to its end.
    void run(std::string_view name, net::Task<void> task) {
        net::TaskGroup group(loop);
        group.spawn(name, std::move(task));
        loop.run();
        while (group.size() > 0) loop.poll();
    }
};

net::Task<void> keep_probe(net::Loop& loop, relay::RelayDeps deps, relay::ProbeRequest request,
                           relay::ProbeResult& result) {
    result = co_await relay::probe_way(std::move(deps), std::move(request));
    loop.stop();
}

}  // namespace

Result<admin::WayTrial> try_way(storage::Store& store, const std::string& config_file,
                                const admin::WayTrialWish& wish) {
    TRY(const Config config, load_config(config_file));
    SmallRelay small;
    TRY(relay::RelayDeps deps, small.open(store, config));
    relay::ProbeRequest request;
    request.way = wish.way;
    request.source = wish.source;
    request.from = wish.from;
    request.to = wish.to;
    request.wait = wish.wait;
    relay::ProbeResult result;
    small.run("probe", keep_probe(small.loop, std::move(deps), std::move(request), result));
    return admin::WayTrial{std::move(result.sentences), result.good, std::move(result.dialogue),
                           std::move(result.message_id)};
}

namespace {

net::Task<void> keep_explanation(net::Loop& loop, relay::RelayDeps deps, std::string domain,
                                 relay::TlsExplanation& out) {
    out = co_await relay::explain_tls(std::move(deps), std::move(domain));
    loop.stop();
}

}  // namespace

Result<admin::TlsExplanation> explain_tls(storage::Store& store, const admin::Settings& settings,
                                          const std::string& domain) {
    TRY(const Config config, load_config(settings.file));
    SmallRelay small;
    TRY(relay::RelayDeps deps, small.open(store, config));
    relay::TlsExplanation found;
    small.run("tls.explain", keep_explanation(small.loop, std::move(deps), domain, found));
    admin::TlsExplanation out;
    out.dnssec = std::move(found.dnssec);
    out.refusal = std::move(found.refusal);
    out.mx_secure = found.mx_secure;
    out.sts = std::move(found.sts);
    for (auto& [name, policy, why, records] : found.hosts)
        out.hosts.push_back({std::move(name), std::move(policy), std::move(why), std::move(records)});
    return out;
}

}  // namespace posthouse::server
