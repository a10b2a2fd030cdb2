#pragma once
/// relay/host_health: hosts that do not answer are asked last for a while, so that one bad MX of several costs its
/// site neither time nor window. 5 min after the first failure, twice as long after each further one, 1 h at most.
/// Pure.   Limits: kHostsMax, the one that was free longest goes first.
#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "relay/mx.h"

namespace posthouse::relay {

class HostHealth {
 public:
    static constexpr std::size_t kHostsMax = 10'000;
    static constexpr Milliseconds kFirst{5 * 60'000};
    static constexpr Milliseconds kMax{60 * 60'000};

    void answered(std::string_view host) {
        if (const auto found = hosts_.find(host); found != hosts_.end()) hosts_.erase(found);
    }
    void failed(std::string_view host, Time now) {
        if (hosts_.size() >= kHostsMax && !hosts_.contains(host)) {
            hosts_.erase(std::ranges::min_element(hosts_, {}, [](const auto& h) { return h.second.until; }));
        }
        Bad& bad = hosts_.try_emplace(std::string(host)).first->second;
        bad.span = bad.span.count() == 0 ? kFirst : std::min(bad.span * 2, kMax);
        bad.until = now + bad.span;
    }
    bool is_quarantined(std::string_view host, Time now) const {
        const auto found = hosts_.find(host);
        return found != hosts_.end() && found->second.until > now;
    }
    /// Those in quarantine behind all others; nobody is left out, for there may be nobody else.
    void order(std::vector<MxHost>& hosts, Time now) const {
        if (hosts_.empty()) return;
        std::vector<MxHost> last;
        std::vector<MxHost> out;
        for (MxHost& host : hosts) (is_quarantined(host.name, now) ? last : out).push_back(std::move(host));
        std::ranges::move(last, std::back_inserter(out));
        hosts = std::move(out);
    }

 private:
    struct Bad {
        Time until{};
        Milliseconds span{0};
    };
    std::map<std::string, Bad, std::less<>> hosts_;
};

}  // namespace posthouse::relay
