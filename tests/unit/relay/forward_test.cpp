// Mail that a domain of ours passes on for somebody outside: its reverse-path, and our seal on it.
#include "protocols/mailauth/dkim.h"
#include "protocols/smtp/path.h"
#include "relay/arc_seal.h"
#include "relay/reverse_path.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

constexpr std::string_view kForwarded =
    "Return-Path: <bob@far.example>\r\n"
    "Authentication-Results: mail.home.example;\r\n\tspf=pass smtp.mailfrom=\"bob@far.example\";\r\n\t"
    "dmarc=pass header.from=far.example;\r\n\tarc=none\r\n"
    "Received: from mx.far.example ([192.0.2.77])\r\n\tby mail.home.example with ESMTP;\r\n\t"
    "Thu, 14 Jan 2025 15:00:01 +0000\r\n"
    "From: bob@far.example\r\nTo: alias@home.example\r\nMessage-ID: <m2@far.example>\r\nSubject: hello\r\n\r\nbody\r\n";

const Time kNow = from_unix_ms(1'764'000'000'000);

storage::QueueItem item_from(std::string sender, std::string forwarded_by) {
    storage::QueueItem item;
    item.reverse_path = std::move(sender);
    item.forwarded_by = std::move(forwarded_by);
    return item;
}

// Queued as server/delivery does for an alias that leads to b.example.
void forward(House& house) {
    const auto body = house.store.stage(kForwarded);
    REQUIRE(house.store->write({body}, [&](storage::Tx& tx) -> Result<> {
        storage::Delivery delivery;
        delivery.body = body;
        delivery.facts = mime::compute_facts(kForwarded);
        delivery.sender = "bob@far.example";
        delivery.first_attempt = tx.now();
        storage::NewQueueItem item;
        item.reverse_path = delivery.sender;
        item.forwarded_by = "home.example";
        item.expires = tx.now() + std::chrono::hours(24 * 5);
        item.recipients.push_back({"carol@b.example", "rfc822;alias@home.example", 0});
        delivery.outgoing = item;
        TRY_VOID(tx.deliver(delivery));
        return {};
    }));
}

void add_key(House& house, crypto::SigningAlgorithm algorithm, const std::string& selector) {
    const auto key = crypto::SigningKey::generate(algorithm);
    REQUIRE(key);
    REQUIRE(house.store->write({}, [&](storage::Tx& tx) -> Result<> {
        TRY(const storage::Domain domain, tx.catalog().domain("home.example"));
        storage::DkimKey row;
        row.domain = domain.id;
        row.selector = selector;
        row.algorithm = algorithm == crypto::SigningAlgorithm::rsa_sha256 ? "rsa-sha256" : "ed25519-sha256";
        row.sealed_pem = crypto::seal(house.store->sealing_key(), "dkim", key->to_pem());
        row.dns_record = mailauth::dkim_dns_record(*key);
        TRY_VOID(tx.catalog().add_dkim_key(row));
        return {};
    }));
    house.resolver.add_txt(selector + "._domainkey.home.example", mailauth::dkim_dns_record(*key));
}

}  // namespace

TEST_CASE("reverse-paths: rewritten where SPF would ask about somebody else, else left alone") {
    const mailauth::SrsKeys keys = mailauth::srs_keys("a sealing key");
    const auto wire = [&](std::string sender, std::string forwarded_by, std::string_view way) {
        return reverse_path_for(item_from(std::move(sender), std::move(forwarded_by)), way, keys, kNow);
    };
    CHECK(wire("alice@home.example", "", "") == "alice@home.example");
    CHECK(wire("", "home.example", "bounce.home.example").empty());
    const std::string forwarded = wire("bob@far.example", "home.example", "");
    CHECK(forwarded.starts_with("SRS0="));
    CHECK(forwarded.ends_with("=far.example=bob@home.example"));
    // The way's domain comes first: it is where the message leaves.
    CHECK(wire("bob@far.example", "home.example", "bounce.home.example").ends_with("@bounce.home.example"));
    const std::string own = wire("alice@home.example", "", "bounce.home.example");
    CHECK(own.ends_with("=home.example=alice@bounce.home.example"));
    CHECK(wire("x@Bounce.home.example", "", "bounce.home.example") == "x@Bounce.home.example");
    CHECK(wire("bob@[192.0.2.1]", "home.example", "") == "bob@[192.0.2.1]");
    const std::string long_one = std::string(60, 'a') + "@far.example";
    CHECK(wire(long_one, "home.example", "") == long_one);
    // Quoted where it must be, and the way back gives the same address.
    const std::string quoted = wire("\"b b\"@far.example", "home.example", "");
    const auto path = smtp::parse_mailbox(quoted);
    REQUIRE(path);
    const auto back = mailauth::srs_reverse(keys, path->local_part, kNow);
    REQUIRE(back);
    CHECK(back->local == "b b");
}

TEST_CASE("the verdict on top of a message: ours, or none") {
    const auto found = find_verdict(kForwarded, "Mail.Home.Example");
    REQUIRE(found);
    CHECK(found->chain == mailauth::ArcStatus::none);
    CHECK(found->results.contains("dmarc=pass"));
    CHECK_FALSE(find_verdict(kForwarded, "other.example"));
    CHECK_FALSE(find_verdict("From: bob@far.example\r\n\r\n", "mail.home.example"));
    CHECK_FALSE(find_verdict("Authentication-Results: m.example; arc=temperror\r\n\r\n", "m.example"));
    CHECK(find_verdict("Authentication-Results: m.example; arc=pass\r\n\r\n", "m.example")->chain ==
          mailauth::ArcStatus::pass);
}

TEST_CASE("what is passed on bears our reverse-path and our seal, which holds") {
    House house;
    add_key(house, crypto::SigningAlgorithm::ed25519_sha256, "e1");
    add_key(house, crypto::SigningAlgorithm::rsa_sha256, "r1");
    forward(house);
    house.settle();
    CHECK(house.waiting() == 0);
    REQUIRE(house.remote.messages.size() == 1);
    const std::string& sent = house.remote.messages[0];
    CHECK(house.remote.count("MAIL FROM:<SRS0=") == 1);
    CHECK(sent.starts_with("ARC-Seal: i=1; a=rsa-sha256; d=home.example; s=r1;"));
    const auto chain = test::run_task(house.loop, mailauth::verify_arc(house.resolver, sent));
    INFO(chain.reason);
    REQUIRE(chain.status == mailauth::ArcStatus::pass);
    REQUIRE(chain.sets.size() == 1);
    CHECK(chain.sets[0].authserv_id == "mail.home.example");
    CHECK(chain.sets[0].dmarc == "pass");
    CHECK_FALSE(sent.contains("DKIM-Signature"));  // it is not ours
}

TEST_CASE("a forward that bounces tells the sender himself, at the address he has") {
    test::ScriptedRemote far;  // outlives the house, which says goodbye to it
    House house;
    house.resolver.add_mx("far.example", 10, "mx.far.example");
    house.resolver.add_a("mx.far.example", "192.0.2.2");
    house.serve("192.0.2.2", far);
    house.remote.always("RCPT TO:<carol@", "550 5.1.1 No such user");
    forward(house);
    house.settle();
    CHECK(far.count("MAIL FROM:<>") == 1);
    CHECK(far.count("RCPT TO:<bob@far.example>") == 1);
}

}  // namespace posthouse::relay
