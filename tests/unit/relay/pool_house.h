#pragma once
/// A house with a pool of addresses, of which each is known at the remotes by the address that it dials from; two block
/// lists, and a smarthost.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "relay/reputation.h"
#include "storage/routes.h"
#include "storage/transport.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {

// Several sites of one provider's mail servers, which note from where they were written to.
struct Remotes {
    std::map<std::string, test::ScriptedRemote> google;  ///< by our address
    test::ScriptedRemote smarthost;
};

struct PoolHouse : Remotes, House {
    explicit PoolHouse(std::vector<std::string> addresses, std::string_view steps = "pool", bool warm_up = false,
                       std::string_view lists = "one.list.example two.list.example") {
        smarthost.keywords = {"8BITMIME"};
        resolver.add_mx("gmail.test", 5, "gmail-smtp-in.l.google.com");
        resolver.add_a("gmail-smtp-in.l.google.com", "192.0.2.50");
        dialer.serve(net::Endpoint(net::IpAddress::parse("192.0.2.50").value(), 25),
                     [this](std::unique_ptr<net::Stream> stream) {
                         const std::string whom = stream->peer().address.to_string();
                         return google[whom].serve(std::move(stream));
                     });
        for (const std::string& address : addresses) google[address].keywords = {"8BITMIME"};
        serve("10.0.0.9", smarthost);
        for (const std::string& address : addresses) known_names(address);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            TRY_VOID(tx.catalog().set_setting("dnsbl.lists", lists));
            for (const std::string& address : addresses) {
                storage::SourceAddress one;
                one.address = address;
                one.pool = "p";
                if (warm_up && &address == &addresses.front()) one.warm_since = tx.now();
                TRY_VOID(routes.add_address(one));
            }
            storage::Way way;
            way.name = "pool";
            way.pool = "p";
            TRY_VOID(routes.add_way(way));
            return add_relay_to(tx, steps);
        }));
        for (const std::string_view list : {"one.list.example", "two.list.example"}) {
            resolver.add_a("2.0.0.127." + std::string(list), "127.0.0.2");
        }
    }
    // As the house is: their reverse names are right.
    void known_names(const std::string& address) {
        const std::string name = "mail" + address.substr(address.rfind('.')) + ".home.example";
        resolver.add_ptr(address, name);
        resolver.add_a(name, address);
    }
    std::size_t from(const std::string& address) { return google[address].messages.size(); }
    std::size_t at_google() const {
        std::size_t sum = 0;
        for (const auto& [address, remote] : google) sum += remote.messages.size();
        return sum;
    }
    storage::AddressBook book() {
        return store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).book(); }).value();
    }
    storage::Standing standing(const std::string& source, std::string_view provider) {
        const storage::AddressBook all = book();
        const storage::Reputation* const one = all.find(source, provider);
        return one == nullptr ? storage::Standing::healthy : one->standing;
    }
    std::vector<storage::Incident> incidents() {
        return store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).list(true, 100); }).value();
    }
    std::size_t inbox_with(std::string_view text) {
        std::size_t count = 0;
        for (const std::string& mail : inbox()) count += mail.contains(text) ? 1 : 0;
        return count;
    }
    void send(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) submit({"r" + std::to_string(number_++) + "@gmail.test"});
        settle();
    }
    std::size_t sent() const { return number_; }
    std::size_t taken() const { return at_google() + smarthost.messages.size(); }
    void turn(Milliseconds span) {
        settle_after(span);
        settle_after(std::chrono::seconds(12));
        settle_after(std::chrono::seconds(12));
    }

 private:
    std::size_t number_ = 0;
};

}  // namespace posthouse::relay
