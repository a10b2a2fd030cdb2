#include "relay/host_health.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace posthouse::relay {

namespace {

Milliseconds first_span(HostTrouble trouble) {
    switch (trouble) {
        case HostTrouble::unreached: return HostHealth::kFirst;
        case HostTrouble::held_up: return HostHealth::kFirstHeldUp;
        case HostTrouble::broke_off: return HostHealth::kFirstBrokeOff;
    }
    return HostHealth::kFirst;
}

}  // namespace

HostHealth::Bad& HostHealth::record(std::string_view place) {
    if (places_.size() >= kHostsMax && !places_.contains(place)) {
        places_.erase(std::ranges::min_element(places_, {}, [](const auto& one) { return one.second.until; }));
    }
    return places_.try_emplace(std::string(place)).first->second;
}

void HostHealth::failed(std::string_view place, HostTrouble trouble, Time now) {
    Bad& bad = record(place);
    const bool is_long_ago = now - bad.until > kMax;
    const Milliseconds first = first_span(trouble);
    bad.span = is_long_ago ? first : std::clamp(bad.span * 2, first, kMax);
    bad.until = now + bad.span;
}

bool HostHealth::spoke_of_pace(std::string_view place) {
    Bad& bad = record(place);
    if (++bad.pace < kPaceMax) return false;
    bad.pace = 0;
    return true;
}

void HostHealth::served(std::string_view place) {
    if (const auto found = places_.find(place); found != places_.end()) places_.erase(found);
}

bool HostHealth::is_quarantined(std::string_view place, Time now) const {
    const auto found = places_.find(place);
    return found != places_.end() && found->second.until > now;
}

namespace {

template <class T>
void put_last(std::vector<T>& all, const auto& is_bad) {
    std::vector<T> last;
    std::vector<T> out;
    for (T& one : all) (is_bad(one) ? last : out).push_back(std::move(one));
    std::ranges::move(last, std::back_inserter(out));
    all = std::move(out);
}

}  // namespace

std::string HostHealth::for_domain(std::string_view host, std::string_view domain) {
    return fmt::format("{} for {}", host, domain);
}

void HostHealth::order(std::vector<MxHost>& hosts, std::string_view domain, Time now) const {
    if (places_.empty()) return;
    put_last(hosts, [&](const MxHost& host) {
        return is_quarantined(host.name, now) || is_quarantined(for_domain(host.name, domain), now);
    });
}

void HostHealth::order(std::vector<net::IpAddress>& addresses, std::uint16_t port, Time now) const {
    if (places_.empty()) return;
    put_last(addresses, [&](const net::IpAddress& one) {
        return is_quarantined(net::Endpoint(one, port).to_string(), now);
    });
}

}  // namespace posthouse::relay
