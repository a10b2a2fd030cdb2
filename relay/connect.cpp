#include "relay/connect.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/bounce/reply_class.h"
#include "relay/family.h"
#include "relay/retry.h"
#include "relay/tls_upkeep.h"

namespace posthouse::relay {

Connection::Connection(Core& core, std::unique_ptr<Client> client, std::string remote, Hop hop, HostTls tls)
    : core_(core), client_(std::move(client)), remote_(std::move(remote)), hop_(std::move(hop)), tls_(std::move(tls)) {
    core_.open.insert(client_.get());
    core_.connections.add(1);
}

Connection::~Connection() {
    core_.open.erase(client_.get());
    core_.connections.add(-1);
}

namespace {

// RFC 8689 4.2.1, steps 4 and 5.
bool meets_require_tls(Client& client) {
    const auto& facts = client.stream().tls();
    return facts && facts->peer_verified && client.capabilities().require_tls;
}

}  // namespace

bool Connection::serves(const Destination& to) const {
    if (to.plan == nullptr) return to.wish != storage::TlsWish::require || meets_require_tls(*client_);
    if (!to.plan->takes(hop_.host.empty() ? hop_.at.address.to_string() : hop_.host)) return false;
    return relay::serves(to.plan->demand, to.wish, hop_.host, tls_, client_->stream().tls(),
                         client_->capabilities().require_tls);
}

namespace {

// One search for a connection: what it has met so far.
struct Attempt {
    Attempt(Core& c, const Destination& t, Dialogue& d) : core(c), to(t), target(t.target), dialogue(d) {}

    void missed(Verdict verdict) {
        if (verdict.fate != Fate::failed) all_refused = false;
        result.verdict = std::move(verdict);
        any = true;
    }
    // The server's own fault, whoever asks: not a policy of the domain, not what it says about us.
    void blame(const Hop& hop, HostTrouble trouble) {
        at_fault = trouble;
        const bool is_alone = hop.addresses.size() < 2 && (to.plan == nullptr || to.plan->mx.hosts.size() < 2);
        if (!is_alone && !core.stopping.is_set()) core.hosts.failed(hop.at.to_string(), trouble, core.now());
    }
    // It has not what this domain demands of it.
    void blame_for_domain(HostTrouble trouble) {
        at_fault = trouble;
        is_of_domain = true;
    }
    bool may_dial() const { return dials < kDialsMax && !core.stopping.is_set() && !said_for_all; }

    Core& core;
    const Destination& to;
    const Target& target;
    Dialogue& dialogue;
    Connected result;
    std::size_t dials = 0;
    std::optional<HostTrouble> at_fault;  // of the host whose turn it is
    bool is_of_domain = false;            // that fault
    bool said_for_all = false;            // the other hosts of the site would say the same
    bool any = false;
    bool all_refused = true;
};

bool is_ours(const net::IpAddress& address) {
    return address.is_loopback() || address.is_private() || address.is_unspecified();
}

std::string name_of(const std::string& host, const net::IpAddress& address) {
    return host.empty() ? address.to_literal() : fmt::format("{} [{}]", host, address.to_string());
}

// RFC 8689 4.2.1: what the sender required, this server cannot promise. Reports about such mail (null sender) are not
// thrown away for it (RFC 8689 5): their wish is none by then.
std::optional<Verdict> refuse_require_tls(const Attempt& attempt, Client& client) {
    if (attempt.to.wish != storage::TlsWish::require) return std::nullopt;
    if (!client.stream().tls() || !client.stream().tls()->peer_verified) {
        return Verdict(Fate::failed, "5.7.10",
                       fmt::format("The sender requires TLS all the way (REQUIRETLS), and {} cannot be reached so",
                                   attempt.result.remote));
    }
    if (!client.capabilities().require_tls) {
        return Verdict(
            Fate::failed, "5.7.30",
            fmt::format("The sender requires TLS all the way (REQUIRETLS), which {} does not promise to keep",
                        attempt.result.remote));
    }
    return std::nullopt;
}

// RFC 8689 4.2.1: a host that cannot be reached over TLS will not do, today or tomorrow. Where no host of the domain
// will, the sender is told.
Verdict under_wish(const Attempt& attempt, Verdict verdict) {
    if (attempt.to.wish != storage::TlsWish::require || attempt.to.plan == nullptr || !verdict.no_tls) return verdict;
    return Verdict(Fate::failed, "5.7.10",
                   "The sender requires TLS all the way (REQUIRETLS), which cannot be had: " + verdict.reply);
}

bool counts_for_report(const Destination& to, const std::string& host, const Client& client) {
    if (to.plan == nullptr || host.empty() || !client.tls_tried()) return false;
    return to.wish != storage::TlsWish::best_effort;  // RFC 8460 3: reports do not report on themselves
}

TlsSession session_of(const Destination& to, const HostTls& asked, const std::string& host, Client& client) {
    TlsSession session;
    session.domain = to.plan->domain;
    session.mx_host = host;
    session.receiving_ip = client.stream().peer().address.to_string();
    session.sending_ip = client.stream().local().address.to_string();
    session.judgement = judge(asked, client.tls_started(), client.stream().tls(), client.tls_error());
    return session;
}

void tell_how_tls_went(Attempt& attempt, const HostTls& asked, const std::string& host, Connection& connection) {
    if (!counts_for_report(attempt.to, host, connection.client())) return;
    connection.begin_for(attempt.to.plan->domain);
    attempt.core.tally.add(asked, session_of(attempt.to, asked, host, connection.client()));
}

// For good, and for what it thinks of our address: a host that takes no mail from anybody is another matter.
bool refuses_our_address(const Verdict& verdict, std::string_view host) {
    if (!verdict.from_remote || verdict.fate != Fate::failed) return false;
    bounce::ReplyFacts facts;
    facts.code = verdict.code;
    facts.enhanced = verdict.enhanced;
    facts.text = verdict.reply;
    facts.host = host;
    return bounce::classify(facts).what == bounce::ReplyClass::ip_blocked;
}

// It let us connect, and no further.
void blame_for(Attempt& attempt, const Hop& hop, const Verdict& verdict) {
    if (names_our_pace(verdict, hop.host)) {
        const smtp::Provider* const provider = attempt.to.plan ? attempt.to.plan->provider : nullptr;
        attempt.said_for_all = provider != nullptr && provider->any_host;
        hop_spoke_of_pace(attempt.core, hop);
    } else if (attempt.to.plan != nullptr && verdict.no_tls) {
        attempt.blame_for_domain(HostTrouble::unreached);
    } else if (verdict.said.empty()) {  // a login that was refused is ours to mend
        attempt.blame(hop, turns_away(verdict, hop.host) ? HostTrouble::broke_off : HostTrouble::unreached);
    }
}

// Dials one address and opens the dialogue. True where the attempt has its connection.
net::Task<bool> try_address(Attempt& attempt, Hop hop, ClientOptions options, HostTls asked) {
    ++attempt.dials;
    const net::Endpoint to = hop.at;
    const std::string host = hop.host;
    attempt.result.remote = name_of(host, to.address);
    net::DialOptions dial_options;
    dial_options.source = attempt.target.source;
    auto stream = co_await attempt.core.deps.dialer->dial(to, dial_options);
    if (!stream) {
        attempt.dialogue.note(fmt::format("no connection to {}: {}", attempt.result.remote, stream.error().context));
        attempt.missed(Verdict(
            Fate::deferred, "4.4.1",
            fmt::format("No connection to {} port {}: {}", attempt.result.remote, to.port, stream.error().context)));
        attempt.blame(hop, HostTrouble::unreached);
        co_return false;
    }
    attempt.dialogue.note(fmt::format("connected to {} port {}", attempt.result.remote, to.port));
    const bool may_retry = options.tls == TlsUse::opportunistic;
    ClientOptions again = options;
    auto connection =
        std::make_unique<Connection>(attempt.core, std::make_unique<Client>(*std::move(stream), std::move(options)),
                                     attempt.result.remote, hop, asked);
    auto failed = co_await connection->client().open(attempt.dialogue);
    const bool again_whole = failed && failed->retry_whole && attempt.dials < kDialsMax;
    if (!again_whole) tell_how_tls_went(attempt, asked, host, *connection);
    if (!failed) {
        if (auto refused = refuse_require_tls(attempt, connection->client())) {
            attempt.dialogue.note(refused->reply);
            attempt.missed(*std::move(refused));
            co_await connection->client().quit();
            co_return false;
        }
        attempt.result.connection = std::move(connection);
        co_return true;
    }
    connection.reset();
    if (again_whole) {
        attempt.dialogue.note("trying again with a whole TLS handshake");
        co_return co_await try_address(attempt, std::move(hop), std::move(again), std::move(asked));
    }
    if (refuses_our_address(failed->verdict, host)) {
        attempt.result.turned_away.emplace();
        attempt.result.turned_away->reply = failed->verdict.reply;
        attempt.result.turned_away->remote = attempt.result.remote;
    }
    const bool in_clear = failed->retry_in_clear && may_retry;
    if (!in_clear) blame_for(attempt, hop, failed->verdict);
    attempt.missed(under_wish(attempt, std::move(failed->verdict)));
    if (!in_clear) co_return false;
    attempt.dialogue.note("trying again without TLS");
    again.tls = TlsUse::never;
    co_return co_await try_address(attempt, std::move(hop), std::move(again), std::move(asked));
}

ClientOptions base_options(const Core& core, const Target& target) {
    ClientOptions out;
    out.hostname = target.ehlo_name.empty() ? core.deps.hostname : target.ehlo_name;
    out.timeouts = core.deps.options.timeouts;
    return out;
}

// What a host is asked for in the terms of the client. The context is the one that lets every certificate pass: the
// client judges by the facts, so that a report can say what was wrong.
ClientOptions mx_options(const Attempt& attempt, const MxHost& host, const HostTls& asked) {
    ClientOptions out = base_options(attempt.core, attempt.target);
    out.context = attempt.core.deps.opportunistic_tls;
    switch (asked.level) {
        case TlsLevel::opportunistic: out.tls = out.context == nullptr ? TlsUse::never : TlsUse::opportunistic; break;
        case TlsLevel::encrypted: out.tls = TlsUse::encrypted; break;
        case TlsLevel::verified: out.tls = TlsUse::required; break;
    }
    out.server_name = host.name;
    if (!asked.peer.tlsa.empty()) out.peer = asked.peer;
    out.demanded_by = asked.by;
    return out;
}

// True where this host may be dialled; else it is settled.
bool admit_host(Attempt& attempt, const MxHost& host, const HostTls& asked) {
    if (!asked.unusable) return true;
    attempt.dialogue.note(asked.unusable->reply);
    attempt.missed(under_wish(attempt, *asked.unusable));
    if (attempt.to.wish == storage::TlsWish::require) return false;
    TlsSession session;
    session.domain = attempt.to.plan->domain;
    session.mx_host = host.name;
    session.judgement.result = asked.unusable_result;
    session.judgement.reason = asked.unusable->reply;
    attempt.core.tally.add(asked, session);
    return false;
}

Verdict wrong_family(const Attempt& attempt, const std::string& host) {
    const auto& source = attempt.target.source;
    const bool from_v6 = source && source->family() == net::IpAddress::Family::v6;
    Verdict out(Fate::deferred, "4.4.4",
                source ? fmt::format("The mail server {} has no {} address, and we send from {}", host,
                                     from_v6 ? "IPv6" : "IPv4", source->to_string())
                       : fmt::format("The mail server {} refuses us over IPv6 and has no IPv4 address", host));
    out.wrong_family = true;
    return out;
}

net::Task<bool> try_mx_host(Attempt& attempt, MxHost host) {
    const RelayOptions& options = attempt.core.deps.options;
    std::optional<dns::Answer<net::IpAddress>> answer;
    if (!host.name.empty()) {
        auto found = co_await attempt.core.deps.resolver->addresses(host.name);
        if (!found && found.error().code == Errc::dns_bogus && !co_await resolver_validates(attempt.core)) {
            found = co_await attempt.core.deps.resolver->addresses(host.name);
        }
        if (!found) {
            attempt.at_fault = HostTrouble::unreached;
            attempt.missed(
                Verdict(Fate::deferred, "4.4.3",
                        fmt::format("The DNS gives no address of {} now: {}", host.name, found.error().context)));
            co_return false;
        }
        host.addresses = found->records;
        answer = *std::move(found);
    }
    if (host.addresses.empty()) {
        attempt.at_fault = HostTrouble::unreached;
        attempt.missed(Verdict(Fate::failed, "5.4.4", fmt::format("The mail server {} has no address", host.name)));
        co_return false;
    }
    const std::string& domain = attempt.to.plan->domain;
    HostTls asked = co_await find_host_tls(*attempt.core.deps.resolver, attempt.to.plan->demand, attempt.to.wish,
                                           domain, host.name, options.mx_port, answer);
    if (asked.unusable && asked.unusable_result == policy::TlsResult::dnssec_invalid) {
        const bool works = co_await resolver_validates(attempt.core);
        TlsDemand demand = attempt.to.plan->demand;
        demand.mx_secure = demand.mx_secure && works;
        asked = co_await find_host_tls(*attempt.core.deps.resolver, std::move(demand), attempt.to.wish, domain,
                                       host.name, options.mx_port, std::move(answer));
    }
    if (!admit_host(attempt, host, asked)) co_return false;
    Hop hop;
    hop.host = host.name;
    hop.addresses = dialled_addresses(attempt.core, attempt.target, attempt.to.plan->site, host.addresses);
    std::vector<net::IpAddress> addresses = hop.addresses;
    if (addresses.empty()) attempt.missed(wrong_family(attempt, host.name));
    attempt.core.hosts.order(addresses, options.mx_port, attempt.core.now());
    for (const net::IpAddress& address : addresses) {
        if (!attempt.may_dial()) co_return false;
        if (!address.is_public() && !options.allow_loopback) {
            attempt.missed(Verdict(Fate::failed, "5.4.4",
                                   fmt::format("The mail server {} of {} has the address {}, which is not a public one",
                                               host.name, attempt.to.plan->domain, address.to_string())));
            continue;
        }
        hop.at = net::Endpoint(address, options.mx_port);
        if (attempt.to.avoid == hop.at) continue;
        ClientOptions client = mx_options(attempt, host, asked);
        if (co_await try_address(attempt, hop, std::move(client), asked)) co_return true;
    }
    co_return false;
}

net::Task<void> connect_mx(Attempt& attempt) {
    Core& core = attempt.core;
    const DomainPlan& plan = *attempt.to.plan;
    if (plan.refusal) {
        attempt.dialogue.note(plan.refusal->reply);
        attempt.missed(*plan.refusal);
        co_return;
    }
    std::vector<MxHost> hosts = dial_order(plan.mx, *core.deps.random);
    core.hosts.order(hosts, plan.domain, core.now());
    for (const MxHost& host : hosts) {
        if (!attempt.may_dial()) co_return;
        attempt.at_fault.reset();
        attempt.is_of_domain = false;
        if (co_await try_mx_host(attempt, host)) co_return;
        if (!attempt.at_fault || hosts.size() < 2 || core.stopping.is_set()) continue;
        const std::string place =
            attempt.is_of_domain ? HostHealth::for_domain(host.name, plan.domain) : host.name;
        core.hosts.failed(place, *attempt.at_fault, core.now());
    }
}

// With the anchors of the way, and the certificate that it shows. Where a file of that was written anew it is read
// again; as long as it cannot be, the one of before is shown.
Result<net::TlsClientContext*> context_for(Core& core, const Target& target) {
    const std::string& ca_file = target.way.ca_file;
    net::TlsIdentity identity;
    identity.certificate_file = target.url.certificate_file;
    identity.key_file = target.url.key_file;
    if (ca_file.empty() && identity.certificate_file.empty()) return core.deps.verified_tls;
    auto& slot =
        core.contexts_by_files[fmt::format("{}\n{}\n{}", ca_file, identity.certificate_file, identity.key_file)];
    if (!slot) {
        const bool own_anchors = !ca_file.empty();
        TRY(slot, net::TlsClientContext::make(net::Verify::required, own_anchors ? ca_file : core.deps.ca_file,
                                              own_anchors ? net::Anchors::instead : net::Anchors::besides,
                                              std::move(identity)));
        return slot.get();
    }
    const auto refreshed = slot->refresh();
    if (!refreshed) log::error("relay", "way {}: {}", target.way.name, refreshed.error().context);
    return slot.get();
}

// Everything about a relay host that is wrong is for the administrator to mend: put off, never a bounce.
Result<ClientOptions> relay_options(Core& core, const Target& target) {
    ClientOptions out = base_options(core, target);
    out.server_name = target.url.tls_name;
    switch (target.url.security) {
        case smtp::RelayUrl::Security::plain: out.tls = TlsUse::never; break;
        case smtp::RelayUrl::Security::starttls: out.tls = TlsUse::required; break;
        case smtp::RelayUrl::Security::implicit_tls: out.tls = TlsUse::implicit; break;
    }
    if (out.tls != TlsUse::never) {
        TRY(out.context, context_for(core, target));
    }
    // With XOAUTH2 a token takes the place of the password; it is fetched before each connection.
    if (target.url.needs_password() && target.way.oauth.token_url.empty()) {
        if (target.way.sealed_secret.empty()) {
            return Error(Errc::unauthenticated, fmt::format("the way \"{}\" has no password", target.way.name));
        }
        TRY(std::string password, crypto::unseal(core.deps.store->sealing_key(), "route", target.way.sealed_secret));
        out.credentials = sasl::ClientLogin(target.url.user, std::move(password));
    }
    return out;
}

net::Task<Result<std::vector<net::IpAddress>>> relay_addresses(Core& core, std::string host) {
    if (const auto address = net::IpAddress::parse(host)) co_return std::vector{*address};
    if (host == "localhost") co_return std::vector{net::IpAddress::v4(0x7f000001)};  // RFC 6761 6.3
    auto found = co_await core.deps.resolver->addresses(host);
    if (!found) co_return Error(found.error());
    if (found->records.empty()) co_return Error(Errc::not_found, fmt::format("the host {} has no address", host));
    co_return std::move(found->records);
}

net::Task<void> connect_relay(Attempt& attempt) {
    const smtp::RelayUrl& url = attempt.target.url;
    auto options = relay_options(attempt.core, attempt.target);
    if (!options) {
        attempt.missed(Verdict(Fate::deferred, "4.3.5", "The relay cannot be used: " + options.error().context));
        co_return;
    }
    if (url.needs_password() && !attempt.target.way.oauth.token_url.empty()) {
        auto token = co_await attempt.core.tokens.get(attempt.core, attempt.target.way);
        if (!token) {
            Verdict verdict(Fate::deferred, "4.7.8", "The relay cannot be used: " + token.error().context);
            verdict.said = token.error().context;
            attempt.missed(std::move(verdict));
            co_return;
        }
        options->credentials = sasl::ClientLogin(url.user, "");
        options->credentials->token = *std::move(token);
    }
    auto addresses = co_await relay_addresses(attempt.core, url.host);
    if (!addresses) {
        attempt.missed(
            Verdict(Fate::deferred, "4.4.3", fmt::format("The relay {}: {}", url.host, addresses.error().context)));
        co_return;
    }
    Hop hop;
    hop.host = net::IpAddress::parse(url.host) ? "" : url.host;
    hop.addresses = *addresses;
    attempt.core.hosts.order(*addresses, url.port, attempt.core.now());
    for (const net::IpAddress& address : *addresses) {
        if (!attempt.may_dial()) co_return;
        if (url.security == smtp::RelayUrl::Security::plain && !is_ours(address)) {
            attempt.missed(Verdict(
                Fate::deferred, "4.3.5",
                fmt::format("smtp+plain:// is for private networks only, and {} is not in one", address.to_string())));
            continue;
        }
        hop.at = net::Endpoint(address, url.port);
        if (attempt.to.avoid == hop.at) continue;
        ClientOptions client = *options;
        if (co_await try_address(attempt, hop, std::move(client), HostTls())) co_return;
        if (!attempt.result.verdict.said.empty() && options->credentials) {
            attempt.core.tokens.drop(attempt.target.way.name, options->credentials->token);
        }
    }
}

}  // namespace

net::Task<Connected> connect(Core& core, const Destination& to, Dialogue& dialogue) {
    Attempt attempt(core, to, dialogue);
    if (to.plan != nullptr) {
        co_await connect_mx(attempt);
    } else {
        co_await connect_relay(attempt);
    }
    Verdict& verdict = attempt.result.verdict;
    if (!attempt.any) verdict = Verdict(Fate::deferred, "4.3.2", "The server is stopping");
    // Whatever else a smarthost refuses is ours to mend; that it keeps no promise of TLS is not.
    const bool no_promise = !verdict.from_remote && (verdict.enhanced == "5.7.30" || verdict.enhanced == "5.7.10");
    const bool may_fail = (to.plan != nullptr || no_promise) && attempt.all_refused;
    if (verdict.fate == Fate::failed && !may_fail) verdict.fate = Fate::deferred;
    if (verdict.fate == Fate::delivered) verdict.fate = Fate::deferred;
    co_return std::move(attempt.result);
}

net::Task<void> count_reuse(Core& core, Connection& connection, Destination to) {
    const std::string host = connection.hop().host;
    if (!counts_for_report(to, host, connection.client())) co_return;
    if (!connection.begin_for(to.plan->domain)) co_return;
    std::optional<dns::Answer<net::IpAddress>> answer;
    if (to.plan->demand.mx_secure) {
        auto found = co_await core.deps.resolver->addresses(host);
        if (found) answer = *std::move(found);
    }
    const HostTls asked = co_await find_host_tls(*core.deps.resolver, to.plan->demand, to.wish, to.plan->domain, host,
                                                 connection.hop().at.port, std::move(answer));
    core.tally.add_again(asked, session_of(to, asked, host, connection.client()));
}

bool has_other_hop(const Core& core, const Destination& to, const Hop& hop) {
    const Time now = core.now();
    const bool has_address = std::ranges::any_of(hop.addresses, [&](const net::IpAddress& one) {
        return one != hop.at.address && !core.hosts.is_quarantined(net::Endpoint(one, hop.at.port).to_string(), now);
    });
    if (has_address || to.plan == nullptr) return has_address;
    return std::ranges::any_of(to.plan->mx.hosts, [&](const MxHost& one) {
        return !ascii::equals_ci(one.name, hop.host) && !core.hosts.is_quarantined(one.name, now);
    });
}

void hop_failed(Core& core, const Hop& hop, HostTrouble trouble) {
    const Time now = core.now();
    core.hosts.failed(hop.at.to_string(), trouble, now);
    const bool all_bad = std::ranges::all_of(hop.addresses, [&](const net::IpAddress& one) {
        return core.hosts.is_quarantined(net::Endpoint(one, hop.at.port).to_string(), now);
    });
    if (all_bad && !hop.host.empty()) core.hosts.failed(hop.host, trouble, now);
}

void hop_spoke_of_pace(Core& core, const Hop& hop) {
    if (core.hosts.spoke_of_pace(hop.at.to_string())) hop_failed(core, hop, HostTrouble::broke_off);
}

void hop_served(Core& core, const Hop& hop) {
    core.hosts.served(hop.at.to_string());
    core.hosts.served(hop.host);
}

}  // namespace posthouse::relay
