#include "server/auth/failures.h"

namespace posthouse::server {

namespace {

constexpr std::chrono::minutes kMinute{1};
constexpr std::chrono::hours kHour{1};
constexpr std::chrono::hours kDay{24};

}  // namespace

void Failures::Window::add(Time now, std::chrono::milliseconds span) {
    if (now - start >= span) {
        start = now;
        count = 0;
    }
    ++count;
}

// One household or one rented host: a /32, or the /64 that every IPv6 customer has to himself.
net::IpAddress Failures::network_of(net::IpAddress peer) {
    return peer.masked(peer.family() == net::IpAddress::Family::v4 ? 32 : 64);
}

bool Failures::is_known(const std::string& login, net::IpAddress network) const {
    return known_.values.contains(std::pair(login, network));
}

bool Failures::allowed(const std::string& login, net::IpAddress peer, Time now) const {
    const net::IpAddress network = network_of(peer);
    const auto from = networks_.values.find(network);
    if (from != networks_.values.end()) {
        if (from->second.minute.in(now, kMinute) >= limits_.network_minute_max) return false;
        if (from->second.day.in(now, kDay) >= limits_.network_day_max) return false;
    }
    // Guessing from everywhere must not lock the owner out of where he always comes from.
    if (is_known(login, network)) return true;
    const auto account = accounts_.values.find(login);
    return account == accounts_.values.end() || account->second.in(now, kHour) < limits_.account_hour_max;
}

void Failures::failed(const std::string& login, net::IpAddress peer, Time now) {
    const net::IpAddress network = network_of(peer);
    Network& from = networks_.get(network, limits_.entries_max);
    from.minute.add(now, kMinute);
    from.day.add(now, kDay);
    if (!is_known(login, network)) accounts_.get(login, limits_.entries_max).add(now, kHour);
}

void Failures::forgive(const std::string& login, net::IpAddress peer) {
    const net::IpAddress network = network_of(peer);
    const auto from = networks_.values.find(network);
    if (from != networks_.values.end()) {
        from->second.minute.take_back();
        from->second.day.take_back();
    }
    const auto account = accounts_.values.find(login);
    if (account != accounts_.values.end() && !is_known(login, network)) account->second.take_back();
}

void Failures::succeeded(const std::string& login, net::IpAddress peer, Time) {
    known_.get(std::pair(login, network_of(peer)), limits_.entries_max) = true;
}

}  // namespace posthouse::server
