// Who sent in our name, told from what others report and from what is set up; and the alarm where our own mail fails.
#include "storage/dmarc_origins.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "storage/incidents.h"
#include "storage/routes.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using Kind = DmarcOrigin::Kind;

namespace {

constexpr std::int64_t kDayS = 86'400;
constexpr std::int64_t kFirst = 20'000 * kDayS;

std::string include_of(const std::string& preset) { return preset == "ses" ? "amazonses.example" : ""; }

DmarcRow row(std::string ip, std::uint64_t messages, bool dkim, bool spf, std::string dkim_domain = "",
             std::string spf_domain = "") {
    DmarcRow out;
    out.source_ip = std::move(ip);
    out.messages = messages;
    out.disposition = dkim || spf ? "none" : "quarantine";
    out.dkim = dkim;
    out.spf = spf;
    out.header_from = "home.example";
    out.dkim_domain = std::move(dkim_domain);
    out.spf_domain = std::move(spf_domain);
    return out;
}

struct House {
    House() {
        store.add_account("alice@home.example");
        REQUIRE(store->write({}, [](Tx& tx) -> Result<> {
            DkimKey key;
            TRY(const Domain home, tx.catalog().domain("home.example"));
            key.domain = home.id;
            key.selector = "s1";
            key.algorithm = "rsa-sha256";
            TRY_VOID(tx.catalog().add_dkim_key(key));
            RouteTx routes(tx);
            Way pool;
            pool.name = "own";
            pool.pool = "main";
            TRY_VOID(routes.add_way(pool));
            Way relay;
            relay.name = "bulk";
            relay.kind = WayKind::smarthost;
            relay.url = "smtp://me@email-smtp.service.example:587";
            relay.preset = "ses";
            TRY_VOID(routes.add_way(relay));
            SourceAddress address;
            address.address = "192.0.2.7";
            address.pool = "main";
            return routes.add_address(address);
        }));
    }
    void reported(std::string id, std::int64_t day, std::vector<DmarcRow> rows) {
        DmarcEntry entry;
        entry.organization = "far.example";
        entry.report_id = std::move(id);
        entry.domain = "home.example";
        entry.begin_s = kFirst + day * kDayS;
        entry.end_s = entry.begin_s + kDayS - 1;
        entry.rows = std::move(rows);
        REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
            TRY(const bool is_new, RoleMailTx(tx).add_dmarc_report(entry));
            CHECK(is_new);
            return judge_dmarc_day(tx, include_of, entry);
        }));
    }
    DmarcKnownSource source(std::string_view ip) {
        const auto all =
            store->read([](const Snapshot& s) { return dmarc_known_sources(s, include_of, "home.example", 0, 100); })
                .value();
        const auto found = std::ranges::find(all, ip, [](const auto& one) { return one.source.source_ip; });
        REQUIRE(found != all.end());
        return *found;
    }
    std::vector<Incident> open() {
        return store->read([](const Snapshot& s) { return IncidentView(s).open(); }).value();
    }
    test::TempStore store;
};

}  // namespace

TEST_CASE("a reported source is ours by its address, the domain's SPF, our signature or a way's service") {
    House house;
    house.reported("r1", 0,
                   {row("192.0.2.7", 3, true, true, "home.example/s1", "home.example"),
                    row("198.51.100.1", 2, false, true, "", "home.example"),
                    row("198.51.100.2", 1, true, false, "home.example/s1", "list.example"),
                    row("198.51.100.3", 4, false, false, "amazonses.example/x", "eu.amazonses.example"),
                    row("198.51.100.4", 1, false, false, "service.example/y", "other.example"),
                    row("203.0.113.9", 7, false, false, "evil.example/z", "evil.example"),
                    row("203.0.113.9", 1, false, false, "", "home.example")});
    CHECK(house.source("192.0.2.7").origin.kind == Kind::own_address);
    CHECK(house.source("192.0.2.7").origin.way == "own");
    CHECK(house.source("192.0.2.7").origin.selector == "s1");
    CHECK(house.source("198.51.100.1").origin.kind == Kind::listed);
    CHECK(house.source("198.51.100.2").origin.kind == Kind::signed_by_us);
    CHECK(house.source("198.51.100.2").origin.selector == "s1");
    CHECK(house.source("198.51.100.3").origin.kind == Kind::way);
    CHECK(house.source("198.51.100.3").origin.way == "bulk");
    CHECK(house.source("198.51.100.4").origin.way == "bulk");
    CHECK(house.source("203.0.113.9").origin.kind == Kind::unknown);
    CHECK(house.source("203.0.113.9").source.messages == 8);
    CHECK(house.open().empty());
}

TEST_CASE("more than a tenth of fifty messages of ours that did not pass is an incident, which a better day ends") {
    House house;
    // Strangers are no alarm, however many, nor are few of ours, nor exactly a tenth.
    house.reported("r1", 0, {row("203.0.113.9", 900, false, false), row("192.0.2.7", 49, false, false)});
    CHECK(house.open().empty());
    house.reported("r2", 1, {row("192.0.2.7", 45, true, true), row("192.0.2.7", 5, false, false)});
    CHECK(house.open().empty());
    // Two reports of one day are added up.
    house.reported("r3", 2, {row("192.0.2.7", 45, true, true), row("192.0.2.7", 3, false, false)});
    CHECK(house.open().empty());
    house.reported("r4", 2, {row("192.0.2.7", 3, false, false)});
    REQUIRE(house.open().size() == 1);
    CHECK(describe(house.open().front()) == "others report that mail of yours from home.example does not pass DMARC");
    CHECK(house.open().front().reply ==
          "2024-10-06: 6 of 51 messages of ours did not pass, most of them from 192.0.2.7 (own address, way own)");
    CHECK_FALSE(holds_mail(house.open().front().key.kind));
    // A report of the day before says nothing of today.
    house.reported("r5", 1, {row("192.0.2.7", 500, true, true)});
    CHECK(house.open().size() == 1);
    house.reported("r6", 3, {row("192.0.2.7", 60, true, true)});
    CHECK(house.open().empty());
}
