#include <doctest/doctest.h>
#include <zlib.h>

#include <string>

#include "protocols/report/bounce_text.h"
#include "protocols/report/delivery_status.h"
#include "protocols/report/dmarc_report.h"
#include "protocols/report/inflate.h"
#include "protocols/report/report.h"

using namespace posthouse;
using namespace posthouse::report;

namespace {

std::string gzip(const std::string& text) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 64, '\0');
    std::string in = text;
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string feedback(const std::string& inside) {
    return "<?xml version=\"1.0\"?><feedback><report_metadata><report_id>1</report_id></report_metadata>"
           "<policy_published><domain>Example.ORG</domain></policy_published>" +
           inside + "</feedback>";
}

}  // namespace

TEST_CASE("RFC 3464 2: groups, types, comments, and groups that lack their empty line") {
    const DeliveryStatus read = parse_delivery_status(
        "Reporting-MTA: dns; mx.example.org (a comment)\r\nOriginal-Envelope-Id: QQ314159\r\n\r\n"
        "Original-Recipient: rfc822;Bob@b.example\r\nFinal-Recipient: RFC822; bob@inner.example\r\nAction: Failed\r\n"
        "Status: 5.1.1 (no such user)\r\nRemote-MTA: dns; mx.b.example (192.0.2.1)\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1\r\n no such user\r\nFinal-Recipient: rfc822; eve@b.example\r\n"
        "Action: delayed\r\n");
    CHECK(read.reporting_mta == "mx.example.org");
    CHECK(read.envelope_id == "QQ314159");
    REQUIRE(read.recipients.size() == 2);
    CHECK(read.recipients[0].original_recipient == "Bob@b.example");
    CHECK(read.recipients[0].final_recipient == "bob@inner.example");
    CHECK(read.recipients[0].action == "failed");
    CHECK(read.recipients[0].status == "5.1.1");
    CHECK(read.recipients[0].remote_mta == "mx.b.example");
    CHECK(read.recipients[0].diagnostic == "550 5.1.1 no such user");
    CHECK(read.recipients[1].final_recipient == "eve@b.example");
    CHECK(read.recipients[1].action == "delayed");
}

TEST_CASE("RFC 6533 3: an address of type utf-8, in all its spellings") {
    CHECK(decode_utf8_address("j\\x{F6}rg@b.example") == "jörg@b.example");
    CHECK(decode_utf8_address("\\x{4E2D}\\x{6587}@b.example") == "中文@b.example");
    const DeliveryStatus read =
        parse_delivery_status("\nFinal-Recipient: utf-8; jörg@b.example\nAction: failed\nStatus: 5.1.1\n");
    REQUIRE(read.recipients.size() == 1);
    CHECK(read.recipients[0].final_recipient == "jörg@b.example");
}

TEST_CASE("a bounce tells the message and the envelope it is about, and its exact reply") {
    const auto bounce = read_bounce(
        "From: MAILER-DAEMON@mx.example.org\nTo: a@example.org\nSubject: Undelivered\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\n"
        "<bob@b.example>: host mx.b.example[192.0.2.1] said: 552 5.2.2 mailbox is full (in reply to RCPT TO command)\n"
        "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n"
        "Original-Envelope-Id: abc\n\nFinal-Recipient: rfc822; bob@b.example\nAction: failed\nStatus: 5.2.2\n"
        "Remote-MTA: dns; mx.b.example\nDiagnostic-Code: smtp; 552 5.2.2 mailbox is full\n"
        "--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <1@example.org>\nSubject: hello\n\n--b--\n");
    REQUIRE(bounce.has_value());
    CHECK(bounce->envelope_id == "abc");
    CHECK(bounce->original_message_id == "1@example.org");
    CHECK_FALSE(bounce->is_free_text);
    REQUIRE(bounce->recipients.size() == 1);
    const BouncedRecipient& one = bounce->recipients.front();
    CHECK(one.reply == "552 5.2.2 mailbox is full");
    CHECK(one.code == 552);
    CHECK(one.status == "5.2.2");
    CHECK(one.remote == "mx.b.example");
    CHECK(one.step == Step::rcpt);
    CHECK(one.found.what == bounce::ReplyClass::mailbox_full);
    CHECK_FALSE(one.hard);
}

TEST_CASE("an unknown user is a dead address when told at RCPT, not after DATA, and at MAIL it is the sender") {
    struct Case {
        const char* step;
        bounce::ReplyClass what;
        bool hard;
    };
    using enum bounce::ReplyClass;
    for (const Case& c : {Case{"RCPT TO", recipient_unknown, true}, Case{"end of DATA", recipient_policy, false},
                          Case{"MAIL FROM", sender_fault, false}}) {
        CAPTURE(c.step);
        const auto bounce = read_bounce(
            "From: MAILER-DAEMON@x.example\nSubject: Undelivered\n\nI'm sorry: your message could not be delivered.\n\n"
            "<bob@b.example>: host mx.b.example[192.0.2.1] said: 550 user unknown (in reply to " +
            std::string(c.step) + " command)\n");
        REQUIRE(bounce.has_value());
        CHECK(bounce->recipients.front().found.what == c.what);
        CHECK(bounce->recipients.front().hard == c.hard);
    }
}

TEST_CASE("letters and auto-replies are no bounces") {
    CHECK(read_bounce("From: a@example.org\nSubject: hello\n\nPlease write to\nbob@b.example\n").error().code ==
          Errc::not_found);
    CHECK(
        read_bounce("From: a@example.org\nAuto-Submitted: auto-replied\nSubject: Away\n\nI am away.\n").error().code ==
        Errc::not_found);
    CHECK(read_bounce("").error().code == Errc::not_found);
}

TEST_CASE("RFC 9990: namespaces and prefixes do not matter, names are folded, unknown elements are passed over") {
    const auto report = parse_dmarc_report(
        "<d:feedback xmlns:d=\"urn:ietf:params:xml:ns:dmarc-2.0\"><d:report_metadata><d:org_name>R</d:org_name>"
        "<d:report_id>x</d:report_id></d:report_metadata><d:policy_published><d:domain>Example.ORG</d:domain>"
        "<d:p>quarantine</d:p><d:np>reject</d:np><d:discovery_method>treewalk</d:discovery_method>"
        "</d:policy_published><d:record><d:row><d:source_ip>192.0.2.1</d:source_ip><d:count>3</d:count>"
        "<d:policy_evaluated><d:disposition>pass</d:disposition><d:dkim>pass</d:dkim></d:policy_evaluated></d:row>"
        "<d:news><d:count>9</d:count></d:news></d:record></d:feedback>");
    REQUIRE(report.has_value());
    CHECK(report->domain == "example.org");
    CHECK(report->nonexistent_policy == "reject");
    CHECK(report->discovery_method == "treewalk");
    REQUIRE(report->records.size() == 1);
    CHECK(report->records[0].count == 3);
    CHECK(report->records[0].disposition == "pass");
}

TEST_CASE("XML that strangers make: document types, depth, and what is no report") {
    CHECK(parse_dmarc_report("<?xml version=\"1.0\"?><!DOCTYPE feedback [<!ENTITY a \"b\">]>" + feedback("").substr(21))
              .error()
              .context.contains("document type"));
    std::string deep;
    for (int i = 0; i < 100; ++i) deep += "<a>";
    for (int i = 0; i < 100; ++i) deep += "</a>";
    CHECK(parse_dmarc_report(feedback(deep)).error().code == Errc::too_large);
    // Sums over many such rows must hold.
    const auto huge = parse_dmarc_report(feedback("<record><row><count>9223372036854775807</count></row></record>"));
    REQUIRE(huge);
    CHECK(huge->records.front().count == 1'000'000'000);
    CHECK(parse_dmarc_report("<html></html>").error().code == Errc::invalid);
    CHECK(parse_dmarc_report("<feedback></feedback>").error().code == Errc::invalid);
    CHECK(parse_dmarc_report("<feedback>").error().code == Errc::invalid);
    std::string many;
    for (std::size_t i = 0; i <= kResultsMax; ++i) many += "<dkim></dkim>";
    CHECK(parse_dmarc_report(feedback("<record><auth_results>" + many + "</auth_results></record>")).error().code ==
          Errc::too_large);
}

TEST_CASE("archives: whole ones are read, cut ones and bombs are told") {
    const std::string xml = feedback("");
    CHECK(inflate_gzip(gzip(xml)).value() == xml);
    CHECK(read_dmarc_report(gzip(xml)).value().domain == "example.org");
    CHECK(inflate_gzip(gzip(xml).substr(0, 40)).error().code == Errc::invalid);
    CHECK(inflate_gzip(gzip(std::string(kReportOctetsMax / 2, 'a'))).error().code == Errc::too_large);
    CHECK(inflate_zip("PK\x03\x04").error().code == Errc::invalid);
    std::string stored = "PK\x03\x04";
    stored.append("\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\2\0\0\0\1\0\0\0", 26).append("ahi");
    std::string entry = "PK\x01\x02";
    entry.append("\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\2\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 42)
        .append("a");
    std::string end = "PK\x05\x06";
    end.append("\0\0\0\0\1\0\1\0", 8).append({static_cast<char>(entry.size()), 0, 0, 0});
    end.append({static_cast<char>(stored.size()), 0, 0, 0}).append(2, '\0');
    CHECK(inflate_zip(stored + entry + end).value() == "hi");
    std::string beyond = end;
    beyond[16] = '\x7f';
    CHECK(inflate_zip(stored + entry + beyond).error().code == Errc::invalid);
}

TEST_CASE("status codes are told from versions, addresses and times") {
    CHECK(find_status("550 5.1.1 unknown") == "5.1.1");
    CHECK(find_status("no mailbox here (#5.1.1)") == "5.1.1");
    CHECK(find_status("host 5.1.1.7 said no").empty());
    CHECK(find_status("Postfix v5.1.1").empty());
    CHECK(find_status("8.14.4/8.14.4").empty());
    CHECK(find_status("5.1.1234 x").empty());
}
