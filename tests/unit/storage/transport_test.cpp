#include "storage/transport.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

TlsSessions failure(std::string domain, std::string reason) {
    TlsSessions out;
    out.day = 20'000;
    out.domain = std::move(domain);
    out.policy = 1;
    out.result = 4;
    out.mx_host = "mx.b.test";
    out.receiving_ip = "192.0.2.1";
    out.reason = std::move(reason);
    out.policy_text = "version: STSv1\nmode: enforce\n";
    out.sessions = 1;
    return out;
}

template <class F>
auto reading(test::TempStore& temp, F fn) {
    return temp->read([&](const Snapshot& s) { return fn(TransportView(s)); });
}

}  // namespace

TEST_CASE("a policy of another domain outlives the store's closing, and only its end or a newer one removes it") {
    test::TempStore temp;
    StsEntry entry;
    entry.domain = "B.test";
    entry.id = "1";
    entry.policy = "version: STSv1\r\n";
    entry.fetched = from_unix_ms(1'000);
    entry.expires = from_unix_ms(9'000);
    REQUIRE(temp->write({}, [&](Tx& tx) { return TransportTx(tx).keep_sts_policy(entry); }));
    temp.reopen();
    auto kept = reading(temp, [](const TransportView& v) { return v.sts_policy("b.TEST"); });
    REQUIRE(kept);
    REQUIRE(kept->has_value());
    CHECK((*kept)->policy == entry.policy);
    CHECK((*kept)->expires == entry.expires);
    entry.id = "2";
    REQUIRE(temp->write({}, [&](Tx& tx) { return TransportTx(tx).keep_sts_policy(entry); }));
    CHECK(reading(temp, [](const TransportView& v) { return v.sts_policy("b.test"); })->value().id == "2");
    REQUIRE(temp->write({}, [&](Tx& tx) { return TransportTx(tx).drop_sts_expired(from_unix_ms(8'999)); }));
    CHECK(reading(temp, [](const TransportView& v) { return v.sts_policies(from_unix_ms(8'999), 10); })->size() == 1);
    CHECK(reading(temp, [](const TransportView& v) { return v.sts_policies(from_unix_ms(9'000), 10); })->empty());
    REQUIRE(temp->write({}, [&](Tx& tx) { return TransportTx(tx).drop_sts_expired(from_unix_ms(9'000)); }));
    CHECK_FALSE(reading(temp, [](const TransportView& v) { return v.sts_policy("b.test"); })->has_value());
}

TEST_CASE("the policy of a domain at home: each change has another edition, and it goes with the domain") {
    test::TempStore temp;
    REQUIRE(temp->write({}, [](Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_domain("a.test"));
        return {};
    }));
    const auto serve = [&](int mode, std::vector<std::string> mx) {
        std::string id;
        const auto done = temp->write({}, [&](Tx& tx) -> Result<> {
            TRY(const StsServed served, TransportTx(tx).serve_sts("A.test", mode, mx));
            id = served.id;
            return {};
        });
        REQUIRE(done);
        return id;
    };
    const std::string first = serve(1, {});
    CHECK(serve(1, {}) == first);
    const std::string second = serve(2, {});
    CHECK(second != first);
    CHECK(serve(2, {"mx1.a.test", "*.mx.a.test"}) != second);
    const auto served = reading(temp, [](const TransportView& v) { return v.sts_served("a.test"); });
    CHECK(served->value().mx.size() == 2);
    CHECK(served->value().mode == 2);
    const auto unknown = temp->write({}, [](Tx& tx) -> Result<> {
        TRY_VOID(TransportTx(tx).serve_sts("x.test", 1, {}));
        return {};
    });
    CHECK(unknown.error().code == Errc::not_found);
    REQUIRE(temp->write({}, [](Tx& tx) { return tx.catalog().remove_domain("a.test"); }));
    CHECK_FALSE(reading(temp, [](const TransportView& v) { return v.sts_served("a.test"); })->has_value());
}

TEST_CASE("sessions add up by kind; a domain with too many kinds of failures costs no more rows") {
    test::TempStore temp;
    std::vector<TlsSessions> many;
    for (std::size_t i = 0; i < kTlsRowsPerDomainMax + 50; ++i)
        many.push_back(failure("b.test", fmt::format("r{}", i)));
    many.push_back(failure("b.test", "r1"));
    many.push_back(failure("c.test", "other"));
    REQUIRE(temp->write({}, [&](Tx& tx) -> Result<> {
        TRY(const std::uint64_t dropped, TransportTx(tx).count_tls(many));
        CHECK(dropped == 0);
        return {};
    }));
    const auto rows = reading(temp, [](const TransportView& v) { return v.tls_sessions(20'000, "b.test"); });
    REQUIRE(rows);
    CHECK(rows->size() == kTlsRowsPerDomainMax + 1);
    std::uint64_t sum = 0;
    for (const TlsSessions& row : *rows) sum += row.sessions;
    CHECK(sum == kTlsRowsPerDomainMax + 51);
    CHECK(reading(temp, [](const TransportView& v) { return v.tls_days_before(20'000); })->empty());
    CHECK(reading(temp, [](const TransportView& v) { return v.tls_days_before(20'001); })->size() == 2);
    REQUIRE(temp->write({}, [](Tx& tx) { return TransportTx(tx).drop_tls_sessions(20'000, "b.test"); }));
    CHECK(reading(temp, [](const TransportView& v) { return v.tls_days_before(20'001); })->size() == 1);
    REQUIRE(temp->write({}, [](Tx& tx) { return TransportTx(tx).drop_tls_before(20'001); }));
    CHECK(reading(temp, [](const TransportView& v) { return v.tls_days_before(20'001); })->empty());
    CHECK(day_of(start_of_day(20'000)) == 20'000);
    CHECK(day_of(start_of_day(20'000) - std::chrono::milliseconds(1)) == 19'999);
}

TEST_CASE("a report of others is kept once") {
    test::TempStore temp;
    TlsReportEntry report;
    report.organization = "Company-X";
    report.report_id = "1@x";
    report.domain = "a.test";
    report.failures = 3;
    report.text = std::string(kTlsReportTextOctetsMax + 1, 'x');
    for (const bool is_new : {true, false}) {
        REQUIRE(temp->write({}, [&](Tx& tx) -> Result<> {
            TRY(const bool added, TransportTx(tx).add_tls_report(report));
            CHECK(added == is_new);
            return {};
        }));
    }
    const auto all = reading(temp, [](const TransportView& v) { return v.tls_reports(10); });
    REQUIRE(all->size() == 1);
    CHECK(all->front().failures == 3);
    CHECK(all->front().text.empty());
}
