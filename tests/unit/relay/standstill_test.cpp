// "Mail to X has stopped", with the relay at work: the postmaster hears of it once, and once that it is over.
#include "storage/destinations.h"
#include "storage/incidents.h"
#include "tests/support/relay_house.h"
#include "tests/support/usual_mail.h"

namespace posthouse::relay {

namespace {

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
    test::fill_usual(house, "b.example");
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

TEST_CASE("a host that nobody reaches closes its lane: who waits behind the one that tries counts as tried") {
    for (const int letters : {4, 1}) {
        CAPTURE(letters);
        House house;
        test::fill_usual(house, "dead.example");
        house.resolver.add_mx("dead.example", 10, "mx.dead.example");
        house.resolver.add_a("mx.dead.example", "192.0.2.66");  // nobody listens there
        house.submit({"bob@dead.example"});
        house.settle();
        for (int i = 1; i < letters; ++i) house.submit({"reader" + std::to_string(i) + "@dead.example"});
        int halves = 0;
        while (open_incidents(house).empty() && halves < 96) {
            house.settle_after(std::chrono::minutes(30));
            ++halves;
        }
        REQUIRE(open_incidents(house).size() == 1);
        CHECK(storage::describe(open_incidents(house).front()) == "mail to dead.example has stopped");
        CHECK(open_incidents(house).front().reply.contains(std::to_string(letters) + " wait since no host"));
        CHECK(halves >= 12);  // a dozen a day: three of them lie six hours apart
        CHECK(halves <= 14);
        CHECK(mails_about(house, "Incident 1: mail to dead.example has stopped") == 1);
    }
}

TEST_CASE("a domain that was never written to before has no baseline, and no alarm") {
    House house;
    house.remote.always("RCPT", "451 4.3.0 later");
    for (const char* name : {"bob", "carol", "dave", "eve"}) house.submit({std::string(name) + "@b.example"});
    for (int i = 0; i < 20; ++i) house.settle_after(std::chrono::hours(1));
    CHECK(open_incidents(house).empty());
}

}  // namespace posthouse::relay
