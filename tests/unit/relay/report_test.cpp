#include "relay/report.h"

#include <doctest/doctest.h>

#include "relay/outcome.h"

namespace posthouse::relay {
namespace {

Report sample() {
    Report report;
    report.hostname = "mail.home.example";
    report.item.id = storage::QueueId{7};
    report.item.reverse_path = "alice@home.example";
    report.item.message_id = "<m1@home.example>";
    report.item.envid = "env+1";
    report.item.created = from_unix_ms(1'764'000'000'000);
    report.item.expires = from_unix_ms(1'764'432'000'000);
    report.now = from_unix_ms(1'764'000'600'000);
    ReportedRecipient bob;
    bob.address = "bob@b.example";
    bob.orcpt = "rfc822;Bob@B.example";
    bob.status = "5.1.1";
    bob.reply = "550 5.1.1 No such user";
    bob.from_remote = true;
    bob.remote = "mx.b.example [192.0.2.1]";
    report.recipients.push_back(bob);
    report.original_header = "Subject: hello\r\nMessage-ID: <m1@home.example>\r\n\r\n";
    return report;
}

}  // namespace

TEST_CASE("RFC 3464: a failure report says all that it must") {
    const std::string text = format_report(sample(), system_random());
    for (const char* wanted :
         {"From: Mail Delivery System <MAILER-DAEMON@mail.home.example>\r\n", "To: <alice@home.example>\r\n",
          "Auto-Submitted: auto-replied\r\n", "report-type=delivery-status",
          "Content-Type: message/delivery-status\r\n", "Reporting-MTA: dns; mail.home.example\r\n",
          "Original-Envelope-Id: env+1\r\n", "Original-Recipient: rfc822; Bob@B.example\r\n",
          "Final-Recipient: rfc822; bob@b.example\r\n", "Action: failed\r\n", "Status: 5.1.1\r\n",
          "Remote-MTA: dns; mx.b.example\r\n", "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n",
          "Content-Type: text/rfc822-headers\r\n", "Subject: hello\r\n",
          "Your message could not be delivered to bob@b.example.\r\n", "there is no such mailbox",
          "In-Reply-To: <m1@home.example>\r\n"}) {
        CAPTURE(wanted);
        CHECK(text.contains(wanted));
    }
    // The person's part comes first, and its first line is the plain sentence.
    CHECK(text.find("Your message could not") < text.find("message/delivery-status"));
}

TEST_CASE("RFC 3464 2.3: delayed and relayed reports, RFC 6533 for UTF-8 addresses, RET=FULL") {
    Report delayed = sample();
    delayed.kind = ReportKind::delayed;
    delayed.recipients[0].status = "";
    const std::string late = format_report(delayed, system_random());
    CHECK(late.contains("Action: delayed\r\n"));
    CHECK(late.contains("Status: 4.0.0\r\n"));
    CHECK(late.contains("Will-Retry-Until: "));
    CHECK(late.contains("nothing you need to do"));
    Report utf8 = sample();
    utf8.recipients[0].address = "b\xc3\xbc@b.example";
    const std::string global = format_report(utf8, system_random());
    CHECK(global.contains("message/global-delivery-status"));
    CHECK(global.contains("Final-Recipient: utf-8; b\xc3\xbc@b.example"));
    Report full = sample();
    full.original = full.original_header + "the body\r\n";
    CHECK(format_report(full, system_random()).contains("Content-Type: message/rfc822\r\n"));
    // A remote's words cannot break out of their field.
    Report evil = sample();
    evil.recipients[0].reply = "550 no\r\n\r\nX-Injected: yes";
    CHECK_FALSE(format_report(evil, system_random()).contains("\r\nX-Injected"));
}

TEST_CASE("what was given up since its time is over says how long it was tried; mail to many is given up sooner") {
    Report report = sample();
    report.recipients[0].status = "4.4.1";
    report.recipients[0].expired = true;
    report.now = report.item.expires;
    CHECK(format_report(report, system_random()).contains("\r\n  It was tried for 5 days; then it is given up.\r\n"));
    report.item.mail_class = 2;
    report.item.expires = report.now = report.item.created + std::chrono::hours(24);
    CHECK(format_report(report, system_random())
              .contains("\r\n  It was tried for 24 hours; mail to many is given up after 24 hours.\r\n"));
    report.recipients[0].expired = false;
    CHECK_FALSE(format_report(report, system_random()).contains("It was tried for"));
}

TEST_CASE("RFC 3461 4.1, RFC 5321 6.1: who is told of what") {
    struct Case {
        std::string sender;
        storage::NotifyBits notify;
        Fate fate;
        bool late;
        std::size_t reports;
    };
    const auto bits = [](storage::Notify what) { return static_cast<storage::NotifyBits>(what); };
    const Case cases[] = {
        {"alice@home.example", 0, Fate::failed, false, 1},
        {"", 0, Fate::failed, false, 0},
        {"", 0, Fate::deferred, true, 0},
        {"alice@home.example", bits(storage::Notify::never), Fate::failed, false, 0},
        {"alice@home.example", bits(storage::Notify::success), Fate::failed, false, 0},
        {"alice@home.example", bits(storage::Notify::success), Fate::delivered, false, 1},
        {"alice@home.example", 0, Fate::delivered, false, 0},
        {"alice@home.example", 0, Fate::deferred, false, 0},
        {"alice@home.example", 0, Fate::deferred, true, 1},
        {"alice@home.example", bits(storage::Notify::failure), Fate::deferred, true, 0},
        {"alice@home.example", bits(storage::Notify::delay), Fate::deferred, true, 1},
    };
    for (const Case& c : cases) {
        CAPTURE(c.sender);
        CAPTURE(static_cast<int>(c.notify));
        storage::QueueItem item;
        item.reverse_path = c.sender;
        item.created = from_unix_ms(1'764'000'000'000);
        const Time now = item.created + (c.late ? Milliseconds(5 * 3'600'000) : Milliseconds(1'000));
        Settled one;
        one.recipient.notify = c.notify;
        one.verdict.fate = c.fate;
        const auto plan = plan_outcome(RelayOptions(), "h.example", item, {one}, storage::LaneId{}, now);
        CHECK(plan.reports.size() == c.reports);
    }
}

}  // namespace posthouse::relay
