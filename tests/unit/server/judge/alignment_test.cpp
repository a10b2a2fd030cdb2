// What our own people are told before their mail leaves: keys, relays and the setting come from the store.
#include "server/judge/alignment.h"

#include <doctest/doctest.h>

#include "protocols/base/random.h"
#include "tests/support/loop_runner.h"
#include "tests/support/temp_store.h"
#include "tests/support/zone_resolver.h"

using namespace posthouse;

namespace {

constexpr const char* kRecord = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

class TestClock final : public Clock {
 public:
    Time at{Milliseconds(1'000'000)};
    Time now() const override { return at; }
};

struct Fixture {
    Fixture() {
        store.add_account("alice@a.example");
        zone.add("_dmarc.a.example", "TXT", "v=DMARC1; p=reject");
        zone.add("mail.a.example", "A", "192.0.2.1");
        check = server::make_alignment_check(
            server::CheckDeps(*store, loop, pool, tasks, zone, clock, metrics, "mail.a.example"));
    }
    ~Fixture() {
        while (tasks.size() != 0) loop.poll();
    }
    Result<> ask(std::string author = "a.example", std::string envelope = "a.example") {
        return test::run_task(loop, check->check(std::move(author), std::move(envelope)));
    }
    void add_key() {
        REQUIRE(store->write({}, [](storage::Tx& tx) -> Result<> {
            TRY(const storage::Domain domain, tx.catalog().domain("a.example"));
            storage::DkimKey key;
            key.domain = domain.id;
            key.selector = "s1";
            key.algorithm = "ed25519-sha256";
            key.sealed_pem = "sealed";
            key.dns_record = kRecord;
            TRY_VOID(tx.catalog().add_dkim_key(key));
            return {};
        }));
    }

    net::Loop loop;
    net::TaskGroup tasks{loop};
    test::TempStore store;
    net::ThreadPool pool{"read", 1};
    test::ZoneResolver zone;
    TestClock clock;
    Metrics metrics;
    std::unique_ptr<server::smtp::AlignmentCheck> check;
};

}  // namespace

TEST_CASE("p=reject and nothing that vouches: denied, with the sentence") {
    Fixture f;
    const auto got = f.ask();
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::denied);
    CHECK(got.error().context ==
          "DMARC of a.example asks receivers to reject this: no DKIM key signs for a.example, and the SPF record of "
          "a.example does not name this server. Publish what \"posthouse domain records a.example\" shows");
}

TEST_CASE("a published key is enough, also for names below the domain; answers are kept for a while") {
    Fixture f;
    f.add_key();
    f.zone.add("s1._domainkey.a.example", "TXT", kRecord);
    CHECK(f.ask());
    CHECK(f.ask("news.a.example"));
    const std::size_t asked = f.zone.asked_txt().size();
    CHECK(f.ask("A.Example"));
    CHECK(f.zone.asked_txt().size() == asked);
    f.clock.at += server::kAlignmentKept;
    CHECK(f.ask());
    CHECK(f.zone.asked_txt().size() > asked);
}

TEST_CASE("an SPF record that names our address is enough") {
    Fixture f;
    f.add_key();
    f.zone.add("a.example", "TXT", "v=spf1 ip4:192.0.2.1 -all");
    CHECK(f.ask());
    CHECK_FALSE(f.ask("a.example", "other.example"));  // aligned is what counts
}

TEST_CASE("the setting makes it a warning") {
    Fixture f;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) { return tx.catalog().set_setting("dmarc.submission", "warn"); }));
    CHECK(f.ask());
}

TEST_CASE("a DNS that does not answer is no reason") {
    Fixture f;
    f.add_key();
    f.zone.fail("s1._domainkey.a.example", "");
    CHECK(f.ask());
    f.zone.fail("_dmarc.b.example", "");
    CHECK(f.ask("b.example", "b.example"));
}

TEST_CASE("a DNS that does not answer holds up a message once, not for every question") {
    Fixture f;
    f.add_key();
    f.zone.fail("mail.a.example", "A");
    CHECK(f.ask());
    CHECK(f.zone.asked_txt().empty());
}
