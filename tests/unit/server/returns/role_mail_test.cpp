// Mailboxes that collect reports: what is read out of them, what it is joined to, and that the mail itself stays as it
// is.
#include "server/returns/role_mail.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "protocols/mime/facts.h"
#include "storage/report.h"
#include "storage/reputation.h"
#include "storage/role_mail.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::server;
using storage::EventKind;

namespace {

class TurnedClock final : public Clock {
 public:
    Time now() const override { return from_unix_ms(ms_.load()); }
    void advance(Milliseconds by) { ms_ += by.count(); }

 private:
    std::atomic<std::int64_t> ms_{1'764'000'000'000};
};

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

struct House {
    House() {
        abuse = store.add_account("abuse@home.example");
        set("reports.mailboxes", "abuse@home.example nobody@home.example");
        job = make_role_mail_job(*store, metrics, clock, [this](storage::Store&, const std::string& mail) -> Result<> {
            if (!mail.contains("tlsrpt")) return Error(Errc::not_found, "none");
            ++tls;
            return {};
        });
    }
    void set(std::string_view key, std::string_view value) {
        REQUIRE(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    }
    storage::QueueId sent(std::vector<std::string> recipients, const std::string& id) {
        const std::string octets = fmt::format("Message-ID: <{}@home.example>\r\nSubject: x\r\n\r\nx\r\n", id);
        const auto body = store.stage(octets);
        const auto queue = store->write_value({body}, [&](storage::Tx& tx) -> Result<storage::QueueId> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(octets);
            delivery.sender = "alice@home.example";
            storage::NewQueueItem item;
            item.reverse_path = delivery.sender;
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
    std::size_t events(storage::QueueId queue, EventKind kind) {
        const auto all = store->read([&](const storage::Snapshot& s) { return s.events().by_queue(queue); }).value();
        return static_cast<std::size_t>(std::ranges::count(all, kind, &storage::Event::kind));
    }
    std::vector<storage::Suppression> suppressed(std::string_view address) {
        return store->read([&](const storage::Snapshot& s) { return storage::SuppressionView(s).of_address(address); })
            .value();
    }

    TurnedClock clock;
    test::TempStore store{[this](storage::StoreOptions& o) { o.clock = &clock; }};
    Metrics metrics;
    storage::AccountId abuse{};
    std::unique_ptr<storage::Job> job;
    int tls = 0;
};

std::string complaint(std::string_view id, std::string_view recipient, std::string_view type = "abuse",
                      std::string_view mail_from = "alice@home.example") {
    const std::string rcpt = recipient.empty() ? "" : fmt::format("Original-Rcpt-To: <{}>\r\n", recipient);
    return fmt::format(
        "From: fbl@far.example\r\nTo: abuse@home.example\r\nSubject: FW: x\r\nMIME-Version: 1.0\r\nContent-Type: "
        "multipart/report; report-type=feedback-report; boundary=b\r\n\r\n--b\r\n\r\nAn abuse report.\r\n--b\r\n"
        "Content-Type: message/feedback-report\r\n\r\nFeedback-Type: {}\r\nUser-Agent: far/1\r\nVersion: 1\r\n"
        "Original-Mail-From: <{}>\r\n{}Reporting-MTA: dns; mx.far.example\r\n\r\n--b\r\nContent-Type: message/rfc822"
        "\r\n\r\nFrom: alice@home.example\r\nMessage-ID: <{}@home.example>\r\nSubject: x\r\n\r\nx\r\n--b--\r\n",
        type, mail_from, rcpt, id);
}

std::string bounced(std::string_view id, std::string_view recipient) {
    return fmt::format(
        "From: MAILER-DAEMON@mx.far.example\r\nTo: abuse@home.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n"
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.far.example\r\n\r\n"
        "Final-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 Unknown\r\n"
        "\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{}@home.example>\r\n\r\n--b--\r\n",
        recipient, id);
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

TEST_CASE("a bounce without a token counts where it names our message and a recipient of it") {
    House house;
    const auto queue = house.sent({"bob@far.example"}, "m1");
    house.arrives(bounced("m9", "bob@far.example"));
    house.arrives(bounced("m1", "eve@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 0);
    house.arrives(bounced("m1", "bob@far.example"));
    house.step();
    CHECK(house.events(queue, EventKind::bounced) == 1);
    CHECK(house.suppressed("bob@far.example").size() == 1);
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
        TRY(const auto sources, view.dmarc_sources("Home.example", 0, 10));
        REQUIRE(sources.size() == 2);
        CHECK(sources.front().source_ip == "192.0.2.7");
        CHECK(sources.back().refused == 2);
        CHECK(view.dmarc_sources("other.example", 0, 10).value().empty());
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
    house.job = make_role_mail_job(*house.store, house.metrics, house.clock, nullptr);
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
