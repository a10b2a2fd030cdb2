// Microseconds a reply: classification of what servers say; and a message: reading a bounce. One JSON line a case.
// With files as arguments (conformance/dsn-sisimai/mail/*.eml) those are read, too.
#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "protocols/bounce/reply_class.h"
#include "protocols/report/dmarc_report.h"
#include "protocols/report/report.h"

using namespace posthouse;

namespace {

constexpr std::string_view kReport =
    "From: MAILER-DAEMON@x.example\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nThis is the mail system at host "
    "x.example.\n\nI'm sorry to have to inform you that your message could not be delivered to one or more "
    "recipients.\n\n<bob@b.example>: host mx.b.example[192.0.2.1] said: 550 5.1.1\n    <bob@b.example>: Recipient "
    "address rejected: User unknown (in reply to RCPT TO command)\n\n--b\nContent-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; x.example\n\nFinal-Recipient: rfc822; bob@b.example\nAction: failed\nStatus: 5.1.1\n"
    "Remote-MTA: dns; mx.b.example\nDiagnostic-Code: smtp; 550 5.1.1 <bob@b.example>: Recipient address rejected: User "
    "unknown\n\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@example.org>\n\nhello\n--b--\n";
constexpr std::string_view kText =
    "From: MAILER-DAEMON@x.example\nSubject: failure notice\n\nHi. This is the qmail-send program at x.example.\nI'm "
    "afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given "
    "up. Sorry it didn't work out.\n\n<bob@b.example>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 "
    "5.1.1 no such user\nGiving up on 192.0.2.1.\n\n--- Below this line is a copy of the message.\n\nMessage-ID: "
    "<1@example.org>\n\nhello\n";

void read_all(std::string_view name, std::span<const std::string> messages, int rounds) {
    std::size_t found = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < rounds; ++i) {
        for (const std::string& message : messages) found += report::read_bounce(message).has_value() ? 1U : 0U;
    }
    const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
    const double count = static_cast<double>(messages.size()) * rounds;
    fmt::print("{{\"bench\":\"bounce\",\"case\":\"{}\",\"us\":{:.1f},\"found\":{}}}\n", name, spent.count() / count,
               found / static_cast<std::size_t>(rounds));
}

void read_aggregate(int records) {
    std::string xml =
        "<feedback><report_metadata><report_id>1</report_id></report_metadata><policy_published><domain>example.org"
        "</domain></policy_published>";
    for (int i = 0; i < records; ++i) {
        xml += fmt::format(
            "<record><row><source_ip>192.0.2.{}</source_ip><count>{}</count><policy_evaluated><disposition>none"
            "</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>"
            "example.org</header_from></identifiers><auth_results><dkim><domain>example.org</domain><selector>s"
            "</selector><result>pass</result></dkim></auth_results></record>",
            i % 250, i);
    }
    xml += "</feedback>";
    const auto begin = std::chrono::steady_clock::now();
    const auto read = report::parse_dmarc_report(xml);
    const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
    fmt::print("{{\"bench\":\"dmarc\",\"records\":{},\"us_record\":{:.2f}}}\n", read ? read->records.size() : 0,
               spent.count() / records);
}

}  // namespace

int main(int argc, char** argv) {
    struct Case {
        const char* name;
        unsigned code;
        const char* enhanced;
        const char* text;
        const char* host;
    };
    constexpr Case kCases[] = {
        {"unknown user", 550, "5.1.1", "550 5.1.1 <bob@b.example>: Recipient address rejected: User unknown",
         "mx.b.example"},
        {"google, four lines", 550, "5.7.26",
         "550 5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to "
         "authenticate with either SPF or DKIM. Authentication results: DKIM = did not pass SPF [b.example] with ip: "
         "[192.0.2.1] = did not pass. For instructions on setting up authentication, go to "
         "https://support.google.com/mail/answer/81126#authentication - gsmtp",
         "gmail-smtp-in.l.google.com"},
        {"nothing fits", 450, "4.9.9", "450 4.9.9 a sentence of which no rule knows a single word, whatever it may be",
         "mx.b.example"},
    };
    constexpr int kRounds = 100'000;
    for (const Case& c : kCases) {
        bounce::ReplyFacts facts;
        facts.code = c.code;
        facts.enhanced = c.enhanced;
        facts.text = c.text;
        facts.host = c.host;
        const auto warm = bounce::classify(facts);
        const auto begin = std::chrono::steady_clock::now();
        std::size_t sum = 0;
        for (int i = 0; i < kRounds; ++i) sum += static_cast<std::size_t>(bounce::classify(facts).what);
        const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
        fmt::print("{{\"bench\":\"classify\",\"case\":\"{}\",\"class\":\"{}\",\"us\":{:.2f},\"sum\":{}}}\n", c.name,
                   bounce::to_string(warm.what), spent.count() / kRounds, sum);
    }
    const std::string report(kReport);
    const std::string text(kText);
    read_all("RFC 3464", std::span(&report, 1), 10'000);
    read_all("free text", std::span(&text, 1), 10'000);
    std::vector<std::string> files;
    for (int i = 1; i < argc; ++i) {
        std::ifstream in(argv[i], std::ios::binary);
        files.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    if (!files.empty()) read_all("files", files, 20);
    read_aggregate(10'000);
}
