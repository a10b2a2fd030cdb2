// "Mail to X has stopped": weeks with days, nights and Sundays, in which nothing is wrong and nothing is said; then
// what is wrong is said once, and its end once.
#include "storage/destinations.h"

#include <fmt/format.h>

#include <random>

#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/incidents.h"
#include "storage/report_tally.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

using std::chrono::hours;
using std::chrono::minutes;

/// A small office: mail from eight to six, from Monday to Friday.
struct Office {
    test::TurnedClock clock{20'002LL * 86'400'000};  // a Sunday
    TempStore store{[this](StoreOptions& options) { options.clock = &clock; }};
    std::minstd_rand random{7};
    std::uint64_t stopped = 0;
    std::uint64_t resumed = 0;
    std::vector<Event> hour_events;
    std::vector<std::string> dead;     ///< domains that nothing gets through to
    std::vector<std::string> pending;  ///< what they did not take: tried again each hour

    int hour() const { return static_cast<int>(to_unix_ms(clock.now()) / 3'600'000 % 24); }
    int weekday() const { return static_cast<int>((to_unix_ms(clock.now()) / 86'400'000 + 4) % 7); }  // 0: Sunday
    bool is_open() const { return weekday() >= 1 && weekday() <= 5 && hour() >= 8 && hour() < 18; }

    /// Written with the others of its hour: see pass_hour().
    void event(EventKind kind, const std::string& to, const std::string& reply_class = "") {
        Event one;
        one.kind = kind;
        one.recipient = to;
        one.facts.way = "direct";
        one.facts.domain = "home.example";
        one.facts.provider = to.ends_with("@gmail.com") ? "google" : "other";
        one.facts.reply_class = reply_class;
        hour_events.push_back(one);
    }
    void write_hour() {
        if (hour_events.empty()) return;
        REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
            for (const Event& one : hour_events) {
                NewEvent event;
                event.kind = one.kind;
                event.recipient = one.recipient;
                event.detail = "said";
                event.facts = &one.facts;
                TRY_VOID(write_event(context_of(tx), event, {}));
            }
            return {};
        }));
        hour_events.clear();
    }
    bool is_dead(const std::string& to) const {
        return std::ranges::any_of(dead, [&](const std::string& domain) { return to.ends_with("@" + domain); });
    }
    void send(const std::string& to) {
        if (is_dead(to)) {
            event(EventKind::attempted, to, "network");
            pending.push_back(to);
            return;
        }
        if (random() % 3 == 0) event(EventKind::attempted, to, "greylisted");
        event(EventKind::delivered, to);
    }
    void pass_hour() {
        std::vector<std::string> again;
        again.swap(pending);
        for (const std::string& to : again) send(to);
        if (is_open()) {
            send(fmt::format("user{}@gmail.com", random() % 50));
            for (int i = 0; i < 5; ++i) {
                if (random() % 3 == 0) send(fmt::format("user{}@d{}.example", random() % 20, i));
            }
        }
        // Somebody whose mailbox is full, through nights and Sundays.
        if (hour() % 6 == 0) event(EventKind::attempted, "full@gmail.com", "mailbox-full");
        if (hour() == 12) event(EventKind::bounced, "gone@d0.example", "recipient-unknown");
        write_hour();
        clock.advance(hours(1));
        const auto due = destinations_due(*store, clock.now());
        REQUIRE(due);
        if (!due->any()) return;
        const auto seen = store->write_value({}, [&](Tx& tx) { return watch_destinations(tx, *due); });
        if (!seen) FAIL(seen.error().context);
        stopped += seen->stopped;
        resumed += seen->resumed;
    }
    void pass(int count) {
        for (int i = 0; i < count; ++i) pass_hour();
    }
    std::vector<Incident> incidents() {
        return store->read([](const Snapshot& s) { return IncidentView(s).open(); }).value();
    }
    std::size_t count(EventKind kind) {
        const auto all = store->read([](const Snapshot& s) { return s.events().behind(0, 1'000'000); }).value();
        return static_cast<std::size_t>(std::ranges::count(all, kind, [](const Event& event) { return event.kind; }));
    }
};

}  // namespace

TEST_CASE("five weeks of days, nights, quiet Sundays, greylisting and a full mailbox are no alarm") {
    Office office;
    office.pass(5 * 7 * 24);
    CHECK(office.stopped == 0);
    CHECK(office.incidents().empty());
}

TEST_CASE("a place that takes nothing any more is told of within hours, once, and its end once") {
    Office office;
    office.pass(4 * 7 * 24 + 24 + 9);  // a Monday, nine o'clock
    office.dead = {"gmail.com"};
    int waited = 0;
    while (office.stopped == 0 && waited < 48) {
        office.pass_hour();
        ++waited;
    }
    CHECK(waited >= 3);
    CHECK(waited <= 9);  // some ten deliveries a day: three of them lie seven hours apart
    office.pass(24 * 6);
    CHECK(office.stopped == 1);
    const auto open = office.incidents();
    REQUIRE(open.size() == 1);
    CHECK(describe(open.front()) == "mail to google has stopped");
    CHECK(office.resumed == 0);
    office.dead.clear();
    office.pass(2);
    CHECK(office.resumed == 1);
    CHECK(office.incidents().empty());
    CHECK(office.count(EventKind::stopped) == 1);
    CHECK(office.count(EventKind::resumed) == 1);
    office.pass(7 * 24);
    CHECK(office.stopped == 1);
}

TEST_CASE("nothing gets out at all: one word of everywhere, not one of each place") {
    Office office;
    office.pass(4 * 7 * 24 + 24 + 9);
    office.dead = {"gmail.com", "d0.example", "d1.example", "d2.example", "d3.example", "d4.example"};
    office.pass(8);
    CHECK(office.stopped == 1);
    const auto open = office.incidents();
    REQUIRE(open.size() == 1);
    CHECK(describe(open.front()) == "mail to everywhere has stopped");
    office.dead.clear();
    office.pass(24);
    CHECK(office.resumed == 1);
    CHECK(office.incidents().empty());
}

TEST_CASE("what is usual for the place decides") {
    Baseline busy;
    busy.days = 20;
    busy.delivered = 2'000;
    busy.tried = 2'500;
    CHECK(has_stopped(busy, hours(2), 10, 5));
    CHECK(!has_stopped(busy, minutes(119), 10, 5));
    CHECK(!has_stopped(busy, hours(2), 2, 5));   // three in four get through: two that do not are an accident
    CHECK(!has_stopped(busy, hours(2), 10, 2));  // two recipients may be wrong themselves
    Baseline slow = busy;
    slow.delivered = 40;
    slow.tried = 50;
    CHECK(!has_stopped(slow, hours(20), 10, 5));
    CHECK(has_stopped(slow, hours(40), 10, 5));
    Baseline hard = busy;
    hard.tried = 20'000;  // one try in ten gets through
    CHECK(!has_stopped(hard, hours(5), 20, 5));
    CHECK(has_stopped(hard, hours(5), 60, 5));
    Baseline young = busy;
    young.days = 4;
    CHECK(!has_stopped(young, hours(10), 100, 50));
}

TEST_CASE("a place is a big provider, a domain, or a relay's way") {
    EventFacts facts;
    facts.way = "direct";
    facts.provider = "google";
    CHECK(place_of(facts, "b.example") == "google");
    facts.provider = "other";
    CHECK(place_of(facts, "b.example") == "b.example");
    facts.provider = "";
    facts.way = "relay";
    CHECK(place_of(facts, "b.example") == "way relay");
}

TEST_CASE("a place that the figures of full days count among the others has its alarm all the same") {
    Office office;
    // Every day is full before the office opens: whoever is written to then is not told apart.
    const auto fill = [&] {
        REQUIRE(office.store->write({}, [&](Tx& tx) -> Result<> {
            return context_of(tx)
                .db
                .query(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) INSERT INTO "
                    "report_rows (day, who, domain, destination, provider, way, source) SELECT ?1, '', '', 'f' || i, "
                    "'other', 'direct', '' FROM n")
                .bind(to_unix_ms(office.clock.now()) / 86'400'000, kReportRowsADay)
                .run();
        }));
    };
    for (int day = 0; day < 14; ++day) {
        fill();
        office.pass(24);
    }
    CHECK(office.stopped == 0);
    office.dead = {"d1.example"};
    for (int day = 0; day < 5; ++day) {
        fill();
        office.pass(24);
    }
    CHECK(office.stopped == 1);
    REQUIRE(office.incidents().size() == 1);
    CHECK(office.incidents().front().key.site == "d1.example");
    const auto others = office.store->read([](const Snapshot& s) -> Result<std::int64_t> {
        return context_of(s).db.value("SELECT count(*) FROM report_rows WHERE destination LIKE 'd%.example'");
    });
    CHECK(others.value() == 0);
    office.dead.clear();
    for (int day = 0; day < 2; ++day) {
        fill();
        office.pass(24);
    }
    CHECK(office.resumed == 1);
}

TEST_CASE("no more places are kept than have room: those that were written to least lately go") {
    Office office;
    office.pass(24);
    REQUIRE(office.store->write({}, [&](Tx& tx) -> Result<> {
        return context_of(tx)
            .db
            .query(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) INSERT INTO "
                "destinations (place, ok_ms, failing_ms, tries, recipients) SELECT 'old' || i, ?1 + i, 0, 0, x'' FROM "
                "n")
            .bind(office.clock.now() - std::chrono::hours(500), kPlacesMax)
            .run();
    }));
    office.pass(24);
    const auto count = [&](Sql sql) {
        return office.store->read([&](const Snapshot& s) { return context_of(s).db.value(sql); }).value();
    };
    CHECK(count("SELECT count(*) FROM destinations") <= kPlacesMax);
    CHECK(count("SELECT count(*) FROM destinations WHERE place = 'old1'") == 0);
    CHECK(count("SELECT count(*) FROM destinations WHERE place = 'google'") == 1);
}
