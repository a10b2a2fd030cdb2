#include "admin/cli/dns_facts.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

#include "protocols/smtp/presets.h"
#include "storage/route_match.h"
#include "storage/transport.h"

namespace posthouse::admin {

Result<DomainFacts> load_domain_facts(storage::Store& store, const Settings& settings, const std::string& domain) {
    return store.read([&](const storage::Snapshot& snapshot) -> Result<DomainFacts> {
        DomainFacts facts;
        TRY(const storage::Domain found, snapshot.catalog().domain(domain));
        TRY(const auto keys, snapshot.catalog().dkim_keys());
        TRY(const auto routes, storage::RouteView(snapshot).routes());
        TRY(const auto ways, storage::RouteView(snapshot).ways());
        facts.domain = found.name;
        facts.is_hosted = found.is_hosted;
        TRY(const auto sts, storage::TransportView(snapshot).sts_served(found.name));
        if (sts) facts.sts_id = sts->id;
        facts.hostname = settings.hostname;
        for (const storage::DkimKey& key : keys) {
            const bool shown =
                key.active || key.state == storage::DkimState::pending || key.state == storage::DkimState::retiring;
            if (key.domain != found.id || !shown) continue;
            facts.keys.push_back({key.selector, key.dns_record, std::string(storage::to_string(key.state))});
        }
        // Where mail of this domain to the world at large goes: no recipient domain is named like this one.
        const std::string from = "postmaster@" + found.name;
        const storage::Route* const route = storage::match_route(routes, storage::MailFacts(from, "someone@invalid"));
        if (route == nullptr) return facts;
        for (const storage::Step& step : route->steps) {
            for (const storage::Step::Share& share : step.shares) {
                const auto way = storage::find_way(ways, share.way);
                if (!way || way->kind != storage::WayKind::smarthost) continue;
                const smtp::Preset* const preset = smtp::find_preset(way->preset);
                const std::string include = preset == nullptr ? std::string() : smtp::spf_include_of(*preset);
                facts.relays.push_back({relay_host_of(way->url), include.empty() ? include : "include:" + include});
            }
        }
        return facts;
    });
}

RecordStatus look_up_key(Lookup& lookup, const storage::DkimKey& key) {
    DnsRecord wanted;
    wanted.name = fmt::format("{}._domainkey.{}", key.selector, key.domain_name);
    wanted.type = "TXT";
    wanted.value = key.dns_record;
    const auto found = lookup.ask(wanted.type, wanted.name);
    return found ? judge_record(wanted, *found).status : RecordStatus::unknown;
}

Result<std::unique_ptr<Lookup>> make_lookup(const Settings& settings) {
    dns::ResolverOptions options;
    options.servers = settings.dns_servers;
    options.trust_anchor_file = settings.dns_trust_anchor;
    std::ifstream anchor(settings.dns_trust_anchor);
    options.trust_anchor_zone = dns::anchor_zone(std::string(std::istreambuf_iterator<char>(anchor), {}));
    options.ask_loopback = settings.dns_ask_loopback;
    return Lookup::make(std::move(options));
}

std::string records_text(const std::vector<DnsRecord>& records) {
    std::string out;
    for (const DnsRecord& record : records) {
        const std::string_view need = record.need == Need::advised ? "advised: " : "";
        out += fmt::format("{}; {}{}\n{}\n", out.empty() ? "" : "\n", need, record.why, zone_line(record));
    }
    return out;
}

}  // namespace posthouse::admin
