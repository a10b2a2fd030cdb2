// The receivers' own replies (Gmail, Yahoo, Apple, Outlook.com, Exchange Online, T-Online), each with what must follow:
// for the message, for the mail behind it, and for whoever runs the server.
#include <fmt/format.h>

#include <algorithm>

#include "relay/controller.h"
#include "relay/incidents.h"
#include "relay/reputation.h"
#include "storage/routes.h"
#include "storage/transport.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using storage::Incident;
using storage::RecipientState;

constexpr std::string_view kGoogle = "gmail-smtp-in.l.google.com";
constexpr std::string_view kYahoo = "mta5.am0.yahoodns.net";
constexpr std::string_view kApple = "mx01.mail.icloud.com";
constexpr std::string_view kOutlook = "eur.olc.protection.outlook.com";
constexpr std::string_view kExchange = "there-example.mail.protection.outlook.com";
constexpr std::string_view kOther = "mx.there.example";

struct Peers {
    test::ScriptedRemote peer;
    test::ScriptedRemote second;
};

struct ReplyHouse : Peers, House {
    explicit ReplyHouse(std::string_view mx = kGoogle) {
        peer.keywords = second.keywords = {"8BITMIME"};
        resolver.add_mx("there.example", 10, mx);
        resolver.add_a(mx, "192.0.2.60");
        serve("192.0.2.60", peer);
        REQUIRE(store->write({}, [](storage::Tx& tx) { return tx.catalog().set_setting("dnsbl.lists", "none"); }));
        settle();
    }
    storage::QueueId send(std::string_view to) { return submit({std::string(to)}, "alice@home.example", 0, alice); }
    storage::QueueRecipient row(storage::QueueId id) {
        return store->read([&](const storage::Snapshot& s) { return s.queue().recipients(id); }).value().front();
    }
    /// What the event of that kind says; "" where there is none.
    std::string told(storage::QueueId id, EventKind kind) {
        const auto all = store->read([&](const storage::Snapshot& s) { return s.events().by_queue(id); }).value();
        const auto found = std::ranges::find(all, kind, &storage::Event::kind);
        return found == all.end() ? std::string() : found->detail;
    }
    std::vector<Incident> open() {
        return store->read([](const storage::Snapshot& s) { return storage::IncidentView(s).open(); }).value();
    }
    /// As written down last; "" where nothing is.
    storage::LaneRecord lane() {
        const auto all = store->read([](const storage::Snapshot& s) { return s.queue().lanes(); }).value();
        return all.empty() ? storage::LaneRecord() : all.front();
    }
    std::size_t inbox_with(std::string_view text) {
        std::size_t count = 0;
        for (const std::string& mail : inbox()) count += mail.contains(text) ? 1 : 0;
        return count;
    }
    void turn(Milliseconds span) {
        settle_after(span);
        settle_after(seconds(12));
        settle_after(seconds(12));
    }
};

enum class Then { waits, held, bounced };
enum class Lane { goes, slows, rests };  // what follows for the mail behind it

struct Row {
    std::string_view mx;
    std::string_view at;  ///< where it is said
    std::string_view reply;
    std::string_view what;  ///< class
    Then then = Then::waits;
    Lane lane = Lane::goes;
    std::string_view incident = {};  ///< told at once; "" for none
};

constexpr Row kRows[] = {
    // Gmail
    {kGoogle, "RCPT", "450 4.2.1 The user you are trying to contact is receiving mail too quickly", "throttled"},
    {kGoogle, "RCPT", "421 4.2.1 The user you are trying to contact is receiving mail at a rate", "throttled"},
    {kGoogle, "RCPT", "452 4.2.2 The recipient's inbox is out of storage space", "mailbox-full"},
    {kGoogle, ".", "421 4.7.28 Gmail has detected an unusual rate of mail from your IP", "throttled", Then::waits,
     Lane::rests, "warning"},
    {kGoogle, "RCPT", "421 4.7.28 Gmail has detected an unusual rate of mail from your DKIM domain", "throttled",
     Then::waits, Lane::rests, "warning"},
    {kGoogle, ".", "421 4.7.28 Gmail has detected this message has the same Message-ID", "throttled", Then::waits,
     Lane::rests, "warning"},
    {kGoogle, ".", "451 4.7.23 The sending IP address for this message doesn't have a PTR record", "ip-blocked",
     Then::waits, Lane::goes, "warning"},
    {kGoogle, ".", "550 5.7.25 The IP address sending this message does not have a PTR record", "ip-blocked",
     Then::held, Lane::rests, "ip-blocked"},
    {kGoogle, ".", "451 4.7.24 The SPF record of the sending domain has one or more suspicious entries", "sender-auth",
     Then::waits, Lane::goes, "warning"},
    {kGoogle, ".", "550 5.7.24 The SPF record of the sending domain has suspicious entries", "sender-auth", Then::held,
     Lane::rests, "sender-auth"},
    {kGoogle, ".", "421 4.7.26 This mail has been rate limited because it is unauthenticated", "sender-auth",
     Then::waits, Lane::goes, "warning"},
    {kGoogle, ".", "550 5.7.26 Unauthenticated email from home.example is not accepted due to DMARC", "sender-auth",
     Then::held, Lane::rests, "sender-auth"},
    {kGoogle, ".", "421 4.7.27 SPF did not pass", "sender-auth", Then::waits, Lane::goes, "warning"},
    {kGoogle, ".", "550 5.7.27 SPF did not pass", "sender-auth", Then::held, Lane::rests, "sender-auth"},
    {kGoogle, ".", "421 4.7.29 This mail was not sent over a TLS connection", "tls", Then::waits, Lane::goes,
     "warning"},
    {kGoogle, ".", "550 5.7.29 This mail was not sent over a TLS connection", "tls", Then::bounced, Lane::goes,
     "warning"},
    {kGoogle, ".", "421 4.7.30 DKIM did not pass", "sender-auth", Then::waits, Lane::goes, "warning"},
    {kGoogle, ".", "550 5.7.30 DKIM did not pass", "sender-auth", Then::held, Lane::rests, "sender-auth"},
    {kGoogle, ".", "421 4.7.31 The sending domain has no DMARC record", "sender-auth", Then::waits, Lane::goes,
     "warning"},
    {kGoogle, ".", "421 4.7.40 The sending domain has no DMARC record", "sender-auth", Then::waits, Lane::goes,
     "warning"},
    {kGoogle, ".", "550 5.7.40 The sending domain has no DMARC record", "sender-auth", Then::held, Lane::rests,
     "sender-auth"},
    {kGoogle, ".", "421 4.7.32 The From header is not aligned", "sender-auth", Then::waits, Lane::goes, "warning"},
    {kGoogle, ".", "550 5.7.32 The From header is not aligned", "sender-auth", Then::held, Lane::rests, "sender-auth"},
    {kGoogle, ".", "550 5.7.1 This message is not RFC 5322 compliant, duplicate headers", "content", Then::bounced},
    {kGoogle, ".", "550 5.7.1 likely suspicious due to the very low reputation of the sending IP address",
     "ip-blocked", Then::held, Lane::rests, "ip-blocked"},
    {kGoogle, ".", "554 5.6.0 Mail message is malformed. Not accepted", "content", Then::bounced},
    {kGoogle, ".", "554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop", "loop", Then::bounced},
    // Yahoo
    {kYahoo, "MAIL", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints",
     "throttled", Then::waits, Lane::rests},
    {kYahoo, "MAIL", "451 Resources temporarily unavailable. Please try again later", "throttled", Then::waits,
     Lane::slows},
    {kYahoo, "MAIL", "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, the ip is in Spamhaus's list",
     "ip-blocked", Then::held, Lane::rests, "ip-blocked"},
    {kYahoo, "MAIL", "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred", "ip-blocked",
     Then::held, Lane::rests, "ip-blocked"},
    {kYahoo, "MAIL", "553 5.7.2 [TSS11] All messages from 192.0.2.1 will be permanently deferred", "ip-blocked",
     Then::held, Lane::rests, "ip-blocked"},
    {kYahoo, ".", "554 5.7.9 Message not accepted for policy reasons", "policy", Then::bounced, Lane::goes, "warning"},
    // Apple
    {kApple, ".", "550 5.7.1 [HM08] Message rejected due to local policy", "policy", Then::bounced},
    {kApple, ".", "554 5.7.1 [CS01] Message rejected due to local policy", "content", Then::bounced},
    {kApple, "MAIL", "421 4.7.1 Try again later", "throttled", Then::waits, Lane::slows},
    {kApple, "RCPT", "450 4.2.0 temporary failure", "greylisted"},
    // Outlook.com
    {kOutlook, "MAIL", "421 RP-001 The mail server IP connecting to Outlook.com has exceeded the rate limit",
     "throttled", Then::waits, Lane::slows},
    {kOutlook, "MAIL", "421 RP-002 exceeded the rate limit allowed on this connection", "throttled", Then::waits,
     Lane::slows},
    {kOutlook, "MAIL", "421 RP-003 exceeded the connection limit", "throttled", Then::waits, Lane::slows},
    {kOutlook, ".", "550 SC-001 Mail rejected by Outlook.com for policy reasons", "content", Then::bounced, Lane::goes,
     "warning"},
    {kOutlook, ".", "550 SC-002 Mail rejected by Outlook.com for policy reasons", "content", Then::bounced, Lane::goes,
     "warning"},
    {kOutlook, "MAIL", "550 SC-003 Mail rejected for policy reasons, open proxy", "ip-blocked", Then::held, Lane::rests,
     "ip-blocked"},
    {kOutlook, "MAIL", "550 SC-004 Mail rejected, a block has been placed against your IP", "ip-blocked", Then::held,
     Lane::rests, "ip-blocked"},
    {kOutlook, "MAIL", "550 DY-001 Mail rejected, we do not accept email from dynamic IPs", "ip-blocked", Then::held,
     Lane::rests, "ip-blocked"},
    {kOutlook, "MAIL", "550 DY-002 Mail rejected for policy reasons", "ip-blocked", Then::held, Lane::rests,
     "ip-blocked"},
    {kOutlook, "MAIL", "550 OU-001 Mail rejected, Spamhaus", "ip-blocked", Then::held, Lane::rests, "ip-blocked"},
    {kOutlook, "MAIL", "550 OU-002 Mail rejected for policy reasons", "ip-blocked", Then::held, Lane::rests,
     "ip-blocked"},
    {kOutlook, ".", "550 5.7.515 Access denied, sending domain does not meet the required level", "sender-auth",
     Then::held, Lane::rests, "sender-auth"},
    // Exchange Online
    {kExchange, "MAIL", "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS77712)", "throttled",
     Then::waits, Lane::slows},
    {kExchange, "MAIL", "421 4.3.2 The maximum number of concurrent server connections has been exceeded", "throttled",
     Then::waits, Lane::slows},
    {kExchange, "MAIL", "451 4.7.650 temporarily rate limited due to IP reputation", "throttled", Then::waits,
     Lane::slows},
    {kExchange, "MAIL", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "ip-blocked", Then::held,
     Lane::rests, "ip-blocked"},
    {kExchange, "MAIL", "550 5.7.649 Access denied, banned sending IP [192.0.2.1]", "ip-blocked", Then::held,
     Lane::rests, "ip-blocked"},
    {kExchange, "MAIL", "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus", "ip-blocked",
     Then::held, Lane::rests, "ip-blocked"},
    {kExchange, "MAIL", "550 5.7.708 Access denied, traffic not accepted from this IP", "ip-blocked", Then::held,
     Lane::rests, "ip-blocked"},
    {kExchange, "RCPT", "550 5.4.1 Recipient address rejected: Access denied", "recipient-unknown", Then::bounced},
    {kExchange, ".", "550 5.7.509 Access denied, sending domain does not pass DMARC verification", "sender-auth",
     Then::held, Lane::rests, "sender-auth"},
    // anybody
    {kOther, "RCPT", "450 4.2.0 Greylisted, please retry later", "greylisted"},
    {kOther, "RCPT", "550 5.1.1 No such user<hang up>", "recipient-unknown", Then::bounced},
    {kOther, "MAIL", "550 5.7.1 Access denied<hang up>", "policy", Then::bounced},
};

constexpr RecipientState state_of(Then then) {
    return then == Then::held ? RecipientState::held : RecipientState::waiting;
}

std::string words_of(std::string_view reply) {
    return std::string(reply.ends_with(kHangUp) ? reply.substr(0, reply.size() - kHangUp.size()) : reply);
}

// The mail behind it: whether it is tried now, later, or after minutes only.
void check_lane(const Row& row, ReplyHouse& house) {
    const std::string at(row.at == "." ? "DATA" : row.at);
    const std::size_t before = house.peer.count(at);
    house.send("carol@there.example");
    house.settle();
    if (row.lane == Lane::goes) {
        CHECK(house.peer.count(at) == before + 1);
        return;
    }
    CHECK(house.peer.count(at) <= before + (row.lane == Lane::slows ? 1 : 0));
    house.settle_after(minutes(10));
    if (row.lane == Lane::rests) CHECK(house.peer.count(at) == before);
}

void check_row(const Row& row) {
    CAPTURE(row.reply);
    ReplyHouse house(row.mx);
    house.peer.always(std::string(row.at), std::string(row.reply));
    const auto id = house.send("bob@there.example");
    house.settle();
    house.settle_after(seconds(3));
    CHECK(house.events(id, EventKind::bounced) == (row.then == Then::bounced ? 1 : 0));
    if (row.then == Then::bounced) {
        CHECK(house.waiting() == 0);
        CHECK(house.told(id, EventKind::bounced).contains(fmt::format("{} ({})", words_of(row.reply), row.what)));
    } else {
        const storage::QueueRecipient bob = house.row(id);
        CHECK(bob.state == state_of(row.then));
        CHECK(bob.last_class == row.what);
        CHECK(bob.last_reply.contains(words_of(row.reply)));
    }
    if (row.then == Then::bounced) CHECK(house.inbox_with("Subject: Undelivered") == 1);
    if (row.then == Then::bounced) CHECK(house.inbox_with(words_of(row.reply).substr(4, 11)) >= 1);
    const auto incidents = house.open();
    REQUIRE(incidents.size() == (row.incident.empty() ? 0 : 1));
    if (!row.incident.empty()) {
        CHECK(storage::to_string(incidents[0].key.kind) == row.incident);
        CHECK(incidents[0].reply == words_of(row.reply));
        CHECK(incidents[0].remote == std::string(row.mx) + " [192.0.2.60]");
    }
    check_lane(row, house);
    house.turn(seconds(12));
    CHECK(house.inbox_with("Subject: Incident 1: ") == incidents.size());  // the postmaster hears of it, once
}

}  // namespace

TEST_CASE("each reply of the big receivers is followed by the action that it demands") {
    for (const Row& row : kRows) check_row(row);
}

TEST_CASE("Gmail 4.7.28: all of Google rests, 15 minutes to 4 hours; then one connection, few messages on each") {
    ReplyHouse house;
    house.resolver.add_mx("corp.example", 10, "aspmx.l.google.com");
    house.resolver.add_a("aspmx.l.google.com", "192.0.2.60");
    house.peer.always(".", "421 4.7.28 Gmail has detected an unusual rate of mail");
    house.send("bob@there.example");
    house.settle();
    for (int i = 0; i < 30; ++i) {
        house.send("x" + std::to_string(i) + (i % 2 == 0 ? "@there.example" : "@corp.example"));
    }
    house.settle();
    CHECK(house.peer.count("DATA") == 1);
    house.settle_after(seconds(3));
    CHECK(house.lane().state == "paused");
    house.restart();  // a restart is no reason to ask earlier
    house.settle_after(minutes(10));
    CHECK(house.peer.count("DATA") == 1);
    house.settle_after(minutes(6));
    CHECK(house.peer.count("DATA") == 2);
    std::size_t tries = 2;
    for (const int rest : {30, 60, 120, 240, 240}) {  // the restart did not make it short again
        CAPTURE(rest);
        house.settle_after(minutes(rest) - seconds(40));
        CHECK(house.peer.count("DATA") == tries);
        house.settle_after(seconds(80));
        CHECK(house.peer.count("DATA") == ++tries);
    }
    CHECK(house.waiting() == 31);
    house.settle_after(seconds(3));
    CHECK(house.lane().state == "paused");
    house.peer.always(".", "250 2.0.0 ok");
    const std::size_t before = house.peer.connections;
    house.settle_after(minutes(245));
    for (int i = 0; i < 20 && house.waiting() > 0; ++i) house.settle_after(seconds(30));
    CHECK(house.waiting() == 0);
    CHECK(house.peer.connections - before >= 31 / kFewMessages);
    house.settle_after(seconds(3));
    CHECK(house.lane().window == 1);
    house.restart();  // nor does it end the day of care
    const std::size_t restarted = house.peer.connections;
    for (int i = 0; i < 31; ++i) house.send("y" + std::to_string(i) + "@there.example");
    house.settle();
    for (int i = 0; i < 20 && house.waiting() > 0; ++i) house.settle_after(seconds(30));
    CHECK(house.waiting() == 0);
    CHECK(house.peer.connections - restarted >= 31 / kFewMessages);
    house.settle_after(seconds(3));
    CHECK(house.lane().window == 1);
    CHECK(house.inbox_with("Subject: Incident 1: google finds fault with mail from our address") == 1);
    CHECK(house.inbox_with("ask at https://postmaster.google.com") == 1);
}

TEST_CASE("Gmail 4.2.1 is about one mailbox: nobody else waits, our address has no worse a name, it is tried again") {
    ReplyHouse house;
    house.peer.once("RCPT", "450 4.2.1 The user you are trying to contact is receiving mail too quickly");
    const auto id = house.send("bob@there.example");
    house.settle();
    CHECK(house.row(id).attempts == 1);
    CHECK(house.row(id).cause == storage::WaitCause::retry);
    for (int i = 0; i < 10; ++i) house.send("x" + std::to_string(i) + "@there.example");
    house.settle();
    CHECK(house.peer.messages.size() == 10);
    house.turn(minutes(6));
    CHECK(house.peer.messages.size() == 11);
    house.turn(minutes(11));
    const auto days = house.store->read([](const storage::Snapshot& s) {
        return storage::ReputationView(s).evidence(0);
    });
    REQUIRE(days);
    REQUIRE(days->size() == 1);
    CHECK(days->front().tried.count() == 11);
    CHECK(days->front().deferred.is_empty());
}

TEST_CASE("Yahoo TSS04: a long rest; after 48 hours somebody is told; over with the first delivery") {
    ReplyHouse house(kYahoo);
    house.peer.always("MAIL", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints");
    const auto id = house.send("bob@there.example");
    house.settle();
    for (int hour = 0; hour < 47; ++hour) house.turn(hours(1));
    CHECK(house.open().empty());
    CHECK(house.peer.count("MAIL") > 5);
    CHECK(house.peer.count("MAIL") < 20);
    for (int hour = 0; hour < 7; ++hour) house.turn(hours(1));
    REQUIRE(house.open().size() == 1);
    CHECK(storage::describe(house.open()[0]) == "yahoo finds fault with mail from our address");
    CHECK(house.inbox_with("Subject: Incident 1: yahoo") == 1);
    house.peer.always("MAIL", "250 2.1.0 ok");
    for (int hour = 0; hour < 5; ++hour) house.turn(hours(1));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.open().empty());
}

TEST_CASE("Outlook RP-001: one or two connections from then on") {
    ReplyHouse house(kOutlook);
    for (int i = 0; i < 200; ++i) house.send("x" + std::to_string(i) + "@there.example");
    house.settle();
    CHECK(house.peer.messages.size() == 200);
    house.peer.once("MAIL", "421 RP-001 The mail server IP connecting to Outlook.com has exceeded the rate limit");
    for (int i = 0; i < 200; ++i) house.send("y" + std::to_string(i) + "@there.example");
    house.settle();
    // It cuts the rate, too; while the clock stands still no more than two of them go.
    for (int i = 0; i < 200 && house.waiting() > 0; ++i) house.settle_after(seconds(10));
    CHECK(house.waiting() == 0);
    house.settle_after(seconds(3));
    CHECK(house.lane().window >= 1);
    CHECK(house.lane().window <= 2);
}

TEST_CASE("T-Online refuses whom it does not know in its greeting: another host once, and somebody is told") {
    const std::string refusal = "554 IP=192.0.2.1 - None/bad reputation (NOWL). Ask your postmaster for help";
    ReplyHouse house("mx00.t-online.de");
    house.resolver.add_mx("there.example", 20, "mx01.t-online.de");
    house.resolver.add_a("mx01.t-online.de", "192.0.2.61");
    house.serve("192.0.2.61", house.second);
    house.peer.always("(greeting)", refusal);
    const auto id = house.send("bob@there.example");
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.peer.connections == 1);
    REQUIRE(house.open().size() == 1);
    CHECK(storage::to_string(house.open()[0].key.kind) == "warning");
    CHECK(house.open()[0].reply == refusal);
    CHECK(house.open()[0].remote == "mx00.t-online.de [192.0.2.60]");
    // All of them: held, under an incident.
    house.turn(hours(25));
    house.second.always("(greeting)", refusal);
    const auto other = house.send("carol@there.example");
    house.settle();
    CHECK(house.row(other).state == RecipientState::held);
    CHECK(house.events(other, EventKind::bounced) == 0);
    const auto open = house.open();
    CHECK(std::ranges::any_of(open, [](const Incident& one) {
        return one.key.kind == storage::IncidentKind::ip_blocked;
    }));
}

TEST_CASE("a host that takes no mail from anybody finds no fault with us") {
    ReplyHouse house(kOther);
    house.resolver.add_mx("there.example", 20, "mx2.there.example");
    house.resolver.add_a("mx2.there.example", "192.0.2.61");
    house.serve("192.0.2.61", house.second);
    house.peer.always("(greeting)", "554 No mail is taken here");
    const auto id = house.send("bob@there.example");
    house.settle();
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.open().empty());
}

TEST_CASE("no reverse name over IPv6: IPv4 takes the mail at once, and somebody is told although it was only put off") {
    ReplyHouse house;
    house.resolver.add_mx("six.example", 10, "aspmx6.l.google.com");
    house.resolver.add_a("aspmx6.l.google.com", "2001:db8::3");
    house.serve("2001:db8::3", house.second);
    house.second.always(".", "451 4.7.23 The sending IP address for this message doesn't have a PTR record");
    const auto id = house.send("bob@six.example");
    house.settle();
    REQUIRE(house.open().size() == 1);
    CHECK(storage::describe(house.open()[0]) == "google finds fault with our IPv6 address");
    house.resolver.add_a("aspmx6.l.google.com", "192.0.2.60");
    for (int i = 0; i < 4; ++i) house.turn(minutes(15));
    CHECK(house.events(id, EventKind::delivered) == 1);
    CHECK(house.second.count("DATA") == 1);
    CHECK(house.open().size() == 1);  // IPv4 mends nothing of it
    house.turn(hours(24 * 7));
    house.turn(hours(1));
    CHECK(house.open().empty());  // not said again for a week
}

TEST_CASE("a warning ends with the next delivery an hour later, not before; another domain's mail proves nothing") {
    ReplyHouse house;
    house.peer.once(".", "421 4.7.26 This mail has been rate limited because it is unauthenticated");
    house.send("bob@there.example");
    house.settle();
    REQUIRE(house.open().size() == 1);
    CHECK(storage::describe(house.open()[0]) == "google finds fault with mail from home.example");
    CHECK(storage::advice(house.open()[0]).contains("posthouse domain check home.example"));
    house.turn(minutes(20));
    CHECK(house.peer.messages.size() >= 1);
    CHECK(house.open().size() == 1);
    house.turn(hours(2));
    house.submit({"carol@there.example"}, "news@other.example", 0, house.alice);
    house.settle();
    CHECK(house.open().size() == 1);
    house.send("dave@there.example");
    house.settle();
    CHECK(house.open().empty());
}

TEST_CASE("mail that is passed on for strangers and not believed is no fault of ours: nothing is told") {
    ReplyHouse house;
    house.peer.always(".", "421 4.7.26 This mail has been rate limited because it is unauthenticated");
    house.submit({"bob@there.example"}, "stranger@elsewhere.example");
    house.settle();
    house.turn(minutes(20));
    CHECK(house.open().empty());
}

}  // namespace posthouse::relay
