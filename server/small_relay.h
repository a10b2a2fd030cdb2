#pragma once
/// server/small_relay: the relay's parts as the configuration wants them, and a relay of its own for one question of
/// the command line, beside a running server or without one. Belongs to the composition root.
#include <string>

#include "admin/cli/cli.h"
#include "protocols/base/metrics.h"
#include "protocols/dns/resolver.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "relay/service.h"
#include "server/config/config.h"
#include "storage/store.h"

namespace posthouse::server {

/// The resolver as the configuration has it; the trust anchor file is read.
dns::ResolverOptions dns_options(const Config& config);
/// All but resolver, dialer and TLS contexts. What is given outlives the relay.
relay::RelayDeps relay_deps(storage::Store& store, net::Loop& loop, net::ThreadPool& pool, const Config& config,
                            Metrics& metrics);

/// posthouse route test: one message over one way; blocks until it is over.
Result<admin::WayTrial> try_way(storage::Store& store, const std::string& config_file, const admin::WayTrialWish& wish);
/// posthouse tls explain; blocks likewise.
Result<admin::TlsExplanation> explain_tls(storage::Store& store, const admin::Settings& settings,
                                          const std::string& domain);

}  // namespace posthouse::server
