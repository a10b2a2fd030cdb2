// Signing keys that follow one another: never a gap, never a switch before the DNS shows the new key.
#include "admin/cli/dkim_rotation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "admin/cli/keys.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::admin;
using storage::DkimKey;
using storage::DkimKeyId;
using storage::DkimState;
using What = RotationStep::What;

namespace {

constexpr Time kStart{Milliseconds(1'800'000'000'000)};
constexpr Milliseconds kDay{86'400'000};

DkimKey key(std::int64_t id, DkimState state, Time changed, Time seen = Time{}) {
    DkimKey out;
    out.id = DkimKeyId{id};
    out.algorithm = id % 2 == 0 ? "rsa-sha256" : "ed25519-sha256";
    out.state = state;
    out.changed = changed;
    out.seen = seen;
    return out;
}

RotationRules rules() {
    RotationRules out;
    out.interval = 180 * kDay;
    return out;
}

using Steps = std::vector<RotationStep>;

// What the store does with a step, on plain values.
void apply(std::vector<DkimKey>& keys, const RotationStep& step, Time now, std::int64_t& next_id) {
    if (step.what == What::make) {
        for (int i = 0; i < 2; ++i) keys.push_back(key(next_id++, DkimState::pending, now));
        return;
    }
    const auto at = std::ranges::find(keys, step.key, &DkimKey::id);
    if (step.what == What::see) at->seen = now;
    if (step.what == What::lose) at->seen = Time{};
    if (step.what == What::retire) at->state = DkimState::retired;
    if (step.what == What::retire) at->changed = now;
    if (step.what != What::activate) return;
    for (DkimKey& one : keys) {
        if (one.algorithm != at->algorithm || one.state != DkimState::active) continue;
        one.state = DkimState::retiring;
        one.changed = now;
    }
    at->state = DkimState::active;
    at->changed = now;
}

}  // namespace

TEST_CASE("a pending key takes over once the DNS has shown it for a while, and not before") {
    const std::vector keys{key(1, DkimState::active, kStart), key(3, DkimState::pending, kStart)};
    const DkimKeyId next{3};
    CHECK(plan_rotation(keys, {}, {}, kStart + kDay, rules()).empty());
    CHECK(plan_rotation(keys, {next}, {}, kStart + kDay, rules()) == Steps{{What::see, next}});
    const std::vector seen{key(1, DkimState::active, kStart), key(3, DkimState::pending, kStart, kStart + kDay)};
    CHECK(plan_rotation(seen, {next}, {}, kStart + kDay + Milliseconds(1), rules()).empty());
    CHECK(plan_rotation(seen, {next}, {}, kStart + 2 * kDay, rules()) == Steps{{What::activate, next}});
    CHECK(plan_rotation(seen, {}, {}, kStart + 2 * kDay, rules()) == Steps{{What::lose, next}});
    CHECK(plan_rotation(seen, {}, {next}, kStart + 2 * kDay, rules()).empty());
}

TEST_CASE("the next keys are made when those of today are old, once, and never where that is off") {
    const std::vector keys{key(1, DkimState::active, kStart), key(2, DkimState::active, kStart)};
    CHECK(plan_rotation(keys, {}, {}, kStart + 179 * kDay, rules()).empty());
    CHECK(plan_rotation(keys, {}, {}, kStart + 180 * kDay, rules()) == Steps{{What::make, DkimKeyId{}}});
    CHECK(plan_rotation(keys, {}, {}, kStart + 180 * kDay, RotationRules()).empty());
    CHECK(plan_rotation({}, {}, {}, kStart + 180 * kDay, rules()).empty());
}

TEST_CASE("a key that signs no more stays published for its time") {
    const std::vector keys{key(1, DkimState::retiring, kStart)};
    CHECK(plan_rotation(keys, {}, {}, kStart + 13 * kDay, rules()).empty());
    CHECK(plan_rotation(keys, {}, {}, kStart + 14 * kDay, rules()) == Steps{{What::retire, DkimKeyId{1}}});
}

TEST_CASE("ten years with a forgetful owner, a shaky DNS and a server that is cut off: never a gap") {
    std::mt19937_64 random(7);  // the same run each time
    const auto one_in = [&](std::uint64_t count) { return random() % count == 0; };
    std::vector<DkimKey> keys{key(1, DkimState::active, kStart), key(2, DkimState::active, kStart)};
    std::int64_t next_id = 3;
    std::set<DkimKeyId> in_dns{DkimKeyId{1}, DkimKeyId{2}};
    std::size_t switches = 0;
    for (Time now = kStart; now < kStart + 3650 * kDay; now += Milliseconds(6 * 3'600'000)) {
        for (const DkimKey& one : keys) {
            if (one.state == DkimState::pending && one_in(40)) in_dns.insert(one.id);
            if (one.state == DkimState::pending && one_in(200)) in_dns.erase(one.id);
        }
        std::set<DkimKeyId> unknown;
        for (const DkimKey& one : keys) {
            if (one_in(5)) unknown.insert(one.id);
        }
        for (const RotationStep& step : plan_rotation(keys, in_dns, unknown, now, rules())) {
            if (one_in(3)) break;  // killed here
            if (step.what == What::activate) {
                CHECK(in_dns.contains(step.key));
                ++switches;
            }
            if (step.what == What::retire) {
                CHECK(now - std::ranges::find(keys, step.key, &DkimKey::id)->changed >= rules().retire);
            }
            apply(keys, step, now, next_id);
        }
        for (const std::string_view algorithm : {"rsa-sha256", "ed25519-sha256"}) {
            CHECK(std::ranges::count_if(keys, [&](const DkimKey& one) {
                      return one.algorithm == algorithm && one.state == DkimState::active && in_dns.contains(one.id);
                  }) == 1);
        }
    }
    CHECK(switches > 20);
}

TEST_CASE("taking over is one transaction: the old key retires, its private half goes when it has aged") {
    test::TempStore store;
    store.add_account("alice@a.example");
    const auto now_keys = make_dkim_keys(*store, "a.example", kStart);
    REQUIRE(now_keys);
    REQUIRE(store->write({}, [&](storage::Tx& tx) { return add_dkim_keys(tx, {}, *now_keys); }));
    const auto next = make_next_dkim_keys(*store, "a.example", kStart);
    REQUIRE(next);
    REQUIRE(store->write({}, [&](storage::Tx& tx) { return add_dkim_keys(tx, {}, *next); }));
    const auto all = [&] {
        return store->read([](const storage::Snapshot& s) { return s.catalog().dkim_keys(); }).value();
    };
    REQUIRE(all().size() == 4);
    CHECK(std::ranges::count(all(), true, &DkimKey::active) == 2);
    const DkimKeyId pending = all()[2].id;
    CHECK(all()[2].state == DkimState::pending);
    REQUIRE(store->write({}, [&](storage::Tx& tx) { return activate_dkim_key(tx, pending); }));
    CHECK(std::ranges::count(all(), true, &DkimKey::active) == 2);
    CHECK(all()[0].state == DkimState::retiring);
    CHECK(all()[2].state == DkimState::active);
    CHECK(all()[1].state == DkimState::active);  // of the other algorithm
    const auto again = store->write({}, [&](storage::Tx& tx) { return activate_dkim_key(tx, pending); });
    CHECK(again.error().code == Errc::conflict);
    REQUIRE(store->write(
        {}, [&](storage::Tx& tx) { return tx.catalog().set_dkim_state(all()[0].id, DkimState::retired); }));
    CHECK(all()[0].sealed_pem.empty());
    CHECK_FALSE(all()[2].sealed_pem.empty());
}
