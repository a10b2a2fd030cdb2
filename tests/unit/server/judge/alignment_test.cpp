// What our own people are told before their mail leaves: keys, relays and the setting come from the store.
#include "server/judge/alignment.h"

#include <doctest/doctest.h>

#include "protocols/mailauth/dkim.h"
#include "storage/relay_clients.h"
#include "storage/routes.h"
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
        server::smtp::AlignmentQuestion question;
        question.author_domain = std::move(author);
        question.sender = "alice@" + envelope;
        question.recipients = recipients;
        question.client = client;
        question.mail_class = mail_class;
        question.for_many = for_many;
        const auto text = std::make_shared<std::string>(message);
        question.octets = server::smtp::SharedOctets(text, *text);
        return test::run_task(loop, check->check(std::move(question)));
    }
    void add_way(std::string name, std::string url, std::string preset, std::string recipient) {
        storage::Way way;
        way.name = std::move(name);
        way.kind = storage::WayKind::smarthost;
        way.url = std::move(url);
        way.preset = std::move(preset);
        add(std::move(way), std::move(recipient));
    }
    void add(storage::Way way, std::string recipient) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            storage::RouteTx routes(tx);
            TRY_VOID(routes.add_way(way));
            storage::Route route;
            route.name = way.name;
            route.recipient = recipient;
            TRY(route.steps, storage::parse_steps(way.name));
            return routes.add_route(route);
        }));
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

    /// The first of several routes, with conditions of its own.
    void add_route(storage::Route route, std::string_view steps) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY(route.steps, storage::parse_steps(steps));
            route.priority = 1;
            return storage::RouteTx(tx).add_route(route);
        }));
    }
    void add_sendgrid() {
        storage::Way way;
        way.name = "grid";
        way.kind = storage::WayKind::smarthost;
        way.url = "smtp+plain://10.0.0.9:25";
        way.preset = "sendgrid";
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return storage::RouteTx(tx).add_way(way); }));
    }

    std::string client;
    bool for_many = false;
    std::optional<std::uint8_t> mail_class;
    std::vector<std::string> recipients{"bob@b.example"};
    std::string message = "From: alice@a.example\r\n\r\nHello\r\n";
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
          "a.example does not name this server. Have its own server sign it (DKIM), or let this one do it (posthouse "
          "domain add a.example --sign-only; posthouse dkim rotate a.example where the domain is here); or write as "
          "a.example in the envelope, too, with an SPF record that names this server");
}

TEST_CASE("while the DNS does not say whose route it is, nothing is refused for another route's sake") {
    Fixture f;
    storage::Route route;
    route.name = "google";
    route.provider = "google";
    f.add_route(std::move(route), "direct");
    CHECK_FALSE(f.ask());
    f.zone.fail("c.example", "MX");
    f.recipients = {"carol@c.example"};
    CHECK(f.ask());
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

TEST_CASE("each way is judged by its own addresses, for the recipients that take it") {
    Fixture f;
    f.zone.add("a.example", "TXT", "v=spf1 ip4:192.0.2.1 ip4:198.51.100.1 -all");
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        TRY_VOID(routes.add_address({"198.51.100.1", "good", ""}));
        TRY_VOID(routes.add_address({"198.51.100.2", "bad", ""}));
        return {};
    }));
    for (const char* pool : {"good", "bad"}) {
        storage::Way way;
        way.name = pool;
        way.pool = pool;
        f.add(std::move(way), std::string(pool) + ".example");
    }
    CHECK(f.ask());  // no route: directly, from this host
    f.recipients = {"x@good.example"};
    CHECK(f.ask());
    f.recipients = {"x@bad.example"};
    const auto got = f.ask();
    REQUIRE_FALSE(got);
    CHECK(got.error().context.contains("the SPF record of a.example does not name 198.51.100.2 (way bad)"));
    f.recipients = {"x@good.example", "y@bad.example"};
    CHECK_FALSE(f.ask());
}

TEST_CASE("ways behind the first are judged too: said, but no reason to refuse what leaves by the first") {
    Fixture f;
    f.zone.add("a.example", "TXT", "v=spf1 ip4:192.0.2.1 -all");
    REQUIRE(f.store->write({}, [&](storage::Tx& tx) -> Result<> {
        storage::RouteTx routes(tx);
        storage::Way backup;
        backup.name = "backup";
        backup.kind = storage::WayKind::smarthost;
        backup.url = "smtp://smtp.mailgun.org:587";
        backup.preset = "mailgun";
        TRY_VOID(routes.add_way(backup));
        storage::Route route;
        route.name = "all";
        TRY(route.steps, storage::parse_steps("direct,backup,hold"));
        return routes.add_route(route);
    }));
    auto& weak =
        f.metrics.counter("submission_dmarc_weak_total", "Answers that SPF or DKIM of a domain is not in order");
    CHECK(f.ask());
    CHECK(weak.get() == 1);
    CHECK(f.ask());
    CHECK(weak.get() == 1);  // once in a while, not with each message
    // The first way itself is judged as ever.
    Fixture g;
    CHECK_FALSE(g.ask());
}

TEST_CASE("a service is in SPF by its include, wherever that stands; of another relay nothing is known") {
    Fixture f;
    f.add_way("mg", "smtp://me@smtp.mailgun.org:587", "mailgun", "b.example");
    f.add_way("other", "smtp://me@relay.example:587", "", "c.example");
    f.zone.add("a.example", "TXT", "v=spf1 include:spf.a.example -all");
    f.zone.add("spf.a.example", "TXT", "v=spf1 include:mailgun.org -all");
    f.zone.add("mailgun.org", "TXT", "v=spf1 ip4:203.0.113.0/24 -all");
    CHECK(f.ask());
    f.zone.add("_dmarc.d.example", "TXT", "v=DMARC1; p=reject");
    f.zone.add("d.example", "TXT", "v=spf1 ip4:192.0.2.1 -all");
    const auto got = f.ask("d.example", "d.example");
    REQUIRE_FALSE(got);
    CHECK(got.error().context.contains("does not name include:mailgun.org (way mg)"));
    f.recipients = {"x@c.example"};
    CHECK(f.ask("d.example", "d.example"));
}

TEST_CASE("a way with a return-path domain: SPF is that one's, and must be aligned") {
    Fixture f;
    storage::Way way;
    way.name = "out";
    way.kind = storage::WayKind::smarthost;
    way.url = "smtp://me@smtp.mailgun.org:587";
    way.preset = "mailgun";
    way.return_path = "bounce.a.example";
    f.add(way, "b.example");
    way.name = "elsewhere";
    way.return_path = "bounce.z.example";
    f.add(way, "c.example");
    for (const char* domain : {"bounce.a.example", "bounce.z.example"}) {
        f.zone.add(domain, "TXT", "v=spf1 include:mailgun.org -all");
    }
    CHECK(f.ask());
    f.recipients = {"x@c.example"};
    CHECK_FALSE(f.ask());
}

TEST_CASE("mail that is held or refused by a route is not judged") {
    Fixture f;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::Route route;
        route.name = "stop";
        TRY(route.steps, storage::parse_steps("hold"));
        return storage::RouteTx(tx).add_route(route);
    }));
    CHECK(f.ask());
}

TEST_CASE("a signature that is in the message already vouches for it, where it holds") {
    Fixture f;
    REQUIRE(crypto::init());
    const auto key = crypto::SigningKey::generate(crypto::SigningAlgorithm::ed25519_sha256);
    REQUIRE(key);
    f.zone.add("own._domainkey.a.example", "TXT", mailauth::dkim_dns_record(*key));
    CHECK_FALSE(f.ask());
    mailauth::DkimSigner signer;
    signer.domain = "a.example";
    signer.selector = "own";
    signer.key = &*key;
    mailauth::MessageSource source;
    const std::size_t end = f.message.find("\r\n\r\n") + 4;
    source.header_block = std::string_view(f.message).substr(0, end);
    source.next_piece = [rest = std::string_view(f.message).substr(end)]() mutable -> Result<std::string_view> {
        return std::exchange(rest, std::string_view());
    };
    const std::string plain = f.message;
    const auto signature =
        mailauth::sign_dkim({signer}, std::move(source), mailauth::SigningEnvelope(), Time(Milliseconds(1'000'000)));
    REQUIRE(signature);
    f.message = *signature + plain;
    CHECK(f.ask());
    f.message = *signature + plain + "changed";
    CHECK_FALSE(f.ask());
}

TEST_CASE("the route is chosen as it will be: by the class of the mail, also where the relay client's makes it so") {
    Fixture f;
    f.add_sendgrid();  // signs with its own: nothing is known against it
    storage::Route bulk;
    bulk.name = "bulk";
    bulk.mail_class = 2;
    f.add_route(bulk, "grid");
    CHECK_FALSE(f.ask());  // directly: DMARC would refuse it
    f.mail_class = 2;
    CHECK(f.ask());
    f.mail_class.reset();
    f.for_many = true;
    CHECK(f.ask());
    f.for_many = false;
    REQUIRE(f.store->write({}, [](storage::Tx& tx) -> Result<> {
        storage::RelayClient client;
        client.name = "shop";
        client.mail_class = 2;
        client.sender_domains = {"a.example"};
        client.addresses = {"10.1.2.3"};
        TRY_VOID(storage::RelayClientTx(tx).add(client));
        return {};
    }));
    CHECK_FALSE(f.ask());
    f.client = "shop";
    CHECK(f.ask());
}

TEST_CASE("the route is chosen as it will be: by who keeps the recipient's mail") {
    Fixture f;
    f.add_sendgrid();
    storage::Route google;
    google.name = "google";
    google.provider = "google";
    f.add_route(google, "grid");
    f.zone.add_mx("b.example", 20, "mx.b.example");
    CHECK_FALSE(f.ask());
    f.recipients = {"bob@g.example"};
    f.zone.add_mx("g.example", 20, "alt1.aspmx.l.google.com");
    f.zone.add_mx("g.example", 10, "aspmx.l.google.com");
    CHECK(f.ask());
}

TEST_CASE("a sender that the relay has said it does not know is told so, while that stands") {
    Fixture f;
    f.add_sendgrid();
    storage::Route all;
    all.name = "all";
    f.add_route(all, "grid");
    CHECK(f.ask());
    const auto remember = [&](Time probe) {
        REQUIRE(f.store->write({}, [&](storage::Tx& tx) {
            storage::Memory memory;
            memory.way = "grid";
            memory.site = "from:a.example";
            memory.probe = probe;
            memory.tries = 1;
            memory.reply = "The From address is not a verified sender at SendGrid";
            return storage::RouteTx(tx).remember(memory);
        }));
    };
    remember(f.clock.at + std::chrono::minutes(60));
    const auto refused = f.ask();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::refused);
    CHECK(refused.error().context ==
          "The relay \"grid\" does not take mail from a.example: The From address is not a verified sender at "
          "SendGrid. Have the domain verified there, then posthouse way forget grid");
    // Of another sender the relay has said nothing; it is DMARC that speaks against this one.
    CHECK(f.ask("a.example", "other.example").error().code == Errc::denied);
    f.clock.at += std::chrono::minutes(61);
    CHECK(f.ask());  // one is due to ask again
    remember(f.clock.at + std::chrono::minutes(60));
    CHECK_FALSE(f.ask());
    const auto forget = [](storage::Tx& tx) { return storage::RouteTx(tx).forget("grid", "", "from:a.example"); };
    REQUIRE(f.store->write({}, forget));
    CHECK(f.ask());
}
