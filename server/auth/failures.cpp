#include "server/auth/failures.h"

#include <algorithm>

namespace posthouse::server {

namespace {

constexpr std::chrono::minutes kMinute{1};
constexpr std::chrono::hours kHour{1};
constexpr std::chrono::hours kDay{24};
constexpr std::uint32_t kWider = 3;  // times the guesses, each step

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

std::array<Failures::Around, Failures::kWidths> Failures::around(const net::IpAddress& network) {
    constexpr std::array<unsigned, kWidths> kBitsV4 = {32, 26, 21};
    constexpr std::array<unsigned, kWidths> kBitsV6 = {64, 48, 32};
    const bool v4 = network.family() == net::IpAddress::Family::v4;
    std::array<Around, kWidths> out;
    for (std::size_t width = 0; width < kWidths; ++width) {
        out[width] = Around(width, network.masked(v4 ? kBitsV4[width] : kBitsV6[width]));
    }
    return out;
}

bool Failures::is_known(const std::string& login, net::IpAddress network) const {
    return known_.values.contains(std::pair(login, network));
}

template <class Key>
static std::uint32_t judged(const std::map<Key, std::uint32_t>& counts, const Key& key) {
    const auto at = counts.find(key);
    return at == counts.end() ? 0 : at->second;
}

Failures::Verdict Failures::judge(const std::string& login, net::IpAddress peer, Time now) const {
    Verdict out = Verdict::allowed;
    const auto look = [&](std::uint32_t count, std::uint32_t most, std::uint32_t open) {
        if (count < most || out == Verdict::refused) return;
        out = count - std::min(count, open) < most ? Verdict::wait : Verdict::refused;
    };
    const net::IpAddress network = network_of(peer);
    // Guessing from everywhere must not lock the owner out of where he always comes from. A token may name nobody.
    const bool known = !login.empty() && is_known(login, network);
    std::uint32_t times = 1;
    for (const Around& one : around(network)) {
        const auto from = networks_.values.find(one);
        if (from != networks_.values.end() && (one.first == 0 || !known)) {
            const std::uint32_t open = judged(judged_networks_, one);
            look(from->second.minute.in(now, kMinute), limits_.network_minute_max * times, open);
            look(from->second.day.in(now, kDay), limits_.network_day_max * times, open);
        }
        times *= kWider;
    }
    if (login.empty() || known) return out;
    const auto account = accounts_.values.find(login);
    if (account == accounts_.values.end()) return out;
    look(account->second.in(now, kHour), limits_.account_hour_max, judged(judged_accounts_, login));
    return out;
}

Failures::Charge Failures::charge(const std::string& login, net::IpAddress peer, Time now) {
    Charge out(network_of(peer), login, false);
    out.on_account = !login.empty() && !is_known(login, out.network);
    for (const Around& one : around(out.network)) {
        Network& from = networks_.get(one, limits_.entries_max);
        from.minute.add(now, kMinute);
        from.day.add(now, kDay);
        ++judged_networks_[one];
    }
    if (!out.on_account) return out;
    accounts_.get(login, limits_.entries_max).add(now, kHour);
    ++judged_accounts_[login];
    return out;
}

void Failures::settle(const Charge& charge) {
    for (const Around& one : around(charge.network)) {
        const auto network = judged_networks_.find(one);
        if (--network->second == 0) judged_networks_.erase(network);
    }
    if (!charge.on_account) return;
    const auto account = judged_accounts_.find(charge.login);
    if (--account->second == 0) judged_accounts_.erase(account);
}

void Failures::confirm(const Charge& charge) { settle(charge); }

void Failures::forgive(const Charge& charge) {
    settle(charge);
    for (const Around& one : around(charge.network)) {
        const auto from = networks_.values.find(one);
        if (from == networks_.values.end()) continue;
        from->second.minute.take_back();
        from->second.day.take_back();
    }
    if (!charge.on_account) return;
    const auto account = accounts_.values.find(charge.login);
    if (account != accounts_.values.end()) account->second.take_back();
}

void Failures::succeeded(const std::string& login, net::IpAddress peer, Time) {
    known_.get(std::pair(login, network_of(peer)), limits_.entries_max) = true;
}

}  // namespace posthouse::server
