// What follows from the verdict on a message from outside: by the settings, and within its time.
#include "server/judge/judge.h"

#include <doctest/doctest.h>

#include <optional>

#include "tests/support/loop_runner.h"
#include "tests/support/temp_store.h"
#include "tests/support/zone_resolver.h"

using namespace posthouse;
using Action = server::smtp::SenderVerdict::Action;

namespace {

class TestClock final : public Clock {
 public:
    Time at{Milliseconds(1'780'000'000'000)};
    Time now() const override { return at; }
};

// Answers nothing until it is told to.
class SilentResolver final : public dns::Resolver {
 public:
    SilentResolver(dns::Resolver& inner, net::Loop& loop) : inner_(inner), speaks(loop) {}
    net::Task<Result<dns::Answer<dns::MxRecord>>> mx(std::string name) override {
        co_await speaks.wait();
        co_return co_await inner_.mx(std::move(name));
    }
    net::Task<Result<dns::Answer<net::IpAddress>>> addresses(std::string name) override {
        co_await speaks.wait();
        co_return co_await inner_.addresses(std::move(name));
    }
    net::Task<Result<dns::Answer<std::string>>> txt(std::string name) override {
        ++asked;
        co_await speaks.wait();
        co_return co_await inner_.txt(std::move(name));
    }
    net::Task<Result<dns::Answer<std::string>>> ptr(net::IpAddress address) override {
        co_return co_await inner_.ptr(address);
    }
    net::Task<Result<dns::Answer<dns::TlsaRecord>>> tlsa(std::string name) override {
        co_return co_await inner_.tlsa(std::move(name));
    }
    net::Task<Result<dns::Answer<std::string>>> cname(std::string name) override {
        co_return co_await inner_.cname(std::move(name));
    }
    net::Task<dns::DnssecState> test_dnssec() override { co_return dns::DnssecState(); }
    dns::DnssecState dnssec() const override { return {}; }

    int asked = 0;

 private:
    dns::Resolver& inner_;

 public:
    net::Event speaks;
};

struct Fixture {
    explicit Fixture(Milliseconds time_max = server::kJudgeTimeMax) {
        zone.add("_dmarc.strict.example", "TXT", "v=DMARC1; p=reject");
        zone.add("_dmarc.mild.example", "TXT", "v=DMARC1; p=quarantine");
        zone.add("strict.example", "TXT", "v=spf1 ip4:192.0.2.1 -all");
        resolver.speaks.set();
        const server::CheckDeps deps(*store, loop, pool, tasks, resolver, clock, metrics, "mx.home.example");
        check = server::make_sender_check(deps, time_max);
    }
    ~Fixture() {
        resolver.speaks.set();
        while (tasks.size() != 0) loop.poll();
    }
    static server::smtp::SenderQuestion question_of(const std::string& domain, const char* peer, bool null_sender) {
        server::smtp::SenderQuestion question;
        question.peer = *net::IpAddress::parse(peer);
        question.hello = "mx." + domain;
        if (!null_sender) question.sender = "bob@" + domain;
        question.recipients = {"alice@home.example"};
        const auto text = std::make_shared<std::string>("Return-Path: <>\r\nMessage-ID: <1@x.example>\r\nFrom: bob@" +
                                                        domain + "\r\n\r\nHello\r\n");
        question.octets = server::smtp::SharedOctets(text, *text);
        return question;
    }
    server::smtp::SenderVerdict ask(std::string domain, const char* peer = "203.0.113.9", bool null_sender = false) {
        return test::run_task(loop, check->check(question_of(domain, peer, null_sender)));
    }
    void set(std::string_view key, std::string_view value) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    std::int64_t count(std::string_view name) { return metrics.counter(name, "").get(); }

    net::Loop loop;
    net::TaskGroup tasks{loop};
    test::TempStore store;
    net::ThreadPool pool{"read", 1};
    test::ZoneResolver zone;
    SilentResolver resolver{zone, loop};
    TestClock clock;
    Metrics metrics;
    std::unique_ptr<server::smtp::SenderCheck> check;
};

net::Task<void> keep_verdict(server::smtp::SenderCheck& check, server::smtp::SenderQuestion question,
                             std::optional<server::smtp::SenderVerdict>& out) {
    out = co_await check.check(std::move(question));
}

}  // namespace

TEST_CASE("enforce: p=reject is refused, p=quarantine goes to Junk, what passes comes in") {
    Fixture f;
    const auto refused = f.ask("strict.example");
    CHECK(refused.action == Action::refuse);
    CHECK_FALSE(refused.sentence.empty());
    CHECK_FALSE(refused.sentence.contains("strict.example"));  // no text of a peer
    CHECK(f.ask("mild.example").action == Action::junk);
    const auto good = f.ask("strict.example", "192.0.2.1");
    CHECK(good.action == Action::accept);
    CHECK(good.field.starts_with("Authentication-Results: mx.home.example;"));
    CHECK(good.field.contains("dmarc=pass"));
    CHECK(good.summary.contains("DMARC pass"));
    CHECK(good.sender_proven);
    CHECK_FALSE(refused.sender_proven);
    CHECK(f.count("reception_dmarc_refused_total") == 1);
    CHECK(f.count("reception_dmarc_junked_total") == 1);
    CHECK_FALSE(f.ask("mild.example").sender_proven);
    CHECK_FALSE(f.ask("strict.example", "192.0.2.1", true).sender_proven);  // SPF of HELO names nobody
}

TEST_CASE("a refusal is found in the events") {
    Fixture f;
    CHECK(f.ask("strict.example").action == Action::refuse);
    // The pool writes it down; what it is asked next comes behind that.
    CHECK(test::run_task(f.loop, net::offload(f.pool, f.loop, []() -> Result<> { return {}; })));
    const auto found = f.store->read(
        [](const storage::Snapshot& snapshot) { return snapshot.events().by_address("alice@home.example", 10); });
    REQUIRE(found);
    REQUIRE(found->size() == 1);
    CHECK(found->front().kind == storage::EventKind::refused);
    CHECK(found->front().sender == "bob@strict.example");
    CHECK(found->front().message_id == "1@x.example");
    CHECK(found->front().detail.contains("DMARC fail (p=reject of strict.example)"));
}

TEST_CASE("a report is never refused") {
    Fixture f;
    CHECK(f.ask("strict.example", "203.0.113.9", true).action == Action::junk);
}

TEST_CASE("the setting is obeyed as soon as it is changed") {
    Fixture f;
    CHECK(f.ask("strict.example").action == Action::refuse);
    f.set("dmarc.policy", "junk");
    CHECK(f.ask("strict.example").action == Action::junk);
    f.set("dmarc.policy", "report");
    const auto reported = f.ask("strict.example");
    CHECK(reported.action == Action::accept);
    CHECK(reported.field.contains("dmarc=fail"));
    f.set("dmarc.policy", "off");
    const int asked = f.resolver.asked;
    CHECK(f.ask("strict.example").field.empty());
    CHECK(f.resolver.asked == asked);
}

TEST_CASE("a silent DNS holds nothing up beyond the time, and what it says later harms nobody") {
    Fixture f(Milliseconds(1));
    f.resolver.speaks.reset();
    const auto verdict = f.ask("strict.example");
    CHECK(verdict.action == Action::accept);
    CHECK(verdict.field.contains("dmarc=temperror"));
    CHECK(f.count("reception_unjudged_total") == 1);
    CHECK(f.tasks.size() == 1);
}

TEST_CASE("a stop waits for no DNS") {
    Fixture f;
    f.resolver.speaks.reset();
    std::optional<server::smtp::SenderVerdict> verdict;
    auto question = Fixture::question_of("strict.example", "203.0.113.9", false);
    f.tasks.spawn("test.ask", keep_verdict(*f.check, std::move(question), verdict));
    while (f.resolver.asked == 0) f.loop.poll();
    CHECK_FALSE(verdict);
    f.check->stop();
    while (!verdict) f.loop.poll();
    CHECK(verdict->action == Action::accept);
    CHECK(verdict->field.contains("dmarc=temperror"));
    CHECK(f.ask("strict.example").action == Action::accept);  // and so does whoever comes later
}

TEST_CASE("a DNS that fails is temperror, and the message is taken") {
    Fixture f;
    f.zone.fail("_dmarc.strict.example", "TXT");
    const auto verdict = f.ask("strict.example");
    CHECK(verdict.action == Action::accept);
    CHECK(verdict.field.contains("dmarc=temperror"));
}
