#pragma once
/// tests/support/fate_house: the whole relay against many small worlds at once, each with its own domains, ways, route
/// and faults, and the books about every accepted recipient. Worlds share nothing but the house, its time and its
/// restarts: a batch of them costs little more than one. What they do is drawn from a seed; which of two transactions
/// comes first is not.
#include <fmt/format.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/incidents.h"
#include "storage/routes.h"
#include "tests/support/relay_house.h"
#include "tests/support/stand_in_server.h"

namespace posthouse::relay {

inline constexpr std::string_view kClientBlocked =
    "550 5.7.1 Service unavailable; client host [192.0.2.77] blocked using zen.spamhaus.org";
inline constexpr std::string_view kLoginRefused = "535 5.7.8 Authentication failed";

/// One accepted recipient.
struct Fated {
    std::size_t world = 0;
    std::string address;
    storage::QueueId queue{};
    std::size_t cuts = 0;  ///< restarts at which its fate was not known here
    bool is_over = false;
    bool is_delivered = false;
    bool by_hand = false;  ///< somebody has put it on hold
};

/// Domains a.wN.example and b.wN.example at one site each; ways dN (by MX), sN and tN (smarthosts); route rN.
struct FateWorld {
    std::size_t number = 0;
    std::vector<std::unique_ptr<test::StandInSite>> sites;  ///< a, b, s, t
    std::string steps;
    std::string way(char letter) const { return fmt::format("{}{}", letter, number); }
    std::string domain(char letter) const { return fmt::format("{}.w{}.example", letter, number); }
    std::size_t taken(const std::string& address) const {
        std::size_t sum = 0;
        for (const auto& site : sites) sum += site->taken(address);
        return sum;
    }
    std::size_t unsaid(const std::string& address) const {
        std::size_t sum = 0;
        for (const auto& site : sites) sum += site->unsaid(address);
        return sum;
    }
};

// They answer for as long as the house may ask.
struct FateWorlds {
    std::deque<FateWorld> worlds;
};

class FateHouse : public FateWorlds, public House {
 public:
    FateHouse()
        : House([](RelayOptions& options) { options.refill_interval = std::chrono::milliseconds(0); }), cut_(loop) {}
    ~FateHouse() { test::run_task(loop, waits_.join()); }

    /// `steps` of its route in letters: "d,s" is by MX first, then by the smarthost.
    FateWorld& add_world(const test::StandInTraits& mx, const test::StandInTraits& smarthost, std::uint64_t seed) {
        FateWorld& world = worlds.emplace_back();
        world.number = worlds.size();
        const auto add = [&](const test::StandInTraits& traits) {
            world.sites.push_back(std::make_unique<test::StandInSite>(traits, seed + world.sites.size()));
        };
        for (std::size_t i = 0; i < 4; ++i) add(i < 2 ? mx : smarthost);
        for (std::size_t i = 0; i < 4; ++i) {
            for (std::size_t host = 0; host < world.sites[i]->traits.hosts; ++host) listen(world, i, host);
        }
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            storage::Way way;
            way.name = world.way('d');
            TRY_VOID(routes.add_way(way));
            const auto by_site = [&](char letter, std::size_t site) {
                return smarthost_way(world.way(letter), "smtp+plain://" + address_of(world, site, 0) + ":25");
            };
            TRY_VOID(routes.add_way(by_site('s', 2)));
            return routes.add_way(by_site('t', 3));
        }));
        return world;
    }

    void set_route(FateWorld& world, std::string_view letters) {
        std::string steps;
        for (std::size_t i = 0; i < letters.size(); ++i) {
            const bool is_word = letters[i] == 'h' || letters[i] == 'f';
            if (!steps.empty()) steps += ',';
            steps += is_word ? (letters[i] == 'h' ? "hold" : "fail") : world.way(letters[i]);
        }
        const bool is_new = world.steps.empty();
        world.steps = steps;
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            storage::Route route;
            route.name = world.way('r');
            route.recipient = fmt::format("*.w{}.example", world.number);
            TRY(route.steps, storage::parse_steps(steps));
            if (!is_new) TRY_VOID(routes.remove_route(route.name));
            return routes.add_route(route);
        }));
    }
    /// As a new password: what the way is refused for may be mended.
    void change_way(FateWorld& world, char letter) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            TRY(const auto ways, routes.ways());
            auto way = storage::find_way(ways, world.way(letter)).value();
            ++way.limits.recipients_max;
            return routes.set_way(way);
        }));
    }

    void send(FateWorld& world, std::size_t recipients, char domain) {
        std::vector<std::string> to;
        for (std::size_t i = 0; i < recipients; ++i) {
            to.push_back(fmt::format("n{}@{}", ++accepted_, world.domain(domain)));
        }
        const storage::QueueId queue = submit(to);
        for (std::string& address : to) {
            Fated one;
            one.world = world.number - 1;
            one.address = std::move(address);
            one.queue = queue;
            books.push_back(std::move(one));
        }
    }

    /// Everything that is due is done.
    void run() { settle(); }
    /// The same, but after so many lines that were said to anybody the relay is stopped and started anew, whatever is
    /// under way then. False where it came to rest before.
    bool run_into_restart(std::size_t lines) {
        cut_.reset();
        lines_left_ = lines;
        relay->wake();
        waits_.spawn("quiet", wait_quiet());
        test::run_task(loop, cut_.wait());
        const bool is_cut = std::exchange(lines_left_, 0) == 0;
        relay->stop();
        test::run_task(loop, relay->join());
        test::run_task(loop, waits_.join());
        note_cuts();
        relay = std::make_unique<Relay>(kept);
        relay->start();
        return is_cut;
    }

    std::vector<storage::Incident> open_incidents() {
        return store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
    }
    std::vector<storage::QueueRecipient> rows() {
        return store
            ->read([](const storage::Snapshot& s) -> Result<std::vector<storage::QueueRecipient>> {
                std::vector<storage::QueueRecipient> out;
                TRY(const auto items, s.queue().list(storage::QueueId{}, 100'000));
                for (const storage::QueueItem& item : items) {
                    TRY(const auto some, s.queue().recipients(item.id));
                    out.insert(out.end(), some.begin(), some.end());
                }
                return out;
            })
            .value();
    }

    std::vector<Fated> books;

 private:
    static std::string address_of(const FateWorld& world, std::size_t site, std::size_t host) {
        const std::size_t net = site < 2 ? 20 : 10;  // relays may be on private networks, mail servers of domains not
        return fmt::format("{}.{}.{}.{}", net, world.number / 250, world.number % 250, 1 + site * 10 + host);
    }
    void listen(FateWorld& world, std::size_t site, std::size_t host) {
        const std::string address = address_of(world, site, host);
        if (site < 2) {
            const std::string domain = world.domain(site == 0 ? 'a' : 'b');
            const std::string name = fmt::format("mx{}.{}", host, domain);
            resolver.add_mx(domain, 10, name);
            resolver.add_a(name, address);
        }
        test::StandInSite* const behind = world.sites[site].get();
        dialer.serve(net::Endpoint(net::IpAddress::parse(address).value(), 25),
                     [this, behind, host](std::unique_ptr<net::Stream> stream) {
                         return serve_site(*behind, host, std::move(stream));
                     });
    }
    net::Task<void> serve_site(test::StandInSite& site, std::size_t host, std::unique_ptr<net::Stream> stream) {
        test::StandInServer server(site, clock, [this] {
            if (lines_left_ > 0 && --lines_left_ == 0) cut_.set();
        });
        co_await server.serve(std::move(stream), host);
    }
    net::Task<void> wait_quiet() {
        co_await relay->drained();
        cut_.set();
    }
    // Whoever is still "sending" may have been taken outside: he may get it once more.
    void note_cuts() {
        std::map<std::string, storage::RecipientState> states;
        for (const auto& row : rows()) states.emplace(row.address, row.state);
        for (Fated& one : books) {
            const auto found = states.find(one.address);
            if (found != states.end() && found->second == storage::RecipientState::sending) ++one.cuts;
        }
    }

    net::Event cut_;
    net::TaskGroup waits_{loop};
    std::size_t lines_left_ = 0;
    std::size_t accepted_ = 0;
};

}  // namespace posthouse::relay
