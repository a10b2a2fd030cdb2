// Mailboxes that collect reports: what is read out of them, what it is joined to, and that the mail itself stays as it
// is.
#include "server/returns/role_mail.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "protocols/mime/facts.h"
#include "storage/dmarc_origins.h"
#include "storage/report.h"
#include "storage/reputation.h"
#include "storage/role_mail.h"
#include "tests/support/temp_store.h"
#include "tests/support/turned_clock.h"

using namespace posthouse;
using namespace posthouse::server;
using storage::EventKind;

namespace {

constexpr std::string_view kDmarc =
    "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>far.example</org_name><report_id>r1</report_id>"
    "<date_range><begin>1763900000</begin><end>1763986400</end></date_range></report_metadata>"
    "<policy_published><domain>home.example</domain><p>none</p></policy_published>"
    "<record><row><source_ip>192.0.2.7</source_ip><count>5</count><policy_evaluated><disposition>none</disposition>"
    "<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>home.example</header_from>"
    "</identifiers><auth_results><dkim><domain>home.example</domain><selector>s1</selector><result>pass</result>"
    "</dkim></auth_results></record>"
    "<record><row><source_ip>203.0.113.9</source_ip><count>2</count><policy_evaluated><disposition>reject"
    "</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>home.example"
    "</header_from></identifiers></record></feedback>";

/// How a message left.
struct Manner {
    bool under_token = false;
    std::string stream;
    std::uint8_t mail_class = 0;
    Manner() = default;
};

struct House {
    House() {
        abuse = store.add_account("abuse@home.example");
        set("reports.mailboxes", "abuse@home.example nobody@home.example");
        job = make_role_mail_job(*store, metrics, clock, "mx.home.example",
                                 [this](storage::Store&, const std::string& mail) -> Result<> {
                                     if (!mail.contains("tlsrpt")) return Error(Errc::not_found, "none");
                                     ++tls;
                                     return {};
                                 });
    }
    void set(std::string_view key, std::string_view value) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    storage::QueueId sent(std::vector<std::string> recipients, const std::string& id, const Manner& manner = Manner()) {
        const std::string octets = fmt::format("Message-ID: <{}@home.example>\r\nSubject: x\r\n\r\nx\r\n", id);
        const auto body = store.stage(octets);
        const auto queue = store->write_value({body}, [&](storage::Tx& tx) -> Result<storage::QueueId> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(octets);
            delivery.sender = "alice@home.example";
            storage::NewQueueItem item;
            item.reverse_path = delivery.sender;
            item.stream = manner.stream;
            item.mail_class = manner.mail_class;
            for (const std::string& address : recipients) item.recipients.push_back({address, "", 0});
            delivery.outgoing = item;
            TRY(const storage::Accepted accepted, tx.deliver(delivery));
            TRY(const auto rows, tx.queue().recipients(*accepted.queue));
            for (const storage::QueueRecipient& row : rows) {
                storage::Outcome outcome;
                outcome.state = storage::RecipientState::delivered;
                outcome.reply = "250 ok";
                outcome.way = "direct";
                outcome.source = "192.0.2.7";
                outcome.provider = "yahoo";
                outcome.remote = "mx7.mail-host.example [192.0.2.25]";
                outcome.under_token = manner.under_token;
                TRY_VOID(tx.queue().finish(row.id, outcome));
            }
            return *accepted.queue;
        });
        return queue.value();
    }
    void arrives(const std::string& octets) {
        const auto body = store.stage(octets);
        REQUIRE(store->write({body}, [&](storage::Tx& tx) -> Result<> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(octets);
            storage::LocalCopy copy;
            copy.account = abuse;
            copy.recipient = "abuse@home.example";
            delivery.local.push_back(copy);
            TRY_VOID(tx.deliver(delivery));
            return {};
        }));
    }
    std::chrono::milliseconds step() { return job->step().value(); }
    std::string last_detail(storage::QueueId queue) {
        return store->read([&](const storage::Snapshot& s) { return s.events().by_queue(queue); })
            .value()
            .back()
            .detail;
    }
    std::uint64_t figure(storage::Figure figure) {
        storage::ReportFilter all;
        all.to_day = 1'000'000;
        const auto lines = store->read(
            [&](const storage::Snapshot& s) { return storage::ReportView(s).lines(storage::ReportBy::day, all); });
        std::uint64_t out = 0;
        for (const storage::ReportLine& line : lines.value()) out += line.of(figure);
        return out;
    }
    std::int64_t counted(std::string_view kind) {
        return metrics.counter("role_mail_total", "", fmt::format("kind=\"{}\"", kind)).get();
    }
    std::size_t events(storage::QueueId queue, EventKind kind) {
        const auto all = store->read([&](const storage::Snapshot& s) { return s.events().by_queue(queue); }).value();
        return static_cast<std::size_t>(std::ranges::count(all, kind, &storage::Event::kind));
    }
    /// Against the addresses that sent.
    std::uint64_t complaints() {
        const auto days =
            store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).evidence(0); }).value();
        std::uint64_t out = 0;
        for (const storage::EvidenceDay& day : days) out += day.complained.count();
        return out;
    }
    std::vector<storage::Suppression> suppressed(std::string_view address) {
        return store->read([&](const storage::Snapshot& s) { return storage::SuppressionView(s).of_address(address); })
            .value();
    }

    test::TurnedClock clock;
    test::TempStore store{[this](storage::StoreOptions& o) { o.clock = &clock; }};
    Metrics metrics;
    storage::AccountId abuse{};
    std::unique_ptr<storage::Job> job;
    int tls = 0;
};

constexpr std::string_view kOfRecipient =
    "Authentication-Results: mx.home.example; spf=pass smtp.helo=out.far.example; dkim=none; dmarc=none\r\n";

// `header` stands on top, where our own server writes.
std::string complaint(std::string_view id, std::string_view recipient, std::string_view type = "abuse",
                      std::string_view mail_from = "alice@home.example", std::string_view header = kOfRecipient) {
    const std::string rcpt = recipient.empty() ? "" : fmt::format("Original-Rcpt-To: <{}>\r\n", recipient);
    return fmt::format(
        "{}From: fbl@far.example\r\nTo: abuse@home.example\r\nSubject: FW: x\r\nMIME-Version: 1.0\r\nContent-Type: "
        "multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\nAn abuse report.\r\n--b\r\n"
        "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: {}\r\nUser-Agent: far/1\r\nVersion: 1\r\n"
        "Original-Mail-From: <{}>\r\n{}Reporting-MTA: dns; mx.far.example\r\n\r\n--b\r\nContent-Type: message/rfc822"
        "\r\n\r\nFrom: alice@home.example\r\nMessage-ID: <{}@home.example>\r\nSubject: x\r\n\r\nx\r\n--b--\r\n",
        header, type, mail_from, rcpt, id);
}

std::string bounced(std::string_view id, std::string_view recipient, std::string_view header = kOfRecipient) {
    return fmt::format(
        "Return-Path: <>\r\n{}From: MAILER-DAEMON@mx.far.example\r\nTo: abuse@home.example\r\nSubject: "
        "Undelivered\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n"
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.far.example\r\n\r\n"
        "Final-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 Unknown\r\n"
        "\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{}@home.example>\r\n\r\n--b--\r\n",
        header, recipient, id);
}

// As qmail writes it.
std::string free_text(std::string_view id, std::string_view recipient, std::string_view header = kOfRecipient) {
    return fmt::format(
        "Return-Path: <>\r\n{}From: MAILER-DAEMON@far.example\r\nTo: abuse@home.example\r\nSubject: failure notice\r\n"
        "\r\nHi. This is the qmail-send program at far.example.\r\nI'm afraid I wasn't able to deliver your message to "
        "the following addresses.\r\nThis is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        "<{}>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n"
        "--- Below this line is a copy of the message.\r\n\r\nReturn-Path: <alice@home.example>\r\n"
        "From: alice@home.example\r\nMessage-ID: <{}@home.example>\r\nSubject: x\r\n\r\nx\r\n",
        header, recipient, id);
}

}  // namespace

TEST_CASE("a complaint about a message that we sent to that recipient: an event, and no more mail of programs") {
    House house;
    const auto queue = house.sent({"bob@far.example", "carol@far.example"}, "m1");
    house.arrives(complaint("m1", "Bob@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::complained) == 1);
    REQUIRE(house.suppressed("bob@far.example").size() == 1);
    CHECK(house.suppressed("bob@far.example").front().reason == storage::SuppressionReason::complaint);
    // It bears no token of ours, and may be made up.
    CHECK(house.suppressed("bob@far.example").front().until == house.clock.now() + std::chrono::hours(24 * 30));
    CHECK(house.suppressed("carol@far.example").empty());
    const auto evidence =
        house.store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).evidence(0); }).value();
    REQUIRE(evidence.size() == 1);
    CHECK(evidence.front().source == "192.0.2.7");
    CHECK(evidence.front().complained.count() == 1);
    CHECK(storage::report_rebuild(*house.store)->differed == 0);
    // Told twice it is one.
    house.arrives(complaint("m1", "bob@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::complained) == 1);
    CHECK(house.suppressed("bob@far.example").front().times == 1);
}

TEST_CASE("a complaint that nobody vouches for, joined by a Message-ID alone, says nothing of the address that sent") {
    constexpr std::string_view kForged[] = {
        "",
        "Authentication-Results: mx.home.example; spf=pass smtp.helo=evil.example; dkim=pass header.d=evil.example\r\n",
        "Authentication-Results: mx.home.example; spf=fail smtp.mailfrom=far.example; dkim=fail "
        "header.d=far.example\r\n",
        // Of another server.
        "Authentication-Results: mx.evil.example; dkim=pass header.d=far.example\r\n"};
    for (const std::string_view header : kForged) {
        CAPTURE(header);
        House house;
        const auto queue = house.sent({"bob@far.example"}, "m1");
        house.arrives(complaint("m1", "bob@far.example", "abuse", "alice@home.example", header));
        house.step();
        CHECK(house.events(queue, EventKind::complained) == 1);
        CHECK(house.suppressed("bob@far.example").size() == 1);
        CHECK(house.complaints() == 0);
    }
    // The recipient's domain, or the host that took it, or our token.
    House house;
    house.sent({"bob@far.example"}, "m1");
    house.arrives(complaint("m1", "bob@far.example", "abuse", "alice@home.example",
                            "Authentication-Results: mx.home.example; dkim=pass header.d=mail-host.example\r\n"));
    house.step();
    CHECK(house.complaints() == 1);
    const auto queue = house.sent({"carol@far.example"}, "m2");
    const mailauth::ReturnToken token{static_cast<std::uint64_t>(storage::raw(queue)), std::nullopt};
    const auto keys = mailauth::return_keys(house.store->sealing_key());
    const std::string path = mailauth::make_return_token(keys, token, house.clock.now()) + "@home.example";
    house.arrives(complaint("redacted", "carol@far.example", "abuse", path, ""));
    house.step();
    CHECK(house.complaints() == 2);
}

TEST_CASE("of what we never sent, sent to others, or long ago, nothing is believed") {
    House house;
    const auto queue = house.sent({"bob@far.example", "carol@far.example"}, "m1");
    house.arrives(complaint("m2", "bob@far.example"));
    house.arrives(complaint("m1", "eve@far.example"));
    house.arrives(complaint("m1", "bob@far.example", "not-spam"));
    house.arrives(complaint("m1", "bob@far.example", "auth-failure"));
    house.step();
    CHECK(house.events(queue, EventKind::complained) == 0);
    // Nobody named, and two who may have: it counts, and nobody is blamed.
    house.arrives(complaint("m1", ""));
    house.step();
    CHECK(house.events(queue, EventKind::complained) == 1);
    CHECK(house.suppressed("bob@far.example").empty());
    house.clock.advance(std::chrono::hours(24 * 31));
    house.arrives(complaint("m1", "bob@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::complained) == 1);
}

TEST_CASE("a redacted complaint is known by our token in its Original-Mail-From") {
    House house;
    const auto queue = house.sent({"bob@far.example", "carol@far.example"}, "m1");
    const mailauth::ReturnToken token{static_cast<std::uint64_t>(storage::raw(queue)),
                                      mailauth::return_hash("carol@far.example")};
    const auto keys = mailauth::return_keys(house.store->sealing_key());
    const std::string path = mailauth::make_return_token(keys, token, house.clock.now()) + "@home.example";
    house.arrives(complaint("redacted", "", "abuse", path));
    house.step();
    CHECK(house.events(queue, EventKind::complained) == 1);
    REQUIRE(house.suppressed("carol@far.example").size() == 1);
    CHECK(house.suppressed("carol@far.example").front().until == Time{});
    // One without a token makes it no shorter.
    house.sent({"carol@far.example"}, "m2");
    house.arrives(complaint("m2", "carol@far.example"));
    house.step();
    REQUIRE(house.suppressed("carol@far.example").size() == 1);
    CHECK(house.suppressed("carol@far.example").front().times == 2);
    CHECK(house.suppressed("carol@far.example").front().until == Time{});
}

TEST_CASE(
    "what left without a token bounces by a report that the recipient's domain or the host that took it vouches for") {
    House house;
    const auto queue = house.sent({"bob@far.example", "carol@far.example", "dora@far.example"}, "m1");
    house.arrives(bounced("m9", "bob@far.example"));
    house.arrives(bounced("m1", "eve@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 0);
    CHECK(house.counted("bounce-unknown") == 2);
    house.arrives(bounced("m1", "bob@far.example"));
    house.arrives(bounced("m1", "carol@far.example",
                          "Authentication-Results: mx.home.example; spf=fail smtp.helo=x.example;\r\n"
                          "\tdkim=pass header.d=mail-host.example\r\n"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 2);
    CHECK(house.suppressed("bob@far.example").size() == 1);
    CHECK(house.suppressed("carol@far.example").size() == 1);
    CHECK(house.counted("bounce") == 2);
    // Free text is read alike.
    house.arrives(free_text("m1", "dora@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 3);
    CHECK(house.suppressed("dora@far.example").size() == 1);
    CHECK(storage::report_rebuild(*house.store)->differed == 0);
}

TEST_CASE("a report that nobody vouches for is shown, and changes nothing") {
    House house;
    const auto queue = house.sent({"bob@far.example"}, "m1");
    const std::string no_proof[] = {
        bounced("m1", "bob@far.example", ""),
        bounced("m1", "bob@far.example",
                "Authentication-Results: mx.home.example; spf=pass smtp.helo=mx.evil.example; dkim=none\r\n"),
        // Written by somebody else, or below ours.
        bounced("m1", "bob@far.example", "Authentication-Results: mx.far.example; spf=pass smtp.helo=far.example\r\n"),
        free_text("m1", "bob@far.example",
                  "Authentication-Results: mx.home.example; spf=none smtp.helo=far.example\r\n"
                  "Authentication-Results: mx.home.example; spf=pass smtp.helo=far.example\r\n"),
    };
    for (const std::string& mail : no_proof) house.arrives(mail);
    house.step();
    CHECK(house.counted("bounce-unproven") == 4);
    CHECK(house.events(queue, EventKind::bounced) == 0);
    CHECK(house.events(queue, EventKind::noted) == 4);
    CHECK(house.last_detail(queue).starts_with("unproven: "));
    CHECK(
        house.last_detail(queue).contains("neither SPF nor DKIM of the report is of far.example or of mx7.mail-host"));
    CHECK(house.suppressed("bob@far.example").empty());
    CHECK(house.figure(storage::Figure::bounced) == 0);
    CHECK(house.store->read([](const storage::Snapshot& s) { return storage::ReputationView(s).evidence(0); })
              .value()
              .empty());
    // A person's mail is none, though his domain vouches for it: who has an address there is no mail system.
    std::string letter = bounced("m1", "bob@far.example");
    letter.replace(letter.find("<>"), 2, "<eve@far.example>");
    letter.replace(letter.find("MAILER-DAEMON"), 13, "eve");
    house.arrives(letter);
    // So many are noted, and no more; a good one still counts.
    house.arrives(no_proof[0]);
    house.step();
    CHECK(house.counted("bounce-unproven") == 6);
    CHECK(house.events(queue, EventKind::noted) == kUnprovenMax);
    CHECK(house.events(queue, EventKind::bounced) == 0);
    house.arrives(bounced("m1", "bob@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 1);
}

TEST_CASE("what left under a token bounces by nothing that does not bear it") {
    House house;
    Manner manner;
    manner.under_token = true;
    const auto queue = house.sent({"bob@far.example"}, "m1", manner);
    house.arrives(bounced("m1", "bob@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 0);
    CHECK(house.suppressed("bob@far.example").empty());
    CHECK(house.last_detail(queue).contains("the message left under a token that the report does not bear"));
    const auto keys = mailauth::return_keys(house.store->sealing_key());
    const mailauth::ReturnToken token{static_cast<std::uint64_t>(storage::raw(queue)),
                                      mailauth::return_hash("bob@far.example")};
    const std::string local = mailauth::make_return_token(keys, token, house.clock.now());
    std::string forged = local;
    forged[6] = forged[6] == 'a' ? 'b' : 'a';
    house.arrives(bounced("m1", "bob@far.example", "X-Original-To: " + forged + "@home.example\r\n"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 0);
    // Without the Message-ID, too.
    house.arrives(bounced("other", "bob@far.example", "X-Original-To: " + local + "@home.example\r\n"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 1);
    CHECK(house.suppressed("bob@far.example").size() == 1);
    CHECK(house.figure(storage::Figure::bounced) == 1);
}

TEST_CASE("a complaint suppresses for the stream that it is about, else for mail to many alone") {
    House house;
    Manner news;
    news.stream = "news";
    news.mail_class = 2;
    Manner program;
    program.mail_class = 1;
    house.sent({"bob@far.example"}, "n1", news);
    house.sent({"carol@far.example"}, "t1", program);
    house.arrives(complaint("n1", "bob@far.example"));
    house.arrives(complaint("t1", "carol@far.example"));
    house.step();
    REQUIRE(house.suppressed("bob@far.example").size() == 1);
    CHECK(house.suppressed("bob@far.example").front().scope == "news");
    REQUIRE(house.suppressed("carol@far.example").size() == 1);
    const storage::Suppression row = house.suppressed("carol@far.example").front();
    CHECK(row.scope == "home.example");
    CHECK_FALSE(storage::stops(row, storage::SuppressionRule::programs, 1));
    CHECK_FALSE(storage::stops(row, storage::SuppressionRule::all, 1));
    CHECK(storage::stops(row, storage::SuppressionRule::programs, 2));
    CHECK(storage::describe(row).why.contains("mail to many of home.example"));
}

TEST_CASE("DMARC reports are kept once and added up; TLS reports are handed on; letters are left alone") {
    House house;
    const std::string mail = fmt::format(
        "From: dmarc@far.example\r\nSubject: Report Domain: home.example\r\nMIME-Version: 1.0\r\nContent-Type: "
        "application/xml; name=r.xml\r\n\r\n{}\r\n",
        kDmarc);
    house.arrives(mail);
    house.arrives(mail);
    house.arrives("From: tls@far.example\r\nSubject: tlsrpt\r\n\r\ntlsrpt\r\n");
    house.arrives("From: eve@far.example\r\nSubject: hello\r\n\r\nhello\r\n");
    house.step();
    CHECK(house.tls == 1);
    REQUIRE(house.store->read([&](const storage::Snapshot& s) -> Result<> {
        const storage::RoleMailView view(s);
        TRY(const auto reports, view.dmarc_reports("", 10));
        REQUIRE(reports.size() == 1);
        CHECK(reports.front().organization == "far.example");
        CHECK(reports.front().messages == 7);
        CHECK(reports.front().passed == 5);
        TRY(const auto whole, view.dmarc_report(reports.front().id));
        CHECK(whole.rows.size() == 2);
        CHECK(whole.rows.front().dkim_domain == "home.example/s1");
        const storage::IncludeOf none = [](const std::string&) { return std::string(); };
        TRY(const auto sources, storage::dmarc_known_sources(s, none, "Home.example", 0, 10));
        REQUIRE(sources.size() == 2);
        CHECK(sources.front().source.source_ip == "192.0.2.7");
        CHECK_FALSE(sources.front().origin.is_ours());  // signed by a key that is not here
        CHECK(sources.back().source.refused == 2);
        CHECK(storage::dmarc_known_sources(s, none, "other.example", 0, 10).value().empty());
        CHECK(view.dmarc_report(99).error().code == Errc::not_found);
        return {};
    }));
}

TEST_CASE("many are read in steps, each once, and nothing of them is changed; a restart goes on where it was") {
    House house;
    const auto queue = house.sent({"bob@far.example"}, "m1");
    for (std::size_t i = 0; i < kRoleMailsAStep + 3; ++i) house.arrives("Subject: x\r\n\r\nx\r\n");
    house.arrives(complaint("m1", "bob@far.example"));
    const auto look = [&] {
        return house.store->read([&](const storage::Snapshot& s) { return s.mail(house.abuse).mailbox("INBOX"); })
            .value();
    };
    const auto before = look();
    CHECK(house.step().count() == 0);
    CHECK(house.events(queue, EventKind::complained) == 0);
    house.job = make_role_mail_job(*house.store, house.metrics, house.clock, "mx.home.example", nullptr);
    CHECK(house.step().count() > 0);
    CHECK(house.events(queue, EventKind::complained) == 1);
    const auto after = look();
    CHECK(after.highest_modseq == before.highest_modseq);
    CHECK(after.unseen == before.unseen);
    CHECK(after.recent_from == before.recent_from);
}

TEST_CASE("mail that is no report costs no write of its own") {
    House house;
    for (std::size_t i = 0; i < kRoleMailsAStep; ++i) house.arrives("Subject: x\r\n\r\nx\r\n");
    const auto before = house.store->statistics().commits;
    house.step();
    CHECK(house.store->statistics().commits == before + 1);
    house.step();
    CHECK(house.store->statistics().commits == before + 1);
}
