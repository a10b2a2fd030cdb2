// posthouse route test: the mail that would leave by the way, followed to where it arrives.
#include "relay/probe.h"

#include <algorithm>

#include "protocols/crypto/crypto.h"
#include "protocols/mailauth/return_token.h"
#include "storage/way_tokens.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

// Outlives the connections of the house.
struct Smarthost {
    test::ScriptedRemote smarthost;
};

struct ProbeHouse : Smarthost, House {
    ProbeHouse() {
        serve("10.0.0.9", smarthost);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY(const auto made, crypto::SigningKey::generate(crypto::SigningAlgorithm::ed25519_sha256));
            TRY(const storage::Domain domain, tx.catalog().domain("home.example"));
            storage::DkimKey key;
            key.domain = domain.id;
            key.selector = "e1";
            key.algorithm = "ed25519-sha256";
            key.sealed_pem = crypto::seal(store->sealing_key(), "dkim", made.to_pem());
            key.dns_record = "v=DKIM1";
            TRY_VOID(tx.catalog().add_dkim_key(key));
            return {};
        }));
    }
    void keep() {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return storage::RouteTx(tx).add_way(way); }));
    }
    ProbeResult probe(std::string to, std::chrono::milliseconds wait = std::chrono::milliseconds(1)) {
        ProbeRequest request;
        request.way = way;
        request.from = "postmaster@home.example";
        request.to = std::move(to);
        request.wait = wait;
        return test::run_task(loop, probe_way(kept, std::move(request)));
    }
    static bool says(const ProbeResult& result, std::string_view words) {
        for (const std::string& one : result.sentences) {
            if (one.contains(words)) return true;
        }
        std::string all;
        for (const std::string& one : result.sentences) all += one + "\n";
        MESSAGE(all);
        return false;
    }
    std::vector<storage::Event> events_of(const ProbeResult& result) {
        const std::string id = result.message_id.substr(1, result.message_id.size() - 2);
        return store->read([&](const storage::Snapshot& s) { return s.events().by_message_id(id); }).value();
    }

    storage::Way way = smarthost_way();
};

// What the smarthost took comes back into the mailbox here.
net::Task<void> bring_back(ProbeHouse& house) {
    net::Event taken(house.loop);
    house.smarthost.on_message = [&] { taken.set(); };
    co_await taken.wait();
    house.smarthost.on_message = nullptr;
    const auto body = house.store.stage(house.smarthost.messages.front());
    const auto facts = mime::compute_facts(house.smarthost.messages.front());
    const auto done = house.store->write({body}, [&](storage::Tx& tx) -> Result<> {
        storage::Delivery delivery;
        delivery.body = body;
        delivery.facts = facts;
        delivery.sender = "postmaster@home.example";
        delivery.first_attempt = tx.now();
        storage::LocalCopy copy;
        copy.account = house.alice;
        copy.recipient = "alice@home.example";
        delivery.local.push_back(std::move(copy));
        TRY_VOID(tx.deliver(delivery));
        return {};
    });
    static_cast<void>(done);
}

net::Task<void> keep_result(ProbeHouse& house, ProbeRequest request, ProbeResult& out) {
    out = co_await probe_way(house.kept, std::move(request));
}

}  // namespace

TEST_CASE("the probe is the mail that would leave: signed, with the way's fields and return path") {
    ProbeHouse house;
    house.way.headers = "Resend-Idempotency-Key: {queue}\nX-Stream: alerts\n";
    house.way.preset = "resend";
    house.way.return_path = "bounce.home.example";
    house.way.limits.recipients_max = 50;
    house.smarthost.keywords = {"SIZE 1000000", "LIMITS RCPTMAX=20"};
    house.keep();
    const ProbeResult result = house.probe("bob@b.example");
    CHECK(result.good);
    REQUIRE(house.smarthost.messages.size() == 1);
    const std::string& mail = house.smarthost.messages[0];
    CHECK(mail.starts_with("DKIM-Signature:"));
    CHECK(mail.contains("d=home.example;"));
    CHECK(mail.contains("Resend-Idempotency-Key: probe."));
    CHECK(mail.contains("X-Stream: alerts\r\n"));
    CHECK_FALSE(mail.contains("{queue}"));
    CHECK(house.smarthost.count("MAIL FROM:<SRS0=") == 1);
    CHECK(mail.contains("Message-ID: " + result.message_id));
    CHECK(house.says(result, "set --max-size 1000000"));
    CHECK(house.says(result, "set --max-recipients 20"));
    CHECK(house.says(result, "Look for Message-ID " + result.message_id));
    const auto events = house.events_of(result);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == EventKind::delivered);
    CHECK(events[0].recipient == "bob@b.example");
    CHECK(events[0].detail.starts_with("route test by way relay: 250"));
    CHECK(events[0].dialogue.contains("RCPT TO:<bob@b.example>"));
}

TEST_CASE("the probe bears a return token where mail of programs does; a bounce to it finds its sender") {
    ProbeHouse house;
    house.keep();
    CHECK(house.probe("bob@b.example").good);
    CHECK(house.smarthost.count("MAIL FROM:<postmaster@home.example>") == 1);
    REQUIRE(house.store->write({}, [](storage::Tx& tx) {
        return storage::set_tokens_of_way(tx, "relay", "programs");
    }));
    const ProbeResult result = house.probe("bob@b.example");
    CHECK(result.good);
    REQUIRE(house.smarthost.count("MAIL FROM:<PHT0=") == 1);
    const auto events = house.events_of(result);
    REQUIRE(events.size() == 1);
    const auto line = std::ranges::find_if(house.smarthost.lines, [](const std::string& one) {
        return one.starts_with("MAIL FROM:<PHT0=");
    });
    const std::string local = line->substr(11, line->find('@') - 11);
    const auto token =
        mailauth::read_return_token(mailauth::return_keys(house.store->sealing_key()), local, house.clock.now());
    REQUIRE(token);
    const auto found = house.store->read([&](const storage::Snapshot& s) {
        return s.events().by_queue(static_cast<storage::QueueId>(token->queue));
    });
    REQUIRE(found->size() == 1);
    CHECK(found->front().sender == "postmaster@home.example");
    CHECK(token->recipient == mailauth::return_hash("bob@b.example"));
}

// Gives one token, and keeps what it was asked with.
struct Door final : TokenDoor {
    net::Task<Result<Answer>> post(std::string url, std::string form) override {
        asked = url + " " + form;
        Answer out;
        out.status = 200;
        out.body = R"({"access_token":"t0ken","token_type":"Bearer","expires_in":3600})";
        co_return out;
    }
    std::string asked;
};

TEST_CASE("the probe logs in with the OAuth token that mail by this way would bear") {
    ProbeHouse house;
    Door door;
    house.kept.token_door = &door;
    house.way.url = "smtp://me@10.0.0.9:25";
    house.way.oauth.token_url = "https://login.example/token";
    house.way.oauth.client_id = "app";
    house.way.oauth.scope = "send";
    house.way.sealed_secret = crypto::seal(house.store->sealing_key(), "route", "s3cret");
    house.keep();
    const ProbeResult result = house.probe("");
    CHECK_FALSE(result.good);  // no TLS between these two: the token stays at home
    CHECK(door.asked == "https://login.example/token client_id=app&grant_type=client_credentials&client_secret=s3cret"
                        "&scope=send");
}

TEST_CASE("a refused probe is written down, too") {
    ProbeHouse house;
    house.keep();
    house.smarthost.always("RCPT", "550 5.1.1 no such user");
    const ProbeResult result = house.probe("bob@b.example");
    CHECK_FALSE(result.good);
    const auto events = house.events_of(result);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == EventKind::attempted);
    CHECK(events[0].detail.contains("550 5.1.1 no such user"));
}

TEST_CASE("directly, from the address of the pool") {
    ProbeHouse house;
    house.way = storage::Way();
    house.way.name = "news";
    house.way.pool = "p";
    house.keep();
    REQUIRE(house.store->write({}, [](storage::Tx& tx) {
        return storage::RouteTx(tx).add_address(storage::SourceAddress{"192.0.2.77", "p", "out.home.example"});
    }));
    const ProbeResult result = house.probe("bob@b.example");
    CHECK(result.good);
    CHECK(house.says(result, "from 192.0.2.77"));
    CHECK(house.remote.count("EHLO out.home.example") == 1);
    CHECK(house.events_of(result).front().detail.starts_with("route test by way news from 192.0.2.77: 250"));
}

TEST_CASE("to a mailbox of this server: waited for, and where it does not come, said so") {
    ProbeHouse house;
    house.keep();
    ProbeResult result;
    ProbeRequest request;
    request.way = house.way;
    request.from = "postmaster@home.example";
    request.to = "alice@home.example";
    request.wait = std::chrono::seconds(60);
    net::TaskGroup tasks(house.loop);
    tasks.spawn("bring", bring_back(house));
    tasks.spawn("probe", keep_result(house, request, result));
    test::run_task(house.loop, tasks.join());
    CHECK(result.good);
    CHECK(house.says(result, "It arrived in the mailbox of alice@home.example after"));

    const ProbeResult lost = house.probe("alice@home.example", std::chrono::milliseconds(20));
    CHECK_FALSE(lost.good);
    CHECK(house.says(lost, "It has not arrived in the mailbox of alice@home.example"));
}

}  // namespace posthouse::relay
