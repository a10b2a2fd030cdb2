#pragma once
/// protocols/net/connect_rate: how often one network may come. A minute's worth may come at once, then evenly (GCRA).
/// Pure: time comes in as a parameter.   Limits: kNetworksMax; while so many came within a minute, those beyond are let
/// in: a flood from everywhere is not stopped by counting, and must not cost memory.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>

#include "protocols/net/address.h"

namespace posthouse::net {

class ConnectRate {
 public:
    static constexpr std::size_t kNetworksMax = 20'000;
    using Clock = std::chrono::steady_clock;

    explicit ConnectRate(std::size_t per_minute_max) : per_minute_max_(per_minute_max) {}

    /// Counts this time where it is not too often.
    bool too_often(const IpAddress& network, Clock::time_point now) {
        if (per_minute_max_ == 0) return false;
        if (now >= swept_ + kMinute) {
            std::erase_if(next_, [&](const auto& one) { return one.second <= now; });
            swept_ = now;
        }
        if (next_.size() >= kNetworksMax && !next_.contains(network)) return false;
        const auto each = kMinute / static_cast<std::int64_t>(per_minute_max_);
        Clock::time_point& next = next_[network];
        if (next > now + kMinute - each) return true;
        next = std::max(next, now) + each;
        return false;
    }
    std::size_t size() const { return next_.size(); }

 private:
    static constexpr std::chrono::nanoseconds kMinute = std::chrono::minutes(1);

    std::size_t per_minute_max_;
    std::map<IpAddress, Clock::time_point> next_;  // theoretical arrival times
    Clock::time_point swept_{};
};

}  // namespace posthouse::net
