// Bounds of single sites, set by hand.
#include "storage/lane_limits.h"

#include "storage/routes.h"
#include "tests/support/temp_store.h"

namespace posthouse::storage {
namespace {

LaneLimit limit_of(std::string site, std::uint32_t connections, std::uint32_t messages, std::uint32_t minute) {
    LaneLimit out;
    out.site = std::move(site);
    out.connections_max = connections;
    out.messages_max = messages;
    out.minute_max = minute;
    return out;
}

}  // namespace

TEST_CASE("lane.limits is read pair by pair; what is none is left out") {
    CHECK(parse_lane_limits("").empty());
    CHECK(parse_lane_limits("google=5/50/0 mx.b.example=1/0/30") ==
          std::vector{limit_of("google", 5, 50, 0), limit_of("mx.b.example", 1, 0, 30)});
    for (const char* bad : {"google", "google=", "=1/2/3", "google=1", "google=1/2", "google=1/2/3/4", "google=a/b/c",
                            "google=1/2/99999999999", "google=-1/2/3", "google=1/2/3/", " ", "=", "google=//"}) {
        CAPTURE(bad);
        CHECK(parse_lane_limits(bad).empty());
    }
    CHECK_FALSE(is_lane_limits("google=5"));
    CHECK_FALSE(is_lane_limits("google=1/2/3  yahoo=1/2/3"));
    CHECK(is_lane_limits(""));
    CHECK(is_lane_limits("google=1/2/3 yahoo=1/2/3"));
    CHECK(parse_lane_limits("bad Google=1/2/3 ") == std::vector{limit_of("google", 1, 2, 3)});
}

TEST_CASE("a limit is for its lane, and for every host below its name; the longest name counts") {
    const auto all = parse_lane_limits("google=5/0/0 mx.b.example=1/0/0 b.example=2/0/0");
    CHECK(find_lane_limit(all, "Google")->connections_max == 5);
    CHECK(find_lane_limit(all, "mx.B.example")->connections_max == 1);
    CHECK(find_lane_limit(all, "mx2.b.example")->connections_max == 2);
    CHECK(find_lane_limit(all, "notb.example") == nullptr);
    CHECK(find_lane_limit(all, "example") == nullptr);
    CHECK(find_lane_limit({}, "google") == nullptr);
}

TEST_CASE("a limit is set, replaced and taken out; a name that no lane has is refused") {
    test::TempStore store;
    const auto set = [&](const LaneLimit& limit) {
        return store->write({}, [&](Tx& tx) { return set_lane_limit(tx, limit); });
    };
    const auto all = [&] { return store->read([](const Snapshot& s) { return RouteView(s).lane_limits(); }).value(); };
    CHECK(all().empty());
    REQUIRE(set(limit_of("Google", 5, 0, 0)));
    REQUIRE(set(limit_of("b.example", 1, 2, 3)));
    REQUIRE(set(limit_of("google", 0, 7, 0)));
    CHECK(all() == std::vector{limit_of("b.example", 1, 2, 3), limit_of("google", 0, 7, 0)});
    REQUIRE(set(limit_of("b.example", 0, 0, 0)));
    CHECK(all() == std::vector{limit_of("google", 0, 7, 0)});
    CHECK(set(limit_of("b.example", 0, 0, 0)).error().code == Errc::not_found);
    for (const char* bad : {"", "two words", ".b.example", "b.example.", "a=b", "a/b", "b\xC3\xBC.example"}) {
        CAPTURE(bad);
        CHECK(set(limit_of(bad, 1, 0, 0)).error().code == Errc::invalid);
    }
    CHECK(set(limit_of(std::string(254, 'a'), 1, 0, 0)).error().code == Errc::invalid);
}

}  // namespace posthouse::storage
