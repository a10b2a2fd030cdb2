// Webhooks against a server that answers as the test says: what is sent, how it is signed, in which order, what follows
// a refusal, and which addresses are never dialled.
#include "relay/webhooks.h"

#include "protocols/crypto/crypto.h"
#include "protocols/net/memory.h"
#include "storage/incidents.h"
#include "storage/suppression.h"
#include "tests/support/json.h"
#include "tests/support/relay_house.h"
#include "tests/support/usual_mail.h"

namespace posthouse::relay {

namespace {

using storage::Webhook;
using storage::WebhookState;
using storage::WebhookTx;
using storage::WebhookView;

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";

/// An HTTP server: keeps the requests, answers 200 or what is next in `answers`.
struct Listener {
    std::vector<std::string> requests;
    std::vector<std::string> answers;
    net::TlsClientContext* tls = nullptr;

    net::Task<void> serve(std::unique_ptr<net::Stream> stream) {
        // The memory stream's handshake marks one end only; which side is named does not matter to it.
        if (tls != nullptr && !co_await stream->start_tls_client(*tls, net::TlsPeer("server"))) co_return;
        std::string heard;
        std::string buffer(4096, '\0');
        for (;;) {
            const std::size_t end = heard.find("\r\n\r\n");
            if (end != std::string::npos && heard.size() >= end + 4 + length_of(heard)) break;
            const auto got = co_await stream->read_some(std::span<char>(buffer.data(), buffer.size()));
            if (!got) co_return;
            heard.append(buffer.data(), *got);
        }
        requests.push_back(heard);
        std::string answer = "200 OK";
        if (!answers.empty()) {
            answer = answers.front();
            answers.erase(answers.begin());
        }
        if (answer.empty()) co_return;  // hangs up
        static_cast<void>(co_await stream->write_all("HTTP/1.1 " + answer + "\r\n\r\n"));
    }
    static std::size_t length_of(const std::string& heard) {
        const std::size_t at = heard.find("Content-Length: ");
        return at == std::string::npos ? 0 : static_cast<std::size_t>(std::atoi(heard.c_str() + at + 16));
    }
    std::string body(std::size_t i) const { return requests.at(i).substr(requests.at(i).find("\r\n\r\n") + 4); }
    std::string field(std::size_t i, const std::string& name) const {
        const std::string& text = requests.at(i);
        const std::size_t at = text.find("\r\n" + name + ": ");
        if (at == std::string::npos) return "";
        const std::size_t from = at + name.size() + 4;
        return text.substr(from, text.find("\r\n", from) - from);
    }
};

struct HookHouse {
    House house;
    Listener listener;
    std::unique_ptr<net::TlsClientContext> tls;

    HookHouse() {
        REQUIRE(crypto::init());
        auto made = net::TlsClientContext::make(net::Verify::required, "");
        REQUIRE(made.has_value());
        tls = *std::move(made);
        listener.tls = tls.get();
        house.resolver.add_a("hooks.example.net", "198.51.100.80");
        house.dialer.serve(net::Endpoint(net::IpAddress::parse("198.51.100.80").value(), 443),
                           [this](std::unique_ptr<net::Stream> stream) { return listener.serve(std::move(stream)); });
    }
    void add(const std::string& kinds = "", std::uint32_t batch = 1,
             const std::string& url = "https://hooks.example.net/hook") {
        Webhook hook;
        hook.name = "panel";
        hook.url = url;
        hook.kinds = kinds;
        hook.batch = batch;
        hook.sealed_secret = crypto::seal(house.store->sealing_key(), storage::kWebhookPurpose, kSecret);
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY_VOID(WebhookTx(tx).add(hook));
            return {};
        }));
    }
    Webhook hook() {
        return house.store->read([](const storage::Snapshot& s) { return WebhookView(s).by_name("panel"); }).value();
    }
    template <class F>
    void change(F fn) {
        REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
            WebhookTx webhooks(tx);
            return fn(webhooks);
        }));
    }
    void tell() {
        house.relay->wake();
        test::run_task(house.loop, house.relay->told());
    }
    std::vector<std::string> ids() const {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < listener.requests.size(); ++i) out.push_back(listener.field(i, "webhook-id"));
        return out;
    }
};

}  // namespace

TEST_CASE("events are told in the order of the log, each signed over id, time and body") {
    HookHouse f;
    f.add();
    f.house.submit({"bob@b.example"});
    f.house.settle();
    f.tell();
    REQUIRE(f.listener.requests.size() == 2);
    CHECK(f.listener.requests[0].starts_with("POST /hook HTTP/1.1\r\nHost: hooks.example.net\r\n"));
    CHECK(f.listener.body(0).contains("\"type\":\"accepted\""));
    CHECK(f.listener.body(0).contains("\"recipient\":\"bob@b.example\""));
    CHECK(f.listener.body(1).contains("\"type\":\"delivered\""));
    CHECK(f.listener.body(1).contains("\"way\":\"direct\""));
    CHECK(f.listener.body(1).contains("\"message_id\":\"m1@home.example\""));
    const std::string id = f.listener.field(0, "webhook-id");
    const std::string time = f.listener.field(0, "webhook-timestamp");
    CHECK(f.listener.body(0).contains("\"id\":\"" + id + "\""));
    const auto mac = crypto::hmac_sha256(kSecret, id + "." + time + "." + f.listener.body(0));
    CHECK(f.listener.field(0, "webhook-signature") ==
          "v1," + crypto::base64_encode(std::string(mac.begin(), mac.end())));
    CHECK(f.hook().told == 2);
    CHECK(f.hook().last_answer == "200");
}

TEST_CASE("only what it wants is told; a batch is an array, as long as it may be") {
    HookHouse f;
    f.add("delivered", 3);
    f.house.submit({"a@b.example", "b@b.example", "c@b.example", "d@b.example"});
    f.house.settle();
    f.tell();
    REQUIRE(f.listener.requests.size() >= 2);
    std::size_t events = 0;
    for (std::size_t i = 0; i < f.listener.requests.size(); ++i) {
        const std::string body = f.listener.body(i);
        CHECK(body.starts_with("["));
        CHECK(!body.contains("accepted"));
        for (std::size_t at = 0; (at = body.find("\"type\":\"delivered\"", at)) != std::string::npos; ++at) ++events;
    }
    CHECK(events == 4);
    CHECK(f.hook().told == 4);
}

TEST_CASE("what is not taken is sent again with the same id and body, later and later, and nothing overtakes it") {
    HookHouse f;
    f.add("accepted");
    f.listener.answers = {"500 Oops", "", "302 Found\r\nLocation: https://127.0.0.1/", "204 No Content"};
    f.house.submit({"a@b.example"});
    f.house.submit({"b@b.example"});
    f.tell();
    CHECK(f.listener.requests.size() == 1);
    CHECK(f.hook().tries == 1);
    f.house.clock.advance(std::chrono::seconds(4));
    f.tell();
    CHECK(f.listener.requests.size() == 1);  // not before its time
    f.house.clock.advance(std::chrono::seconds(3));
    f.tell();
    CHECK(f.listener.requests.size() == 2);
    f.house.clock.advance(std::chrono::seconds(13));
    f.tell();
    CHECK(f.listener.requests.size() == 3);
    CHECK(f.hook().last_answer == "302");
    f.house.clock.advance(std::chrono::seconds(25));
    f.tell();
    REQUIRE(f.listener.requests.size() == 5);
    const auto ids = f.ids();
    CHECK(ids[0] == ids[1]);
    CHECK(ids[0] == ids[2]);
    CHECK(ids[0] == ids[3]);
    CHECK(ids[4] != ids[0]);
    CHECK(f.listener.body(0) == f.listener.body(3));
    CHECK(f.hook().told == 2);
    CHECK(f.hook().failing_since == Time{});
}

TEST_CASE("a batch that was sent once stays the same batch, though more has happened since, and over a restart") {
    HookHouse f;
    f.add("accepted", 10);
    f.listener.answers = {"503 Busy"};
    f.house.submit({"a@b.example"});
    f.tell();
    f.house.submit({"b@b.example"});
    f.house.restart();
    f.house.clock.advance(std::chrono::seconds(10));
    f.tell();
    REQUIRE(f.listener.requests.size() == 3);
    CHECK(f.listener.body(0) == f.listener.body(1));
    CHECK(f.listener.field(0, "webhook-id") == f.listener.field(1, "webhook-id"));
    CHECK(f.listener.body(2).contains("b@b.example"));
}

TEST_CASE("who takes nothing for days is paused, and the postmaster told once; resumed, nothing is left out") {
    HookHouse f;
    f.add("accepted");
    f.listener.answers.assign(200, "500 Oops");
    f.house.submit({"a@b.example"});
    for (int i = 0; i < 100 && f.hook().state == WebhookState::active; ++i) {
        f.tell();
        f.house.clock.advance(std::chrono::hours(2));
    }
    CHECK(f.hook().state == WebhookState::given_up);
    const std::size_t tries = f.listener.requests.size();
    CHECK(tries > 20);
    f.house.settle();
    const auto open = f.house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); });
    REQUIRE(open->size() == 1);
    CHECK(open->front().key.kind == storage::IncidentKind::webhook);
    CHECK(open->front().key.domain == "panel");
    CHECK(open->front().remote == "https://hooks.example.net");  // the path may hold a secret, and this is mailed
    f.house.clock.advance(std::chrono::hours(48));
    f.tell();
    CHECK(f.listener.requests.size() == tries);
    f.listener.answers.clear();
    f.change([](WebhookTx& webhooks) { return webhooks.resume("panel"); });
    f.tell();
    CHECK(f.listener.requests.size() == tries + 1);
    CHECK(f.ids().back() == f.ids().front());
    CHECK(f.house.store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); })->empty());
}

TEST_CASE("\"fixed\" on the incident of a webhook lets it go on; one that somebody paused stays so") {
    HookHouse f;
    f.add("accepted");
    f.listener.answers = {"410 Gone"};
    f.house.submit({"a@b.example"});
    f.tell();
    REQUIRE(f.hook().state == WebhookState::given_up);
    const auto fixed = [&] {
        const auto done = f.house.store->write_value({}, [](storage::Tx& tx) {
            return storage::IncidentTx(tx).mended(storage::IncidentId{1}, "it was said to be mended");
        });
        return done && done->is_over;
    };
    CHECK(fixed());
    CHECK(f.hook().state == WebhookState::active);
    f.tell();
    REQUIRE(f.listener.requests.size() == 2);
    CHECK(f.ids().back() == f.ids().front());

    f.change([](WebhookTx& webhooks) { return webhooks.pause("panel"); });
    CHECK_FALSE(fixed());  // it is over
    CHECK(f.hook().state == WebhookState::paused);
}

TEST_CASE("410 is an answer for good; paused by hand nothing is sent; removed it is gone") {
    HookHouse f;
    f.add("accepted");
    f.listener.answers = {"410 Gone"};
    f.house.submit({"a@b.example"});
    f.tell();
    CHECK(f.hook().state == WebhookState::given_up);
    f.change([](WebhookTx& webhooks) { return webhooks.resume("panel"); });
    f.change([](WebhookTx& webhooks) { return webhooks.pause("panel"); });
    f.tell();
    CHECK(f.listener.requests.size() == 1);
    f.change([](WebhookTx& webhooks) { return webhooks.remove("panel"); });
    f.tell();
    CHECK(f.listener.requests.size() == 1);
}

TEST_CASE("replayed from an event or a time, the same events come in the same order") {
    HookHouse f;
    f.add();
    for (int i = 0; i < 3; ++i) {
        f.house.submit({"bob@b.example"});
        f.house.settle();
        f.house.clock.advance(std::chrono::minutes(1));
    }
    f.tell();
    const auto first = f.ids();
    REQUIRE(first.size() == 6);
    const std::string body = f.listener.body(2);
    f.change([&](WebhookTx& webhooks) { return webhooks.replay("panel", storage::parse_event_id(first[0])); });
    f.tell();
    const auto twice = f.ids();
    REQUIRE(twice.size() == 12);
    CHECK(std::vector(twice.begin() + 6, twice.end()) == first);
    CHECK(f.listener.body(8) == body);
    // From the last minute on: the third message alone.
    const Time moment = f.house.clock.now() - std::chrono::seconds(61);
    const auto at = f.house.store->read([&](const storage::Snapshot& s) { return WebhookView(s).first_at(moment); });
    REQUIRE(at);
    f.change([&](WebhookTx& webhooks) { return webhooks.replay("panel", *at); });
    f.tell();
    const auto third = f.ids();
    REQUIRE(third.size() == 14);
    CHECK(third[12] == first[4]);
    CHECK(third[13] == first[5]);
}

TEST_CASE("D48: a name that leads into our own house is not dialled, in whichever form its address comes") {
    for (const std::string_view address : {"127.0.0.1",
                                           "127.8.8.8",
                                           "0.0.0.0",
                                           "0.1.2.3",
                                           "10.1.2.3",
                                           "172.16.0.1",
                                           "192.168.1.1",
                                           "100.64.0.1",
                                           "169.254.169.254",
                                           "192.0.0.8",
                                           "198.18.0.1",
                                           "224.0.0.1",
                                           "255.255.255.255",
                                           "::",
                                           "::1",
                                           "::127.0.0.1",
                                           "::ffff:127.0.0.1",
                                           "::ffff:10.0.0.1",
                                           "64:ff9b::7f00:1",
                                           "64:ff9b:1::1",
                                           "2002:7f00:1::1",
                                           "2002:0a00:1::",
                                           "2001::1",
                                           "fe80::1",
                                           "fec0::1",
                                           "fc00::1",
                                           "fd00:ec2::254",
                                           "ff02::1",
                                           "100::1"}) {
        CAPTURE(address);
        HookHouse f;
        const auto parsed = net::IpAddress::parse(address);
        REQUIRE(parsed);
        CHECK(!parsed->is_public());
        f.house.resolver.add_a("inside.example.net", address);
        f.house.dialer.serve(net::Endpoint(*parsed, 443),
                             [&](std::unique_ptr<net::Stream> stream) { return f.listener.serve(std::move(stream)); });
        f.add("accepted", 1, "https://inside.example.net/");
        f.house.submit({"a@b.example"});
        f.tell();
        CHECK(f.listener.requests.empty());
        CHECK(f.hook().tries == 1);
        CHECK(f.hook().last_answer.contains("not a public one"));
    }
    for (const std::string_view address : {"192.0.2.1", "198.51.100.7", "9.9.9.9", "64:ff9b::909:909", "2001:db8::1",
                                           "2620:fe::fe", "2002:909:909::1"}) {
        CAPTURE(address);
        CHECK(net::IpAddress::parse(address).value().is_public());
    }
}

TEST_CASE("D48: of a name that has both, only the public address is dialled, and each once for what was looked at") {
    HookHouse f;
    f.house.resolver.add_a("both.example.net", "127.0.0.1");
    f.house.resolver.add_a("both.example.net", "198.51.100.80");
    f.add("accepted", 1, "https://both.example.net/");
    f.house.submit({"a@b.example"});
    f.tell();
    CHECK(f.listener.requests.size() == 1);
    for (const net::Endpoint& to : f.house.dialer.dialled()) CHECK(to.address.is_public());
}

TEST_CASE("a network of the own house is reached where the setting names it, also without TLS and by address") {
    HookHouse f;
    f.listener.tls = nullptr;
    const auto inside = net::IpAddress::parse("192.168.1.9").value();
    f.house.dialer.serve(net::Endpoint(inside, 8123),
                         [&](std::unique_ptr<net::Stream> stream) { return f.listener.serve(std::move(stream)); });
    f.add("accepted", 1, "http://192.168.1.9:8123/api/webhook/x");
    f.house.submit({"a@b.example"});
    f.tell();
    CHECK(f.listener.requests.empty());
    CHECK(f.hook().tries == 1);
    REQUIRE(f.house.store->write({}, [](storage::Tx& tx) {
        return tx.catalog().set_setting("webhook.allow_private", "10.0.0.0/8 192.168.1.0/24");
    }));
    f.house.clock.advance(std::chrono::minutes(1));
    f.tell();
    REQUIRE(f.listener.requests.size() == 1);
    CHECK(f.listener.requests[0].contains("\r\nHost: 192.168.1.9:8123\r\n"));
    // Another network is not meant by it.
    CHECK(!net::IpAddress::parse("192.168.2.9").value().is_public());
}

TEST_CASE("edited in place it keeps its place in the log, and a batch that was fixed is made up anew") {
    Listener other;
    HookHouse f;
    f.house.resolver.add_a("other.example.net", "198.51.100.81");
    other.tls = f.tls.get();
    f.house.dialer.serve(net::Endpoint(net::IpAddress::parse("198.51.100.81").value(), 443),
                         [&](std::unique_ptr<net::Stream> stream) { return other.serve(std::move(stream)); });
    f.add("", 10);
    f.listener.answers = {"500 Oops", "500 Oops"};
    f.house.submit({"bob@b.example"});
    f.house.settle();
    f.tell();
    CHECK(f.hook().tries >= 1);
    CHECK(f.hook().until > 0);
    f.change([&](WebhookTx& webhooks) -> Result<> {
        Webhook hook = f.hook();
        hook.url = "https://other.example.net/new";
        hook.kinds = "delivered";
        return webhooks.set(hook);
    });
    CHECK(f.hook().tries == 0);
    f.tell();
    REQUIRE(other.requests.size() == 1);
    CHECK(other.requests[0].starts_with("POST /new HTTP/1.1\r\nHost: other.example.net\r\n"));
    CHECK(other.body(0).contains("\"type\":\"delivered\""));
    CHECK_FALSE(other.body(0).contains("\"type\":\"accepted\""));
    CHECK(f.hook().told == 1);
}

TEST_CASE("a new secret: both sign for as long as was said, then the new one alone") {
    HookHouse f;
    f.add("accepted");
    constexpr std::string_view kNew = "fedcba9876543210fedcba9876543210";
    f.change([&](WebhookTx& webhooks) {
        const std::string sealed = crypto::seal(f.house.store->sealing_key(), storage::kWebhookPurpose, kNew);
        return webhooks.set_secret("panel", sealed, f.house.clock.now() + std::chrono::hours(24));
    });
    const auto signed_with = [&](std::size_t i, std::string_view secret) {
        return webhook_signature(secret, f.listener.field(i, "webhook-id"),
                                 std::atoll(f.listener.field(i, "webhook-timestamp").c_str()), f.listener.body(i));
    };
    f.house.submit({"bob@b.example"});
    f.tell();
    REQUIRE(f.listener.requests.size() == 1);
    CHECK(f.listener.field(0, "webhook-signature") == signed_with(0, kNew) + " " + signed_with(0, kSecret));
    f.house.clock.advance(std::chrono::hours(25));
    f.house.submit({"carol@b.example"});
    f.tell();
    REQUIRE(f.listener.requests.size() == 2);
    CHECK(f.listener.field(1, "webhook-signature") == signed_with(1, kNew));
}

TEST_CASE("Retry-After is waited for, within bounds; without one the usual wait") {
    const Time now = from_unix_ms(1'764'000'000'000);  // 2025-11-24T16:00:00Z
    CHECK(retry_after("120", now) == std::chrono::minutes(2));
    CHECK(retry_after(" 99999999999 ", now) == kRetryAfterMost);
    CHECK(retry_after("Mon, 24 Nov 2025 16:01:00 GMT", now) == std::chrono::minutes(1));
    CHECK(retry_after("Mon, 24 Nov 2025 15:00:00 GMT", now) == Milliseconds(0));
    CHECK(retry_after("soon", now) == Milliseconds(0));
    CHECK(retry_after("-5", now) == Milliseconds(0));
    HookHouse f;
    f.add("accepted");
    f.listener.answers = {"429 Slow down\r\nRetry-After: 1800"};
    f.house.submit({"bob@b.example"});
    f.tell();
    REQUIRE(f.listener.requests.size() == 1);
    CHECK(f.hook().next >= f.house.clock.now() + std::chrono::minutes(30));
    CHECK(f.hook().next <= f.house.clock.now() + std::chrono::minutes(37));
    f.house.clock.advance(std::chrono::minutes(38));
    f.tell();
    CHECK(f.listener.requests.size() == 2);
}

TEST_CASE("the wait grows from seconds to an hour, and no further") {
    CHECK(webhook_wait(0) == std::chrono::seconds(5));
    CHECK(webhook_wait(1) == std::chrono::seconds(10));
    CHECK(webhook_wait(10) == std::chrono::hours(1));
    CHECK(webhook_wait(4'000'000'000) == std::chrono::hours(1));
}

namespace {

/// What the listener was told of one kind, each as its data.
std::vector<test::Json> told_of(const Listener& listener, std::string_view kind) {
    std::vector<test::Json> out;
    for (std::size_t i = 0; i < listener.requests.size(); ++i) {
        const auto event = test::parse_json(listener.body(i));
        REQUIRE(event);
        CHECK((*event)["id"].text == listener.field(i, "webhook-id"));
        CHECK((*event)["timestamp"].text.ends_with("Z"));
        if ((*event)["type"].text == kind) out.push_back((*event)["data"]);
    }
    return out;
}

// The one event of that kind: about this recipient, with that in its detail.
test::Json only(const Listener& listener, std::string_view kind, std::string_view recipient, std::string_view detail) {
    CAPTURE(kind);
    const auto all = told_of(listener, kind);
    REQUIRE(all.size() == 1);
    CHECK(all[0]["recipient"].text == recipient);
    CHECK(all[0]["sender"].text == "alice@home.example");
    CHECK(all[0]["message_id"].text == "m1@home.example");
    CHECK(all[0]["queue_id"].text.starts_with("q"));
    CHECK(all[0]["domain"].text == "home.example");
    CHECK(all[0]["detail"].text.contains(detail));
    return all[0];
}

}  // namespace

TEST_CASE("each kind of event is told with what belongs to it: what was put off, bounced, called spam, not sent") {
    HookHouse f;
    f.add();
    f.house.remote.once("RCPT TO:<slow@", "451 4.7.1 Greylisted, try again");
    f.house.remote.always("RCPT TO:<gone@", "550 5.1.1 No such user here");
    f.house.submit({"slow@b.example"});
    f.house.submit({"gone@b.example"});
    f.house.settle();
    REQUIRE(f.house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().set_setting("suppression.apply", "all"));
        const storage::SuppressionProof proof(storage::SuppressionReason::by_hand, "she asked", "");
        TRY_VOID(storage::SuppressionTx(tx).add("home.example", "carol@b.example", proof));
        return {};
    }));
    f.house.submit({"carol@b.example"});
    f.house.settle();
    const auto queue = f.house.submit({"bob@b.example"});
    f.house.settle();
    // As server/returns does for a complaint.
    REQUIRE(f.house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(auto events, tx.events().by_queue(queue));
        storage::Event event = events.back();
        event.kind = EventKind::complained;
        event.detail = "abuse reported by mx.b.example";
        return tx.events().append(event);
    }));
    f.tell();
    const test::Json deferred = only(f.listener, "deferred", "slow@b.example", "451 4.7.1 Greylisted, try again");
    CHECK(deferred["class"].text == "greylisted");
    CHECK(deferred["way"].text == "direct");
    CHECK(deferred["provider"].text == "other");
    const test::Json bounced = only(f.listener, "bounced", "gone@b.example", "550 5.1.1 No such user here");
    CHECK(bounced["class"].text == "recipient-unknown");
    CHECK(bounced["way"].text == "direct");
    const test::Json suppressed = only(f.listener, "suppressed", "carol@b.example", "she asked");
    CHECK(suppressed["class"].text == "suppressed");
    CHECK_FALSE(suppressed.has("way"));  // nobody was asked
    const test::Json complained = only(f.listener, "complained", "bob@b.example", "abuse reported by mx.b.example");
    CHECK(complained["way"].text == "direct");
    CHECK(told_of(f.listener, "accepted").size() >= 4);
    CHECK(told_of(f.listener, "delivered").size() == 1);
    CHECK(f.house.metrics.counter("webhook_events_total", "").get() ==
          static_cast<std::int64_t>(f.listener.requests.size()));
    CHECK(f.house.metrics.counter("webhook_failures_total", "").get() == 0);
}

TEST_CASE("what is held, released and cancelled is told; and a POST that is not taken is counted") {
    HookHouse f;
    f.add("held released cancelled");
    f.house.remote.always("RCPT", "451 4.3.0 later");
    const auto queue = f.house.submit({"bob@b.example"});
    f.house.settle();
    f.listener.answers = {"500 Oops"};
    for (const auto step : {&storage::QueueTx::hold, &storage::QueueTx::release, &storage::QueueTx::cancel}) {
        REQUIRE(f.house.store->write({}, [&](storage::Tx& tx) { return (tx.queue().*step)(queue); }));
    }
    f.tell();
    CHECK(f.house.metrics.counter("webhook_failures_total", "").get() == 1);
    CHECK(f.house.metrics.counter("webhook_events_total", "").get() == 0);
    f.house.clock.advance(std::chrono::minutes(1));
    f.tell();
    f.listener.requests.erase(f.listener.requests.begin());  // the one that was not taken
    only(f.listener, "held", "bob@b.example", "held until it is released");
    only(f.listener, "released", "bob@b.example", "released, due at once");
    only(f.listener, "cancelled", "bob@b.example", "taken out of the queue");
    CHECK(f.house.metrics.counter("webhook_events_total", "").get() == 3);
}

TEST_CASE("that mail to a place has stopped, and arrives again, is told without a message") {
    HookHouse f;
    f.add("stopped resumed");
    test::fill_usual(f.house, "b.example");
    f.house.remote.always("RCPT", "451 4.3.0 later");
    for (const char* name : {"bob", "carol", "dave", "eve"}) f.house.submit({std::string(name) + "@b.example"});
    for (int i = 0; i < 48 && told_of(f.listener, "stopped").empty(); ++i) {
        f.house.settle_after(std::chrono::minutes(30));
        f.tell();
    }
    f.house.remote.always("RCPT", "250 2.1.5 Ok");
    for (int i = 0; i < 48 && told_of(f.listener, "resumed").empty(); ++i) {
        f.house.settle_after(std::chrono::minutes(30));
        f.tell();
    }
    REQUIRE(told_of(f.listener, "stopped").size() == 1);
    const test::Json stopped = told_of(f.listener, "stopped")[0];
    CHECK(stopped["provider"].text == "b.example");
    CHECK(stopped["detail"].text.starts_with("mail to b.example has stopped: nothing got through since "));
    CHECK_FALSE(stopped.has("message_id"));
    CHECK_FALSE(stopped.has("recipient"));
    REQUIRE(told_of(f.listener, "resumed").size() == 1);
    CHECK(told_of(f.listener, "resumed")[0]["detail"].text == "mail to b.example arrives again");
}

}  // namespace posthouse::relay
