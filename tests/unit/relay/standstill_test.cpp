// "Mail to X has stopped", with the relay at work: the postmaster hears of it once, and once that it is over.
#include "storage/context.h"
#include "storage/destinations.h"
#include "storage/incidents.h"
#include "storage/report_tally.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {

namespace {

constexpr std::int64_t kDayMs = 86'400'000;

/// Three weeks in which a dozen letters a day went to b.example.
void fill_usual(House& house) {
    storage::ReportTally tally;
    for (int day = 1; day <= 21; ++day) {
        for (int i = 0; i < 12; ++i) {
            storage::CountedEvent event;
            event.kind = EventKind::delivered;
            event.at = house.clock.now() - Milliseconds(day * kDayMs);
            event.recipient = "bob@b.example";
            storage::EventFacts facts;
            facts.way = "direct";
            facts.provider = "other";
            tally.count(event, facts);
        }
    }
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        storage::ReportRowCount known;
        return storage::write_tally(storage::context_of(tx).db, tally, known);
    }));
}

std::size_t mails_about(House& house, const std::string& subject) {
    std::size_t out = 0;
    for (const std::string& mail : house.inbox()) out += mail.contains("Subject: " + subject) ? 1 : 0;
    return out;
}

std::vector<storage::Incident> open_incidents(House& house) {
    return house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
}

}  // namespace

TEST_CASE("nothing gets through to a domain that usually takes mail: told once, and its end once") {
    House house;
    fill_usual(house);
    house.remote.always("RCPT", "451 4.3.0 later");
    for (const char* name : {"bob", "carol", "dave", "eve"}) house.submit({std::string(name) + "@b.example"});
    int hours = 0;
    while (open_incidents(house).empty() && hours < 24) {
        house.settle_after(std::chrono::minutes(30));
        ++hours;
    }
    REQUIRE(open_incidents(house).size() == 1);
    CHECK(storage::describe(open_incidents(house).front()) == "mail to b.example has stopped");
    CHECK(hours > 4);  // half hours; a dozen a day: three of them lie six hours apart
    for (int i = 0; i < 10; ++i) house.settle_after(std::chrono::minutes(30));
    CHECK(open_incidents(house).size() == 1);
    CHECK(mails_about(house, "Incident 1: mail to b.example has stopped") == 1);
    house.remote.always("RCPT", "250 2.1.5 Ok");
    for (int i = 0; i < 20 && !open_incidents(house).empty(); ++i) house.settle_after(std::chrono::minutes(30));
    CHECK(open_incidents(house).empty());
    house.settle_after(std::chrono::minutes(30));
    CHECK(mails_about(house, "Incident 1 is over: mail to b.example has stopped") == 1);
    CHECK(mails_about(house, "Incident 1: mail to b.example has stopped") == 1);
}

TEST_CASE("a domain that was never written to before has no baseline, and no alarm") {
    House house;
    house.remote.always("RCPT", "451 4.3.0 later");
    for (const char* name : {"bob", "carol", "dave", "eve"}) house.submit({std::string(name) + "@b.example"});
    for (int i = 0; i < 20; ++i) house.settle_after(std::chrono::hours(1));
    CHECK(open_incidents(house).empty());
}

}  // namespace posthouse::relay
