#include "relay/family.h"

#include <algorithm>

#include "protocols/base/log.h"
#include "relay/core.h"
#include "relay/job.h"
#include "relay/way_book.h"
#include "storage/await.h"

namespace posthouse::relay {

using Family = net::IpAddress::Family;

std::vector<net::IpAddress> dialled_addresses(const Core& core, const Target& target, std::string_view site,
                                              const std::vector<net::IpAddress>& addresses) {
    std::vector<net::IpAddress> out = addresses;
    if (target.source) {
        const Family own = target.source->family();
        std::erase_if(out, [own](const net::IpAddress& one) { return one.family() != own; });
    } else if (core.ways.keeps_off_ipv6(target.way.name, site)) {
        std::erase_if(out, [](const net::IpAddress& one) { return one.family() == Family::v6; });
    }
    return out;
}

bool is_over_ipv6(std::string_view remote) {
    const std::size_t open = remote.rfind('[');
    return open != std::string_view::npos && remote.find(':', open) != std::string_view::npos;
}

net::Task<bool> keep_off_ipv6(Core& core, const Job& job, std::vector<Settled>& settled) {
    if (!job.target.is_mx() || job.target.source || !job.plan || core.stopping.is_set()) co_return false;
    storage::Memory memory;
    for (const Settled& one : settled) {
        if (!is_over_ipv6(one.remote) || learn(job.target, one.verdict, false).kind != Lesson::Kind::refused_here)
            continue;
        memory.reply = one.verdict.reply;
    }
    if (memory.reply.empty()) co_return false;
    memory.way = job.target.way.name;
    memory.source = kIpv6;
    memory.site = job.plan->site;
    memory.since = core.now();
    memory.probe = core.now() + kKeepOff;
    memory.tries = 1;
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [memory](storage::Tx& tx) { return storage::RouteTx(tx).remember(memory); };
    const auto written =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!written) {
        log::error("relay", "what was learned of IPv6 cannot be written: {}", written.error().context);
        co_return false;
    }
    log::warn("relay", "{} refuses us over IPv6 and is dialled over IPv4 from now on: {}", memory.site, memory.reply);
    core.ways.keep_off_ipv6(memory);
    for (Settled& one : settled) {
        const bool refused = learn(job.target, one.verdict, false).kind == Lesson::Kind::refused_here;
        if (is_over_ipv6(one.remote) && refused) one.another_way = true;
    }
    co_return true;
}

}  // namespace posthouse::relay
