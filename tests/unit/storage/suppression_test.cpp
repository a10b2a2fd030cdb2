// The ladder, what a delivery forgets and what it does not, undoing, scopes, and which mail is stopped.
#include "storage/suppression.h"

#include <doctest/doctest.h>


#include "protocols/base/clock.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

using Reason = SuppressionReason;
constexpr std::chrono::hours kDay{24};

struct House {
    test::TurnedClock clock{1'700'000'000'000};
    test::TempStore store{[this](StoreOptions& o) { o.clock = &clock; }};

    Suppression add(std::string_view scope, std::string_view address, Reason reason, std::string words = "550 no") {
        const SuppressionProof proof(reason, std::move(words), "mx.b.example [192.0.2.1]");
        return store->write_value({}, [&](Tx& tx) { return SuppressionTx(tx).add(scope, address, proof); }).value();
    }
    std::vector<Suppression> find(std::vector<std::string> scopes, std::vector<std::string> addresses) {
        return store->read([&](const Snapshot& s) { return SuppressionView(s).find(scopes, addresses, clock.now()); })
            .value();
    }
    bool is_stopped(const std::string& scope, const std::string& address) { return !find({scope}, {address}).empty(); }
    void delivered(std::string_view scope, std::string_view address) {
        REQUIRE(store->write({}, [&](Tx& tx) { return SuppressionTx(tx).delivered(scope, address); }));
    }
    Result<std::vector<Suppression>> remove(std::optional<std::string_view> scope, std::string_view address) {
        return store->write_value({}, [&](Tx& tx) { return SuppressionTx(tx).remove(scope, address); });
    }
};

}  // namespace

TEST_CASE("the ladder: 7, 30, 90 days, for good; what is said while it lasts is counted and does not climb") {
    House house;
    const auto say = [&] { return house.add("a.example", "Bob@B.example", Reason::recipient_unknown); };
    Suppression one = say();
    CHECK(one.address == "bob@b.example");
    CHECK(one.step == 0);
    CHECK(one.until == house.clock.now() + 7 * kDay);
    house.clock.advance(3 * kDay);
    const Suppression again = say();
    CHECK(again.step == 0);
    CHECK(again.times == 2);
    CHECK(again.until == one.until);
    CHECK(house.is_stopped("a.example", "bob@b.example"));
    for (const int days : {30, 90}) {
        house.clock.advance(4 * kDay + 100 * kDay);
        CHECK_FALSE(house.is_stopped("a.example", "bob@b.example"));
        one = say();
        CHECK(one.until == house.clock.now() + days * kDay);
    }
    house.clock.advance(91 * kDay);
    one = say();
    CHECK(one.step == 3);
    CHECK(one.until == Time{});
    house.clock.advance(5000 * kDay);
    CHECK(house.is_stopped("a.example", "BOB@b.example"));
    CHECK(say().step == 3);
    CHECK(one.reply == "550 no");
}

TEST_CASE("a delivery forgets evidence, and how far it had climbed, but no wish") {
    House house;
    house.add("a.example", "bob@b.example", Reason::recipient_unknown);
    house.add("a.example", "bob@b.example", Reason::complaint);
    house.add("c.example", "bob@b.example", Reason::recipient_disabled);
    house.delivered("a.example", "BOB@b.example");
    const auto left = house.find({"", "a.example", "c.example"}, {"bob@b.example"});
    REQUIRE(left.size() == 2);
    CHECK(left[0].reason == Reason::complaint);
    CHECK(left[0].until == Time{});
    CHECK(left[1].scope == "c.example");
    house.clock.advance(20 * kDay);
    CHECK(house.add("a.example", "bob@b.example", Reason::recipient_unknown).step == 0);
}

TEST_CASE("a batch of recipients and scopes is one look; each scope stands alone") {
    House house;
    house.add("", "all@b.example", Reason::by_hand);
    house.add("a.example", "one@b.example", Reason::recipient_unknown);
    house.add("list:news", "two@b.example", Reason::unsubscribed);
    const std::vector<std::string> everybody{"all@b.example", "one@b.example", "two@b.example", "three@b.example"};
    CHECK(house.find({"", "a.example"}, everybody).size() == 2);
    CHECK(house.find({"", "c.example"}, everybody).size() == 1);
    CHECK(house.find({"list:news"}, everybody).size() == 1);
    CHECK(house.find({}, everybody).empty());
}

TEST_CASE("undone: it stops nothing, stays as history, and the ladder begins anew") {
    House house;
    house.add("a.example", "bob@b.example", Reason::recipient_unknown);
    house.add("c.example", "bob@b.example", Reason::complaint);
    CHECK(house.remove("d.example", "bob@b.example").error().code == Errc::not_found);
    CHECK(house.remove("a.example", "Bob@b.example").value().size() == 1);
    CHECK_FALSE(house.is_stopped("a.example", "bob@b.example"));
    CHECK(house.is_stopped("c.example", "bob@b.example"));
    CHECK(house.remove(std::nullopt, "bob@b.example").value().size() == 1);
    CHECK(house.remove(std::nullopt, "bob@b.example").error().code == Errc::not_found);
    const auto all =
        house.store->read([](const Snapshot& s) { return SuppressionView(s).of_address("bob@b.example"); });
    CHECK(all.value().size() == 2);
    house.clock.advance(20 * kDay);
    const Suppression anew = house.add("a.example", "bob@b.example", Reason::recipient_unknown);
    CHECK(anew.step == 0);
    CHECK(anew.times == 1);
}

TEST_CASE("listed by scope and by domain, with or without the past; old ones are forgotten") {
    House house;
    house.add("a.example", "bob@b.example", Reason::recipient_unknown);
    house.add("a.example", "eve@xb.example", Reason::complaint);
    house.add("", "carol@b.example", Reason::by_hand);
    const auto count = [&](std::optional<std::string> scope, std::string domain, bool past) {
        SuppressionView::Wanted wanted;
        wanted.scope = std::move(scope);
        wanted.domain = std::move(domain);
        wanted.with_past = past;
        wanted.now = house.clock.now();
        return house.store->read([&](const Snapshot& s) { return SuppressionView(s).list(wanted); }).value().size();
    };
    CHECK(count(std::nullopt, "", false) == 3);
    CHECK(count("a.example", "", false) == 2);
    CHECK(count("", "", false) == 1);
    CHECK(count(std::nullopt, "B.example", false) == 2);
    house.clock.advance(8 * kDay);
    CHECK(count(std::nullopt, "", false) == 2);
    CHECK(count(std::nullopt, "", true) == 3);
    house.clock.advance(366 * kDay);
    REQUIRE(house.store->write({}, [](Tx& tx) { return SuppressionTx(tx).forget_old(); }));
    CHECK(count(std::nullopt, "", true) == 2);
}

TEST_CASE("which mail is stopped, and what its sender is told") {
    Suppression one;
    one.address = "bob@b.example";
    one.scope = "a.example";
    one.reply = "550 5.1.1 No such user";
    one.since = from_unix_ms(1'700'000'000'000);
    one.until = one.since + 7 * kDay;
    using Rule = SuppressionRule;
    CHECK_FALSE(stops(one, Rule::programs, 0));
    CHECK(stops(one, Rule::programs, 1));
    CHECK(stops(one, Rule::programs, 2));
    CHECK(stops(one, Rule::all, 0));
    CHECK_FALSE(stops(one, Rule::off, 2));
    const SuppressionSentence told = describe(one);
    CHECK(told.why ==
          "Not sent, for there is nobody at bob@b.example (mail of a.example), since 2023-11-14: 550 5.1.1 No such "
          "user");
    CHECK(told.what_to_do.contains("2023-11-21"));
    CHECK(told.what_to_do.contains("posthouse suppression remove bob@b.example"));
    one.reason = Reason::complaint;  // anybody may have made it up: it stops no letter
    CHECK_FALSE(stops(one, Rule::all, 0));
    CHECK_FALSE(stops(one, Rule::all, 1));  // nor what a program writes to one; of a stream it stops that stream
    CHECK(stops(one, Rule::programs, 2));
    one.scope = "news";
    CHECK(stops(one, Rule::all, 1));
    CHECK_FALSE(stops(one, Rule::all, 0));
    one.reason = Reason::unsubscribed;
    CHECK(stops(one, Rule::off, 2));
    CHECK(status_of(Reason::recipient_unknown) == "5.1.1");
    CHECK(status_of(Reason::complaint) == "5.7.1");
    for (const Reason reason : {Reason::recipient_unknown, Reason::recipient_disabled, Reason::complaint,
                                Reason::unsubscribed, Reason::by_hand}) {
        CHECK(parse_suppression_reason(to_string(reason)) == reason);
    }
    CHECK_FALSE(parse_suppression_reason("throttled"));
}

TEST_CASE("what is no address suppresses nobody") {
    House house;
    for (const std::string_view text : {"", "bob", "@b.example", "bob@"}) {
        const auto added = house.store->write_value(
            {}, [&](Tx& tx) { return SuppressionTx(tx).add("", text, SuppressionProof(Reason::by_hand, "", "")); });
        CHECK(added.error().code == Errc::invalid);
    }
}
