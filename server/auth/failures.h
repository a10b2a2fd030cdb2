#pragma once
/// server/auth/failures: who has guessed how often. Bounded memory: the oldest entries go first.
/// Threads: the loop's.
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "protocols/base/clock.h"
#include "protocols/net/address.h"

namespace posthouse::server {

struct FailureLimits {
    std::uint32_t network_minute_max = 10;  ///< a /32 or /64; three times that a /26 or /48, nine times a /21 or /32
    std::uint32_t network_day_max = 50;     ///< likewise
    std::uint32_t account_hour_max = 20;    ///< from networks that have not logged in to this account before
    std::size_t entries_max = 100'000;      ///< of each table
};

/// Fixed windows: simple, small, and wrong by at most a factor of two at their edges.
class Failures {
 public:
    explicit Failures(FailureLimits limits = FailureLimits()) : limits_(limits) {}

    /// wait: only guesses that are still being judged stand in the way; ask again when one of them has been.
    enum class Verdict { allowed, wait, refused };
    /// The wider networks do not count against those who have logged in from here before: neighbours are others.
    Verdict judge(const std::string& login, net::IpAddress peer, Time now) const;

    /// What one guess was counted on.
    struct Charge {
        net::IpAddress network;
        std::string login;
        bool on_account = false;

        Charge(net::IpAddress from, std::string as, bool counted_there)
            : network(from), login(std::move(as)), on_account(counted_there) {}
    };
    /// Counts a guess before it is judged, so that a hundred at once count as a hundred.
    Charge charge(const std::string& login, net::IpAddress peer, Time now);
    /// It was wrong: the count stays.
    void confirm(const Charge& charge);
    /// It turned out right, or was never judged: the count is taken back.
    void forgive(const Charge& charge);
    /// The peer's network is known to this account from now on.
    void succeeded(const std::string& login, net::IpAddress peer, Time now);

 private:
    struct Window {
        Time start{};
        std::uint32_t count = 0;  ///< those being judged among them
        std::uint32_t in(Time now, std::chrono::milliseconds span) const { return now - start < span ? count : 0; }
        void add(Time now, std::chrono::milliseconds span);
        void take_back() { count -= count > 0 ? 1 : 0; }
    };
    struct Network {
        Window minute;
        Window day;
    };
    template <class Key, class Value>
    struct Table {
        std::map<Key, Value> values;
        std::deque<Key> order;
        Value& get(const Key& key, std::size_t entries_max) {
            const auto found = values.find(key);
            if (found != values.end()) return found->second;
            if (order.size() >= entries_max) {
                values.erase(order.front());
                order.pop_front();
            }
            order.push_back(key);
            return values[key];
        }
    };
    static constexpr std::size_t kWidths = 3;
    using Around = std::pair<std::size_t, net::IpAddress>;  // how wide, and which
    /// Of a network as Charge has it, the narrowest first.
    static std::array<Around, kWidths> around(const net::IpAddress& network);
    void settle(const Charge& charge);
    static net::IpAddress network_of(net::IpAddress peer);
    bool is_known(const std::string& login, net::IpAddress network) const;

    FailureLimits limits_;
    Table<Around, Network> networks_;
    Table<std::string, Window> accounts_;
    Table<std::pair<std::string, net::IpAddress>, bool> known_;
    std::map<Around, std::uint32_t> judged_networks_;  // guesses being judged; none: no entry
    std::map<std::string, std::uint32_t> judged_accounts_;
};

}  // namespace posthouse::server
