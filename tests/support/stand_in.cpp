#include "tests/support/stand_in.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace posthouse::test {

namespace {

// The same address has the same fate each time.
double place_of(std::string_view address, std::uint64_t salt) {
    SeededRandom random(std::hash<std::string_view>{}(address) ^ salt);
    return static_cast<double>(random.next() >> 11U) / 9007199254740992.0;
}

}  // namespace

std::uint64_t SeededRandom::next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
}

void SeededRandom::fill(std::span<unsigned char> out) {
    for (unsigned char& octet : out) octet = static_cast<unsigned char>(next() >> 56U);
}

std::string StandInSite::connect(std::size_t host) {
    if (fault(host) == BadHost::dead) return "";
    if (fault(host) == BadHost::turns_away) return "421 4.3.2 Service not available, closing transmission channel";
    ++asked_;
    if (traits.connections_max > 0 && connections_ >= traits.connections_max) {
        ++refused_;
        return traits.refuses_at_banner ? traits.cap_reply : "";
    }
    ++connections_;
    return "220 mx.stand-in.example ESMTP";
}

std::string StandInSite::mail(Time now, std::size_t sent) {
    if (traits.messages_max > 0 && sent >= traits.messages_max) return traits.full_reply;
    ++asked_;
    if (!traits.block.empty()) return traits.block;
    if (traits.rate <= 0) return "250 2.1.0 Ok";
    const auto now_ms = static_cast<double>(to_unix_ms(now));
    const double step = 1000.0 / traits.rate;
    const double wait = tat_ms_ - (traits.burst - 1) * step - now_ms;
    if (wait > 0) {
        ++refused_;
        const auto seconds = static_cast<std::int64_t>(wait / 1000.0) + 1;
        if (!traits.names_a_time) return traits.rate_reply;
        if (!traits.rate_reply.contains("{}")) {
            return fmt::format("451 4.7.1 Rate limit exceeded, please try again in {} seconds", seconds);
        }
        return fmt::format(fmt::runtime(traits.rate_reply), seconds);
    }
    tat_ms_ = std::max(tat_ms_, now_ms) + step;
    return "250 2.1.0 Ok";
}

std::string StandInSite::rcpt(std::string_view address, Time now) {
    if (place_of(address, 1) < traits.unknown)
        return "550 5.1.1 The email account that you tried to reach does not exist";
    if (traits.greylist.count() > 0) {
        const auto [seen, is_new] = first_seen_.try_emplace(std::string(address), now);
        if (is_new || now - seen->second < traits.greylist) return traits.greylist_reply;
    }
    const auto hour = static_cast<std::uint64_t>(to_unix_ms(now) / 3'600'000);
    if (place_of(address, hour) < traits.full) return "452 4.2.2 The recipient's mailbox is full";
    return "250 2.1.5 Ok";
}

std::string StandInSite::dot(std::string_view address) {
    if (random_.chance(traits.drop_in_data)) return "";
    ++taken_[std::string(address)];
    ++taken_total_;
    if (random_.chance(traits.silent_after_data)) return "";
    if (traits.drop_after_data > 0 && random_.chance(traits.drop_after_data)) return "";
    return "250 2.0.0 Ok: queued";
}

std::size_t StandInSite::taken(std::string_view address) const {
    const auto found = taken_.find(address);
    return found == taken_.end() ? 0 : found->second;
}

std::size_t StandInSite::unsaid(std::string_view address) const {
    const auto found = unsaid_.find(address);
    return found == unsaid_.end() ? 0 : found->second;
}

}  // namespace posthouse::test
