// Addresses of our own making: known by form and place, good for whom they were made.
#include "server/delivery/bounce_addresses.h"

#include <doctest/doctest.h>

#include "server/delivery/directory.h"
#include "storage/routes.h"
#include "tests/support/temp_store.h"

using namespace posthouse;

namespace {

const Time kNow = from_unix_ms(1'780'000'000'000);

struct Fixture {
    Fixture() {
        store.add_account("alice@a.example");
        REQUIRE(store->write({}, [](storage::Tx& tx) -> Result<> {
            storage::Way way;
            way.name = "news";
            way.kind = storage::WayKind::smarthost;
            way.url = "smtp://relay.example:587";
            way.return_path = "Bounce.A.example";
            return storage::RouteTx(tx).add_way(way);
        }));
        load();
    }
    void load() {
        REQUIRE(store->read([&](const storage::Snapshot& s) -> Result<> {
            TRY(picture, server::DirectoryPicture::load(s.catalog()));
            TRY(bounces, server::BounceAddresses::load(s, store->sealing_key()));
            return {};
        }));
    }
    smtp::Path made(std::string local, std::string domain, std::string at) {
        const auto keys = mailauth::srs_keys(store->sealing_key());
        return {mailauth::srs_forward(keys, {std::move(local), std::move(domain)}, kNow).value(), std::move(at)};
    }
    test::TempStore store;
    std::shared_ptr<const server::DirectoryPicture> picture;
    server::BounceAddresses bounces;
};

}  // namespace

TEST_CASE("at our domains and at the return-path domains of ways") {
    Fixture f;
    for (const char* at : {"a.example", "A.Example", "bounce.a.example", "BOUNCE.a.example"}) {
        CAPTURE(at);
        const smtp::Path path = f.made("bob", "far.example", at);
        CHECK(f.bounces.is_one(path, *f.picture));
        const auto found = f.bounces.resolve(path, kNow);
        REQUIRE(found);
        CHECK(found->spec() == "bob@far.example");
    }
    CHECK_FALSE(f.bounces.is_one(f.made("bob", "far.example", "other.example"), *f.picture));
    CHECK_FALSE(f.bounces.is_one(smtp::Path("alice", "a.example"), *f.picture));
    CHECK_FALSE(f.bounces.is_one(smtp::Path("x", "bounce.a.example"), *f.picture));
}

TEST_CASE("forged, too old, or leading to no domain: refused with a sentence") {
    Fixture f;
    smtp::Path path = f.made("bob", "far.example", "a.example");
    const auto old = f.bounces.resolve(path, kNow + std::chrono::days(30));
    REQUIRE_FALSE(old);
    CHECK(old.error().code == Errc::refused);
    CHECK(old.error().context == "This bounce address is too old");
    path.local_part.back() = 'x';
    const auto forged = f.bounces.resolve(path, kNow);
    REQUIRE_FALSE(forged);
    CHECK(forged.error().code == Errc::refused);
    CHECK(forged.error().context == "This bounce address was not made here");
    CHECK_FALSE(f.bounces.resolve(f.made("bob", "[127.0.0.1]", "a.example"), kNow));
}

TEST_CASE("the domain of what is passed on: the alias's, or the one that is set") {
    Fixture f;
    CHECK(f.bounces.forwarding_domain("A.example") == "a.example");
    REQUIRE(f.store->write({}, [](storage::Tx& tx) { return tx.catalog().set_setting("srs.domain", "Fwd.example"); }));
    f.load();
    CHECK(f.bounces.forwarding_domain("a.example") == "fwd.example");
    CHECK(f.bounces.is_one(f.made("bob", "far.example", "fwd.example"), *f.picture));
}

TEST_CASE("tokens of messages that left: at the same places, and refused with a sentence where they are not ours") {
    Fixture f;
    const auto keys = mailauth::return_keys(f.store->sealing_key());
    const std::string local = mailauth::make_return_token(keys, {7, 99}, kNow);
    for (const char* at : {"a.example", "BOUNCE.a.example"}) {
        const smtp::Path path(local, at);
        CHECK(f.bounces.is_token(path, *f.picture));
        CHECK_FALSE(f.bounces.is_one(path, *f.picture));
        CHECK(f.bounces.read_token(path, kNow).value() == mailauth::ReturnToken{7, 99});
    }
    CHECK_FALSE(f.bounces.is_token(smtp::Path(local, "other.example"), *f.picture));
    CHECK_FALSE(f.bounces.is_token(smtp::Path("alice", "a.example"), *f.picture));
    const std::string forged = mailauth::make_return_token({"another key"}, {7, 99}, kNow);
    const auto refused = f.bounces.read_token(smtp::Path(forged, "a.example"), kNow);
    CHECK(refused.error().code == Errc::refused);
    CHECK(refused.error().context == "This bounce address was not made here");
    CHECK(f.bounces.read_token(smtp::Path(local, "a.example"), kNow + std::chrono::days(30)).error().code ==
          Errc::refused);
}
