// Mail that a domain of ours passes on for somebody outside: its reverse-path, and our seal on it.
#include <algorithm>

#include "protocols/mailauth/dkim.h"
#include "protocols/mailauth/return_token.h"
#include "protocols/smtp/path.h"
#include "relay/arc_seal.h"
#include "relay/reverse_path.h"
#include "storage/way_tokens.h"
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
void forward(House& house, std::string_view message = kForwarded, std::string sender = "bob@far.example") {
    const auto body = house.store.stage(message);
    REQUIRE(house.store->write({body}, [&](storage::Tx& tx) -> Result<> {
        storage::Delivery delivery;
        delivery.body = body;
        delivery.facts = mime::compute_facts(message);
        delivery.sender = sender;
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

TEST_CASE("tokens in reverse-paths: where the setting asks for them and a bounce would come back to us") {
    House house;
    const auto sent_as = [&](const std::string& sender, std::vector<std::string> recipients) {
        house.remote.lines.clear();
        const auto queue = house.submit(std::move(recipients), sender);
        house.settle();
        CHECK(house.events(queue, EventKind::delivered) > 0);
        const auto line = std::ranges::find_if(house.remote.lines, [](const auto& l) { return l.starts_with("MAIL"); });
        REQUIRE(line != house.remote.lines.end());
        const std::string path = line->substr(11, line->find('>') - 11);
        return std::pair(queue, smtp::parse_mailbox(path).value_or(smtp::Path()));
    };
    const auto keys = mailauth::return_keys(house.store->sealing_key());
    const auto set = [&](std::string_view value) {
        REQUIRE(house.store->write(
            {}, [&](storage::Tx& tx) { return tx.catalog().set_setting("return_path.tokens", value); }));
    };
    CHECK(sent_as("alice@home.example", {"bob@b.example"}).second.spec() == "alice@home.example");
    set("programs");  // a letter keeps its sender
    CHECK(sent_as("alice@home.example", {"bob@b.example"}).second.spec() == "alice@home.example");
    set("all");
    const auto [queue, path] = sent_as("alice@Home.example", {"bob@b.example"});
    CHECK(path.domain == "home.example");
    const auto token = mailauth::read_return_token(keys, path.local_part, house.clock.now());
    REQUIRE(token);
    CHECK(token->queue == static_cast<std::uint64_t>(storage::raw(queue)));
    CHECK(token->recipient == mailauth::return_hash("bob@b.example"));
    // One transaction, one reverse-path: of several recipients none is meant alone, but all of one domain.
    const auto several = sent_as("alice@home.example", {"bob@b.example", "carol@b.example"});
    const auto shared = mailauth::read_return_token(keys, several.second.local_part, house.clock.now());
    REQUIRE(shared);
    CHECK(shared->recipient == mailauth::return_hash("@b.example"));
    // Way by way: off where it is on for all, and the other way round.
    const auto left_with = [&](storage::QueueId id) {
        return house.store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); })
            .value()
            .back()
            .facts;
    };
    const auto set_way = [&](std::string_view word) {
        REQUIRE(
            house.store->write({}, [&](storage::Tx& tx) { return storage::set_tokens_of_way(tx, "direct", word); }));
    };
    set_way("off");
    const auto off = sent_as("alice@home.example", {"bob@b.example"});
    CHECK(off.second.spec() == "alice@home.example");
    CHECK_FALSE(left_with(off.first).has(storage::kUnderToken));
    set("off");
    set_way("on");
    const auto on = sent_as("alice@home.example", {"bob@b.example"});
    CHECK(mailauth::is_return_token(on.second.local_part));
    CHECK(left_with(on.first).has(storage::kUnderToken));
    set_way("programs");  // a letter keeps its sender
    CHECK(sent_as("alice@home.example", {"bob@b.example"}).second.spec() == "alice@home.example");
    set_way("default");
    CHECK(sent_as("alice@home.example", {"bob@b.example"}).second.spec() == "alice@home.example");
    REQUIRE_FALSE(
        house.store->write({}, [](storage::Tx& tx) { return storage::set_tokens_of_way(tx, "direct", "perhaps"); }));
    set("all");
    // A bounce to another's domain would not come here.
    CHECK(sent_as("eve@far.example", {"bob@b.example"}).second.spec() == "eve@far.example");
    forward(house);
    house.settle();
    while (!house.remote.lines.back().starts_with("QUIT")) house.loop.poll();  // an idle connection is closed
    CHECK(std::ranges::any_of(house.remote.lines, [](const auto& l) { return l.starts_with("MAIL FROM:<SRS0="); }));
}

TEST_CASE("a token is the same for each try, so that greylists know it again") {
    House house;
    REQUIRE(
        house.store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting("return_path.tokens", "all"); }));
    house.remote.once("RCPT", "451 4.7.1 greylisted, try again later");
    house.submit({"bob@b.example"});
    house.settle();
    house.settle_after(std::chrono::hours(26));
    std::vector<std::string> paths;
    for (const std::string& line : house.remote.lines) {
        if (line.starts_with("MAIL")) paths.push_back(line.substr(0, line.find('>')));
    }
    REQUIRE(paths.size() == 2);
    CHECK(paths[0] == paths[1]);
}

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

TEST_CASE("a stranger's mail that is passed on does not get the signature of the domain it claims") {
    House house;
    add_key(house, crypto::SigningAlgorithm::rsa_sha256, "s1");
    constexpr std::string_view kForged =
        "From: alice@home.example\r\nTo: alias@home.example\r\nMessage-ID: <m3@far.example>\r\n\r\nbody\r\n";
    forward(house, kForged);
    forward(house, kForged, "");  // a report, to a bounce address
    house.settle();
    REQUIRE(house.remote.messages.size() == 2);
    for (const std::string& one : house.remote.messages) CHECK_FALSE(one.contains("DKIM-Signature:"));
    CHECK(house.remote.count("MAIL FROM:<>") == 1);
    house.submit({"bob@b.example"});  // her own
    house.settle();
    REQUIRE(house.remote.messages.size() == 3);
    CHECK(house.remote.messages[2].contains("d=home.example;"));
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
