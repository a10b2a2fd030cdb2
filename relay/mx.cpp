#include "relay/mx.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"

namespace posthouse::relay {

namespace {

Verdict dns_trouble(std::string_view domain, const Error& error) {
    // RFC 3463 3.5: 4.4.3 is a directory server failure.
    Verdict out(Fate::deferred, "4.4.3", fmt::format("The DNS of {} gives no answer now: {}", domain, error.context));
    out.bogus_dns = error.code == Errc::dns_bogus;
    return out;
}

Verdict no_such_domain(std::string_view domain) {
    return Verdict(Fate::failed, "5.1.2", fmt::format("The domain {} does not exist", domain));
}

// "[192.0.2.1]" or "[IPv6:2001:db8::1]"                                    RFC 5321 4.1.3
std::optional<net::IpAddress> literal(std::string_view domain) {
    if (!domain.starts_with('[') || !domain.ends_with(']')) return std::nullopt;
    std::string_view inner = domain.substr(1, domain.size() - 2);
    if (ascii::starts_with_ci(inner, "IPv6:")) inner.remove_prefix(5);
    const auto address = net::IpAddress::parse(inner);
    return address ? std::optional(*address) : std::nullopt;
}

template <class T>
void shuffle(std::span<T> items, Random& random) {
    for (std::size_t i = items.size(); i > 1; --i) {
        std::swap(items[i - 1], items[static_cast<std::size_t>(random.below(i))]);
    }
}

// Items are sorted by preference; those of one preference get a random order.
template <class T>
void shuffle_within(std::span<T> items, Random& random) {
    for (std::size_t from = 0; from < items.size();) {
        std::size_t to = from;
        while (to < items.size() && items[to].preference == items[from].preference) ++to;
        shuffle(items.subspan(from, to - from), random);
        from = to;
    }
}

}  // namespace

std::vector<MxHost> dial_order(const MxPlan& plan, Random& random) {
    std::vector<MxHost> out = plan.hosts;
    shuffle_within(std::span(out), random);
    return out;
}

MxAnswer order_mx(std::vector<dns::MxRecord> records, std::string_view domain, std::string_view own_name,
                  Random& random) {
    // RFC 7505 3: a null MX stands alone. Beside real hosts it is a mistake, and the real ones count.
    if (records.size() == 1 && records.front().host.empty()) {
        return Verdict(Fate::failed, "5.1.10", fmt::format("The domain {} takes no mail (null MX)", domain));
    }
    std::erase_if(records, [](const dns::MxRecord& r) { return r.host.empty(); });
    std::ranges::sort(records, {}, &dns::MxRecord::preference);
    // RFC 5321 5.1: those at our own preference or behind it would only bring the message back.
    const auto own = std::ranges::find_if(records, [&](const auto& r) { return ascii::equals_ci(r.host, own_name); });
    if (own != records.end()) {
        const std::uint16_t limit = own->preference;
        std::erase_if(records, [&](const dns::MxRecord& r) { return r.preference >= limit; });
    }
    if (records.empty()) {
        return Verdict(Fate::failed, "5.4.6",
                       fmt::format("Mail for {} loops: its MX is this server, which has no such domain", domain));
    }
    shuffle_within(std::span(records), random);
    if (records.size() > kMxHostsMax) records.resize(kMxHostsMax);
    MxPlan plan;
    std::vector<std::string> names;
    for (const dns::MxRecord& record : records) {
        plan.hosts.push_back(MxHost{ascii::to_lower(record.host), {}, record.preference});
        names.push_back(plan.hosts.back().name);
    }
    std::ranges::sort(names);
    for (const std::string& name : names) plan.site += name + " ";
    return plan;
}

net::Task<MxAnswer> plan_mx(dns::Resolver& resolver, std::string domain, std::string own_name, Random& random) {
    if (const auto address = literal(domain)) {
        MxPlan plan;
        plan.hosts.push_back(MxHost{"", {*address}, 0});
        plan.site = domain;
        co_return MxAnswer(std::move(plan));
    }
    if (domain.empty() || domain.starts_with('[')) {
        co_return MxAnswer(Verdict(Fate::failed, "5.1.2", fmt::format("\"{}\" is not a domain", domain)));
    }
    const auto mx = co_await resolver.mx(domain);
    if (!mx) co_return MxAnswer(dns_trouble(domain, mx.error()));
    if (!mx->name_exists) co_return MxAnswer(no_such_domain(domain));
    if (!mx->records.empty()) {
        auto ordered = order_mx(mx->records, domain, own_name, random);
        if (auto* plan = std::get_if<MxPlan>(&ordered)) plan->secure = mx->secure;
        co_return ordered;
    }
    // The implicit MX, only where there is none at all.
    const auto addresses = co_await resolver.addresses(domain);
    if (!addresses) co_return MxAnswer(dns_trouble(domain, addresses.error()));
    if (!addresses->name_exists) co_return MxAnswer(no_such_domain(domain));
    if (addresses->records.empty()) {
        co_return MxAnswer(Verdict(Fate::failed, "5.1.2",
                                   fmt::format("The domain {} has neither a mail server (MX) nor an address", domain)));
    }
    MxPlan plan;
    plan.hosts.push_back(MxHost{domain, addresses->records, 0});
    plan.site = domain;
    plan.secure = mx->secure && addresses->secure;
    co_return MxAnswer(std::move(plan));
}

}  // namespace posthouse::relay
