// Incidents that are measured: "fixed" has them looked at anew, and does not silence what is still so. And the metrics.
#include "relay/incidents.h"
#include "tests/unit/relay/pool_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using storage::Incident;
using storage::IncidentKind;
using storage::IncidentTx;
using storage::Mended;
using storage::Standing;

struct MeasuredHouse : PoolHouse {
    MeasuredHouse() : PoolHouse({"192.0.2.7", "192.0.2.8"}) { turn(minutes(1)); }
    std::vector<Incident> open(IncidentKind kind) {
        auto all = store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
        std::erase_if(all, [kind](const Incident& one) { return one.key.kind != kind; });
        return all;
    }
    Mended fixed(const Incident& one) {
        auto done = store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).mended(one.id, "said so"); });
        REQUIRE(done);
        return *done;
    }
    std::size_t asked() { return resolver.queries_for("7.2.0.192.one.list.example"); }
    std::size_t told(std::string_view text) {
        const auto events =
            store->read([](const storage::Snapshot& s) { return s.events().about_server(200); }).value();
        std::size_t count = 0;
        for (const storage::Event& event : events) count += event.detail.contains(text) ? 1 : 0;
        return count;
    }
    bool has(std::string_view line) const { return metrics.to_prometheus().contains(line); }
};

}  // namespace

TEST_CASE("fixed on a listing: the list is asked again at once; still so, it stays open and says so") {
    MeasuredHouse house;
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.turn(minutes(70));
    REQUIRE(house.open(IncidentKind::listing).size() == 1);
    const std::size_t before = house.asked();
    const Mended still = house.fixed(house.open(IncidentKind::listing)[0]);
    CHECK_FALSE(still.is_over);
    CHECK(still.why.contains("one.list.example is asked again within seconds"));
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    CHECK(house.asked() == before + 1);
    CHECK(house.open(IncidentKind::listing).size() == 1);
    CHECK(house.told("is not over: 192.0.2.7 is listed by one.list.example") == 1);
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    CHECK(house.asked() == before + 1);  // once

    // A list that does not answer now proves nothing.
    house.resolver.set_failure("7.2.0.192.one.list.example", Errc::timeout);
    CHECK_FALSE(house.fixed(house.open(IncidentKind::listing)[0]).is_over);
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    CHECK(house.open(IncidentKind::listing).size() == 1);
    CHECK(house.told("one.list.example cannot be asked now") == 1);
    house.resolver.set_failure("7.2.0.192.one.list.example", std::nullopt);

    house.resolver.clear_a("7.2.0.192.one.list.example");
    house.fixed(house.open(IncidentKind::listing)[0]);
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    CHECK(house.open(IncidentKind::listing).empty());
}

TEST_CASE("a listing whose incident was closed while it is still listed opens again with the next look") {
    MeasuredHouse house;
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.turn(minutes(70));
    REQUIRE(house.open(IncidentKind::listing).size() == 1);
    const auto id = house.open(IncidentKind::listing)[0].id;
    REQUIRE(house.store->write_value({}, [&](storage::Tx& tx) { return IncidentTx(tx).clear(id, "by mistake"); }));
    house.turn(minutes(70));
    CHECK(house.open(IncidentKind::listing).size() == 1);
}

TEST_CASE("fixed on a refusal: addresses that were drained for it take all of the mail again, until the next refusal") {
    MeasuredHouse house;
    constexpr std::string_view kBlocked =
        "550 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org";
    const std::vector<std::string> pool{"192.0.2.7", "192.0.2.8"};
    for (const std::string& one : pool) house.google[one].always("RCPT", std::string(kBlocked));
    const auto are = [&](Standing what) {
        return std::ranges::all_of(pool, [&](const auto& one) { return house.standing(one, "google") == what; });
    };
    house.send(40);
    for (const std::string& one : pool) {
        storage::Reputation before;
        before.source = one;
        before.provider = "google";
        storage::Reputation after = before;
        after.standing = Standing::drained;
        after.since = house.clock.now();
        after.score = 20;
        after.falls = 1;
        after.why = "3 of 12 recipients in a day were refused for our address";
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) { return storage::save_standing(tx, before, after, ""); }));
    }
    REQUIRE(are(Standing::drained));
    const std::size_t sent = house.sent();
    CHECK(house.at_google() == 0);
    for (const std::string& one : pool) house.google[one].always("RCPT", "250 2.1.5 ok");
    for (const Incident& one : house.open(IncidentKind::ip_blocked)) CHECK(house.fixed(one).is_over);
    CHECK(are(Standing::probation));
    house.settle();
    CHECK(house.at_google() == sent);
    house.send(30);
    CHECK(house.at_google() == sent + 30);  // none of it slowly
    for (const std::string& one : pool) CHECK(house.from(one) > 5);
    CHECK(house.open(IncidentKind::address).size() == 2);  // until they are healthy

    house.turn(minutes(11));
    CHECK(are(Standing::probation));  // what was said before does not count against it
    house.google[pool[0]].always("RCPT", std::string(kBlocked));
    house.send(5);
    house.turn(minutes(11));
    CHECK(house.standing(pool[0], "google") == Standing::drained);
    CHECK(house.standing(pool[1], "google") == Standing::probation);
}

TEST_CASE("fixed on a drained address: it stays open, and says what brings the address back") {
    MeasuredHouse house;
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.0.0.2");
    house.turn(minutes(70));
    REQUIRE(house.open(IncidentKind::address).size() == 1);
    const std::size_t before = house.asked();
    const Mended still = house.fixed(house.open(IncidentKind::address)[0]);
    CHECK_FALSE(still.is_over);
    CHECK(still.why.contains("192.0.2.7 is still drained: listed by one.list.example, two.list.example"));
    CHECK(still.why.contains("posthouse address restore 192.0.2.7"));
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    CHECK(house.asked() == before + 1);
    CHECK(house.open(IncidentKind::address).size() == 1);
    house.resolver.clear_a("7.2.0.192.one.list.example");
    house.resolver.clear_a("7.2.0.192.two.list.example");
    house.fixed(house.open(IncidentKind::address)[0]);
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    house.settle_after(seconds(12));
    CHECK(house.standing("192.0.2.7", "") == Standing::probation);  // not an hour later
}

TEST_CASE("metrics: what each address is worth, how often one was drained") {
    MeasuredHouse house;
    CHECK(house.has("posthouse_relay_addresses_drained_total 0"));
    house.resolver.add_a("7.2.0.192.one.list.example", "127.0.0.2");
    house.resolver.add_a("7.2.0.192.two.list.example", "127.0.0.2");
    house.turn(minutes(70));
    CHECK(house.has("posthouse_relay_addresses_drained_total 1"));
    CHECK(house.has("posthouse_address_standing{address=\"192.0.2.7\",provider=\"\"} 2"));
    house.resolver.clear_a("7.2.0.192.one.list.example");
    house.resolver.clear_a("7.2.0.192.two.list.example");
    house.turn(minutes(70));
    CHECK(house.has("posthouse_address_standing{address=\"192.0.2.7\",provider=\"\"} 3"));
    CHECK(house.has("posthouse_relay_addresses_drained_total 1"));
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY(const auto book, storage::ReputationView(tx).book());
        return storage::restore_address(tx, *book.find("192.0.2.7", ""), "restored");
    }));
    house.turn(minutes(15));
    CHECK(house.has("posthouse_address_standing{address=\"192.0.2.7\",provider=\"\"} 0"));
}

TEST_CASE("metrics: what is held for a fault of ours is counted") {
    House house;
    CHECK(house.metrics.to_prometheus().contains("posthouse_relay_held_total 0"));
    house.remote.always("RCPT", "550 5.7.1 client host [192.0.2.77] blocked using zen.spamhaus.org");
    house.submit({"bob@b.example", "carol@b.example"});
    house.settle();
    CHECK(house.metrics.to_prometheus().contains("posthouse_relay_held_total 2"));
    house.settle_after(seconds(12));
    CHECK(house.metrics.to_prometheus().contains("posthouse_incidents_open{kind=\"ip-blocked\"} 1"));
}

TEST_CASE("metrics: each destination that has stopped has its own line, so many and no more") {
    Metrics metrics;
    Incidents incidents(metrics);
    const auto stopped = [](std::size_t count) {
        std::vector<Incident> out;
        for (std::size_t i = 0; i < count; ++i) {
            Incident one;
            one.key.kind = IncidentKind::destination;
            one.key.site = i == 0 ? "" : "d" + std::to_string(i) + ".example";
            out.push_back(one);
        }
        return out;
    };
    incidents.apply(stopped(3));
    const auto has = [&](std::string_view line) { return metrics.to_prometheus().contains(line); };
    CHECK(has("posthouse_relay_destination_stopped{destination=\"everywhere\"} 1"));
    CHECK(has("posthouse_relay_destination_stopped{destination=\"d2.example\"} 1"));
    CHECK(has("posthouse_incidents_open{kind=\"destination\"} 3"));
    incidents.apply(stopped(2));
    CHECK(has("posthouse_relay_destination_stopped{destination=\"d2.example\"} 0"));
    CHECK(has("posthouse_relay_destination_stopped{destination=\"other\"} 0"));
    incidents.apply(stopped(kStoppedShown + 10));
    CHECK(has("posthouse_relay_destination_stopped{destination=\"other\"} 10"));
    CHECK(has("posthouse_incidents_open{kind=\"destination\"} 60"));
    const std::string text = metrics.to_prometheus();
    std::size_t lines = 0;
    for (std::size_t at = text.find("stopped{"); at != std::string::npos; at = text.find("stopped{", at + 1)) ++lines;
    CHECK(lines == kStoppedShown + 1);
}

}  // namespace posthouse::relay
