#include "storage/settings.h"

#include <algorithm>

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

TEST_CASE("every row of the settings takes its own default") {
    for (const SettingRow& row : setting_rows()) {
        CAPTURE(row.key);
        CHECK(check_setting(row.key, row.default_value).has_value());
        CHECK(find_setting(row.key) == &row);
        CHECK(!row.help.empty());
    }
    CHECK(std::ranges::is_sorted(setting_rows(), {}, &SettingRow::key));
}

TEST_CASE("a value is checked before it is kept") {
    CHECK(check_setting("undelete.days", "30").value() == "30");
    CHECK(check_setting("compact.octets_per_second", "8M").value() == "8388608");
    for (const char* bad : {"", "-1", "3651", "14 days", "1e3", "99999999999999999999", "1K"}) {
        CAPTURE(bad);
        const auto refused = check_setting("undelete.days", bad);
        REQUIRE(!refused);
        CHECK(refused.error().context.find("undelete.days takes a number from 0 to 3650") == 0);
    }
    CHECK(!check_setting("compact.octets_per_second", "9223372036854775807T"));
    CHECK(check_setting("undelete.day", "1").error().context.find("there is no setting undelete.day") == 0);
}

TEST_CASE("an address or a domain is one, or nothing") {
    for (const char* good : {"", "alice@example.org", "\"a b\"@example.org", "m\u00fcller@m\u00fcnchen.example"}) {
        CHECK(check_setting("alarm.address", good).value() == good);
    }
    for (const char* bad : {"alice", "alice@", "@example.org", "a b@example.org", "<alice@example.org>",
                            "alice@example.org, bob@example.org", "alice@example.org\r\nBcc: all@example.org"}) {
        CAPTURE(bad);
        const auto refused = check_setting("alarm.address", bad);
        REQUIRE(!refused);
        CHECK(refused.error().context.starts_with("alarm.address takes an address like"));
    }
    CHECK(check_setting("srs.domain", "fwd.example.org").value() == "fwd.example.org");
    CHECK(check_setting("srs.domain", "").value().empty());
    CHECK(check_setting("srs.domain", "xn--mnchen-3ya.example"));
    CHECK(!check_setting("srs.domain", "m\u00fcnchen.example"));
    CHECK(!check_setting("srs.domain", "m\xfcnchen.example"));
    CHECK(check_setting("srs.domain", "a..b").error().context.starts_with("srs.domain takes a domain like"));
}

TEST_CASE("what was set counts, else the default") {
    test::TempStore store;
    const auto days = [&] {
        return store->read([](const Snapshot& s) { return setting_number(s.catalog(), "undelete.days"); });
    };
    CHECK(days().value() == 14);
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("undelete.days", "3"); }));
    CHECK(days().value() == 3);
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("undelete.days", "soon"); }));
    CHECK(days().error().code == Errc::corrupt);
}
