// The commonest host: no pool, one machine that sends from the address that its name has. And what lists say of it, by
// which door they are asked.
#include "protocols/dns/public_resolver.h"
#include "relay/address_check.h"
#include "tests/unit/relay/pool_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using storage::AddressCheck;
using storage::IncidentKind;
using storage::Reputation;
using storage::Standing;

constexpr std::string_view kV4 = "5.113.0.203.";  // as lists are asked
constexpr std::string_view kV6 = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.";

struct HostHouse : House {
    HostHouse() {
        remote.keywords = {"8BITMIME"};
        resolver.add_a("mail.home.example", "203.0.113.5");
        resolver.add_ptr("203.0.113.5", "mail.home.example");
        resolver.add_ptr("2001:db8:1::5", "mail.home.example");
        set("dnsbl.lists", "one.list.example two.list.example");
        for (const std::string_view list : {"one.list.example", "two.list.example"}) {
            resolver.add_a("2.0.0.127." + std::string(list), "127.0.0.2");
        }
        turn(minutes(1));
    }
    void set(std::string_view name, std::string_view value) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(name, value); }));
    }
    void list(std::string_view address, std::string_view list) {
        resolver.add_a(std::string(address) + std::string(list), "127.0.0.2");
    }
    void unlist(std::string_view address, std::string_view list) {
        resolver.clear_a(std::string(address) + std::string(list));
    }
    void turn(Milliseconds span) {
        settle_after(span);
        settle_after(seconds(12));
        settle_after(seconds(12));
    }
    std::vector<AddressCheck> checks() {
        return store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).checks(); }).value();
    }
    std::size_t bad() {
        std::size_t out = 0;
        for (const AddressCheck& one : checks()) out += one.found == AddressCheck::Found::bad ? 1 : 0;
        return out;
    }
    Standing standing(std::string_view source = "", std::string_view provider = "") {
        const auto book =
            store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).book(); }).value();
        const Reputation* const one = book.find(source, provider);
        return one == nullptr ? Standing::healthy : one->standing;
    }
    std::size_t open(IncidentKind kind) {
        const auto all =
            store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
        std::size_t out = 0;
        for (const storage::Incident& one : all) out += one.key.kind == kind ? 1 : 0;
        return out;
    }
    void add_pool_address(std::string_view address) {
        resolver.add_ptr(address, "news.home.example");
        resolver.add_a("news.home.example", address);
        REQUIRE(store->write({}, [&](storage::Tx& tx) {
            storage::SourceAddress one;
            one.address = address;
            one.pool = "news";
            return storage::RouteTx(tx).add_address(one);
        }));
    }
    void send(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) submit({"x" + std::to_string(number_++) + "@b.example"});
        settle();
    }
    std::size_t sent() const { return number_; }

 private:
    std::size_t number_ = 0;
};

}  // namespace

TEST_CASE("host: its address is found by its name; listed it goes slowly, loudly, and comes back in steps") {
    HostHouse house;
    CHECK(house.checks().size() == 3);  // two lists and the reverse DNS
    house.send(10);
    CHECK(house.remote.messages.size() == 10);
    house.list(kV4, "one.list.example");
    house.turn(minutes(70));
    CHECK(house.standing() == Standing::healthy);  // one list is no reason
    CHECK(house.open(IncidentKind::listing) == 1);
    house.list(kV4, "two.list.example");
    house.turn(minutes(70));
    CHECK(house.standing() == Standing::drained);
    CHECK(house.open(IncidentKind::address) == 1);
    house.send(10);
    CHECK(house.remote.messages.size() < 15);
    CHECK(house.waiting() > 5);
    for (int i = 0; i < 30; ++i) house.settle_after(seconds(30));
    CHECK(house.remote.messages.size() == 20);  // nothing is lost, nothing bounces
    house.unlist(kV4, "one.list.example");
    house.unlist(kV4, "two.list.example");
    house.turn(minutes(70));
    CHECK(house.standing() == Standing::probation);
    for (int hour = 0; hour < 200 && house.standing() == Standing::probation; ++hour) {
        house.send(4);
        for (int i = 0; i < 4; ++i) house.settle_after(minutes(15));
    }
    CHECK(house.standing() == Standing::healthy);
    house.turn(minutes(30));
    CHECK(house.remote.messages.size() == house.sent());
    CHECK(house.open(IncidentKind::address) == 0);
    CHECK(house.open(IncidentKind::listing) == 0);
}

TEST_CASE("host: IPv4 and IPv6 on the same list are on one list; on two lists it is drained") {
    HostHouse house;
    house.resolver.add_a("mail.home.example", "2001:db8:1::5");
    house.list(kV4, "one.list.example");
    house.list(kV6, "one.list.example");
    house.turn(minutes(70));
    CHECK(house.bad() == 2);
    CHECK(house.open(IncidentKind::listing) == 2);
    CHECK(house.standing() == Standing::healthy);
    house.list(kV4, "two.list.example");
    house.turn(minutes(70));
    CHECK(house.standing() == Standing::drained);
}

TEST_CASE("host: its own address is watched beside a pool, and what was known of it stays known") {
    HostHouse house;
    house.list(kV4, "one.list.example");
    house.list(kV4, "two.list.example");
    house.turn(minutes(70));
    REQUIRE(house.standing() == Standing::drained);
    house.add_pool_address("192.0.2.70");
    house.turn(minutes(70));
    CHECK(house.checks().size() == 6);
    CHECK(house.bad() == 2);
    CHECK(house.open(IncidentKind::listing) == 2);
    CHECK(house.standing() == Standing::drained);
    CHECK(house.standing("192.0.2.70") == Standing::healthy);
    // A DNS that does not answer for our own name ends no listing.
    house.resolver.set_failure("mail.home.example", Errc::timeout);
    house.turn(minutes(70));
    CHECK(house.bad() == 2);
    CHECK(house.standing() == Standing::drained);
    // What the pool's address does wrong is not the host's fault, nor the other way round.
    house.resolver.set_failure("mail.home.example", std::nullopt);
    house.unlist(kV4, "one.list.example");
    house.unlist(kV4, "two.list.example");
    house.list("70.2.0.192.", "one.list.example");
    house.list("70.2.0.192.", "two.list.example");
    house.turn(minutes(70));
    CHECK(house.standing() == Standing::probation);
    CHECK(house.standing("192.0.2.70") == Standing::drained);
}

TEST_CASE("host: address drain system, and restore") {
    HostHouse house;
    REQUIRE(house.store->write({}, [](storage::Tx& tx) {
        return storage::drain_address(tx, Reputation(), "drained by hand");
    }));
    house.turn(seconds(12));
    house.send(10);
    CHECK(house.waiting() > 5);
    for (int i = 0; i < 30; ++i) house.settle_after(seconds(30));
    CHECK(house.remote.messages.size() == 10);
    house.turn(hours(200));
    CHECK(house.standing() == Standing::drained);  // by hand stays by hand
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY(const auto book, storage::ReputationView(tx).book());
        return storage::restore_address(tx, *book.find("", ""), "restored by hand");
    }));
    house.turn(minutes(1));
    house.send(10);
    CHECK(house.waiting() == 0);
    CHECK(house.remote.messages.size() == 20);
}

TEST_CASE("Spamhaus by key: the key's zone is asked; a listing there drains, 127.255.255.x says nothing") {
    HostHouse house;
    const std::string zone = "k3y.zen.dq.spamhaus.net";
    house.set("dnsbl.lists", "none");
    house.set("dnsbl.spamhaus_key", "k3y");
    house.resolver.add_a("2.0.0.127." + zone, "127.0.0.2");
    house.turn(minutes(70));
    CHECK(house.resolver.queries_for(std::string(kV4) + zone) == 1);
    CHECK(house.resolver.queries_for(std::string(kV4) + "zen.spamhaus.org") == 0);
    REQUIRE(house.checks().size() == 2);
    CHECK(house.checks()[1].list == "zen.spamhaus.org");
    CHECK(house.checks()[1].found == AddressCheck::Found::clear);
    house.resolver.add_a(std::string(kV4) + zone, "127.255.255.255");  // too much was asked
    house.turn(hours(25));
    house.turn(minutes(70));
    CHECK(house.standing() == Standing::healthy);
    CHECK(house.bad() == 0);
    house.unlist(kV4, zone);
    house.resolver.add_a(std::string(kV4) + zone, "127.0.0.3");  // CSS
    house.turn(minutes(70));
    CHECK(house.bad() == 1);
    CHECK(house.standing() == Standing::drained);  // one listing by Spamhaus is enough
    const auto open =
        house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
    REQUIRE(open.size() == 2);
    for (const storage::Incident& one : open) {
        CHECK_FALSE(storage::describe(one).contains("k3y"));  // the key is a secret
        CHECK_FALSE(one.reply.contains("k3y"));
    }
}

TEST_CASE("public resolvers: what lists say through them is not believed, and not asked") {
    HostHouse house;
    house.kept.dns_servers = {"192.0.2.53", "2620:fe::fe@53"};
    house.restart();
    house.list(kV4, "one.list.example");
    house.list(kV4, "two.list.example");
    const std::size_t asked = house.resolver.queries_for(std::string(kV4) + "one.list.example");
    house.turn(minutes(70));
    CHECK(house.resolver.queries_for(std::string(kV4) + "one.list.example") == asked);
    CHECK(house.bad() == 0);
    CHECK(house.standing() == Standing::healthy);
    bool is_said = false;
    for (const AddressCheck& one : house.checks()) is_said = is_said || one.detail.contains("Quad9 (2620:fe::fe)");
    house.turn(hours(25));
    for (const AddressCheck& one : house.checks()) is_said = is_said || one.detail.contains("Quad9 (2620:fe::fe)");
    CHECK(is_said);
}

TEST_CASE("public resolvers are known by their addresses, however they are written") {
    const auto of = [](const std::string& server) { return dns::public_resolver(std::vector<std::string>{server}); };
    CHECK(of("8.8.8.8") == "Google Public DNS (8.8.8.8)");
    CHECK(of("1.1.1.1@53") == "Cloudflare (1.1.1.1)");
    CHECK(of("9.9.9.9") == "Quad9 (9.9.9.9)");
    CHECK(of("2001:4860:4860:0:0:0:0:8888").has_value());
    CHECK(of("2606:4700:4700::1111").has_value());
    CHECK(of("2620:fe::fe").has_value());
    CHECK_FALSE(of("192.0.2.53").has_value());
    CHECK_FALSE(of("127.0.0.1@5353").has_value());
    CHECK_FALSE(dns::public_resolver({}).has_value());
    CHECK(dns::lists_do_not_answer("Quad9").contains("block lists do not answer through the public resolver Quad9"));
}

}  // namespace posthouse::relay
