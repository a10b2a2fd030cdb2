// What replies mean: every row of the tables of codes and of the receivers' own replies.
#include "protocols/bounce/reply_class.h"

#include <doctest/doctest.h>

#include <set>

#include "protocols/bounce/reply_rules.h"

using namespace posthouse;
using namespace posthouse::bounce;

namespace {

using enum ReplyClass;

struct Case {
    unsigned code;
    std::string_view enhanced;
    std::string_view text;
    ReplyClass what = other;
    std::string_view host = {};
    bool first = false;
};

void check(const Case& c) {
    CAPTURE(c.code);
    CAPTURE(c.enhanced);
    CAPTURE(c.text);
    ReplyFacts facts;
    facts.code = c.code;
    facts.enhanced = c.enhanced;
    facts.text = c.text;
    facts.host = c.host;
    facts.first_contact = c.first;
    const Classification found = classify(facts);
    CAPTURE(found.rule);
    CHECK(to_string(found.what) == to_string(c.what));
}

Classification of(const Case& c) {
    ReplyFacts facts;
    facts.code = c.code;
    facts.enhanced = c.enhanced;
    facts.text = c.text;
    facts.host = c.host;
    facts.first_contact = c.first;
    return classify(facts);
}

constexpr std::string_view kGoogle = "gmail-smtp-in.l.google.com";
constexpr std::string_view kOutlook = "eur.olc.protection.outlook.com";
constexpr std::string_view kExchange = "example-org.mail.protection.outlook.com";
constexpr std::string_view kYahoo = "mta5.am0.yahoodns.net";
constexpr std::string_view kApple = "mx01.mail.icloud.com";
constexpr std::string_view kTOnline = "mx00.t-online.de";

}  // namespace

constexpr Case kCodes[] = {
    {550, "5.1.1", "User unknown", recipient_unknown},
    {550, "5.1.2", "Bad destination system address", recipient_unknown},
    {0, "5.1.2", "The domain nowhere.example does not exist", domain_no_mail},
    {553, "5.1.3", "Bad destination mailbox address syntax", recipient_unknown},
    {550, "5.1.4", "ambiguous", recipient_unknown},
    {550, "5.7.17", "Mailbox owner has changed", recipient_unknown},
    {551, "5.1.6", "The mailbox has moved", recipient_disabled},
    {550, "5.2.1", "The email account that you tried to reach is disabled", recipient_disabled},
    {525, "5.7.13", "User account disabled", recipient_disabled},
    {556, "5.1.10", "Recipient address has null MX", domain_no_mail},
    {550, "5.7.18", "Domain owner has changed", domain_no_mail},
    {0, "5.1.10", "The domain b.example takes no mail (null MX)", domain_no_mail},
    {550, "5.1.7", "Bad sender's mailbox address syntax", sender_fault},
    {550, "5.1.8", "Bad sender's system address", sender_fault},
    {550, "5.7.27", "Sender address has null MX", sender_fault},
    {552, "5.2.2", "Mailbox full", mailbox_full},
    {452, "4.2.2", "Mailbox full", mailbox_full},
    {452, "4.3.1", "Mail system full", mailbox_full},
    {552, "5.3.4", "Message too big for system", too_big},
    {552, "5.2.3", "Message length exceeds administrative limit", too_big},
    {451, "4.4.1", "No answer from host", network},
    {421, "4.4.2", "Bad connection", network},
    {451, "4.4.4", "Unable to route", network},
    {451, "4.4.6", "network congestion", network},
    {554, "5.4.6", "Routing loop detected", loop},
    {451, "4.4.3", "Directory server failure", dns},
    {451, "4.4.5", "Mail system congestion", throttled},
    {421, "4.7.0", "Try again later, closing connection", throttled},
    {421, "4.7.28", "Mail flood detected", throttled},
    {451, "4.7.650", "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation", throttled},
    {421, "", "Message from (192.0.2.1) temporarily deferred [TS04]", throttled},
    {421, "", "[TS03] All messages from 192.0.2.1 will be permanently deferred", throttled},
    {421, "4.1.0", "192.0.2.1 Throttled - try again later RL000001", throttled},
    {450, "", "rate limit exceeded", throttled},
    {450, "4.7.1", "Error: too many connections from your host", throttled},
    {450, "4.2.0", "Greylisted, see http://postgrey.example/help", greylisted, {}, true},
    {451, "4.7.1", "Please try again later", greylisted, {}, true},
    {550, "5.7.1",
     "Unfortunately, messages from [192.0.2.1] weren't sent. Part of their network is on our block "
     "list (S3150).",
     ip_blocked},
    {550, "5.7.1", "Part of their network is on our block list (S3140)", ip_blocked},
    {550, "5.7.511", "Access denied, banned sender[192.0.2.1]", ip_blocked},
    {550, "5.7.606", "Access denied, banned sending IP [192.0.2.1]", ip_blocked},
    {550, "5.7.708", "Service unavailable. Access denied, traffic not accepted from this IP", ip_blocked},
    {550, "5.7.1", "blocklist", ip_blocked},
    {554, "5.7.1",
     "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; "
     "https://www.spamhaus.org/query/ip/192.0.2.1",
     ip_blocked},
    {550, "5.7.26", "This message does not pass authentication checks", sender_auth},
    {550, "5.7.509", "Access denied, sending domain example.org does not pass DMARC verification", sender_auth},
    {550, "5.7.515", "Access denied, sending domain doesn't meet the required authentication level", sender_auth},
    {550, "5.7.1", "DMARC: rejected by policy", sender_auth},
    {550, "5.7.1", "SPF check failed", sender_auth},
    {550, "5.7.1", "no valid DKIM signature", sender_auth},
    {554, "5.7.1", "Message content rejected", content},
    {554, "5.7.1", "This looks like spam", content},
    {554, "5.7.1", "Message contains a URL listed by SURBL", content},
    {550, "5.7.1", "Delivery restricted: only internal senders may write to this group", recipient_policy},
    {550, "5.7.1", "RESOLVER.RST.AuthRequired; authentication required", recipient_policy},
    {452, "4.5.3", "Too many recipients", envelope_split},
    {552, "5.5.3", "Too many recipients", envelope_split},
    {550, "5.7.38", "Interval between deliveries", policy},
    {500, "5.5.1", "Command unrecognized", protocol},
    {0, "4.4.1", "No connection to mx.b.example [192.0.2.1] port 25: connection refused", network},
    {0, "4.7.4", "mx.b.example offers no STARTTLS", tls},
    {0, "4.7.5", "The certificate of mx.b.example does not hold", tls},
    {0, "4.4.3", "The DNS gives no address of mx.b.example now", dns},
    {0, "4.4.7", "The time for delivery is over", expired},
    {535, "5.7.8", "Authentication credentials invalid", sender_auth},
    {250, "2.0.0", "Ok", delivered},
};

TEST_CASE("enhanced codes, RFC 3463 and its registry") {
    for (const Case& c : kCodes) check(c);
}

TEST_CASE("a bare 5.7.1 counts against our address only where the text speaks of a list or of the address") {
    CHECK(of({550, "5.7.1", "Message rejected"}).what != ip_blocked);
    CHECK(of({550, "5.7.1", "Delivery not authorized, message refused"}).what == recipient_policy);
    CHECK(of({550, "5.7.1", "Access denied"}).what == policy);
    CHECK(of({550, "5.7.1", ""}).what == policy);
    CHECK(of({554, "5.7.1", "Your IP address is blocked"}).what == ip_blocked);
    CHECK(of({550, "5.1.1", "<blacklist@b.example>: user unknown"}).what == recipient_unknown);
}

constexpr Case kReceivers[] = {
    {450, "4.2.1", "The user you are trying to contact is receiving mail too quickly", throttled, kGoogle},
    {421, "4.2.1", "The user you are trying to contact is receiving mail at a rate that", throttled, kGoogle},
    {452, "4.2.2", "The recipient's inbox is out of storage space", mailbox_full, kGoogle},
    {421, "4.7.28", "Gmail has detected an unusual rate of mail", throttled, kGoogle},
    {421, "4.7.28", "Gmail has detected this message has the same Message-ID", throttled, kGoogle},
    {451, "4.7.23", "The sending IP address for this message doesn't have a PTR record", ip_blocked, kGoogle},
    {550, "5.7.25", "The IP address sending this message does not have a PTR record", ip_blocked, kGoogle},
    {451, "4.7.24", "The SPF record of the sending domain has one or more suspicious entries", sender_auth, kGoogle},
    {550, "5.7.24", "The SPF record has suspicious entries", sender_auth, kGoogle},
    {421, "4.7.26", "This mail has been rate limited because it is unauthenticated", sender_auth, kGoogle},
    {550, "5.7.26", "Unauthenticated email from example.org is not accepted due to DMARC policy", sender_auth, kGoogle},
    {421, "4.7.27", "SPF didn't pass", sender_auth, kGoogle},
    {550, "5.7.27", "SPF didn't pass", sender_auth, kGoogle},
    {421, "4.7.29", "not sent over a TLS connection", tls, kGoogle},
    {550, "5.7.29", "not sent over a TLS connection", tls, kGoogle},
    {421, "4.7.30", "DKIM didn't pass", sender_auth, kGoogle},
    {550, "5.7.30", "DKIM didn't pass", sender_auth, kGoogle},
    {421, "4.7.31", "no DMARC record", sender_auth, kGoogle},
    {421, "4.7.40", "no DMARC record", sender_auth, kGoogle},
    {550, "5.7.40", "no DMARC record", sender_auth, kGoogle},
    {421, "4.7.32", "From header isn't aligned", sender_auth, kGoogle},
    {550, "5.7.32", "From header isn't aligned", sender_auth, kGoogle},
    {550, "5.7.1", "Messages missing a valid Message-ID header are not accepted", content, kGoogle},
    {550, "5.7.1", "This message is not RFC 5322 compliant, duplicate headers", content, kGoogle},
    {550, "5.7.1", "does not meet IPv6 sending guidelines regarding PTR records", ip_blocked, kGoogle},
    {550, "5.7.1", "likely suspicious due to the very low reputation of the sending IP address", ip_blocked, kGoogle},
    {554, "5.6.0", "Mail message is malformed. Not accepted", content, kGoogle},
    {554, "5.4.6", "Message exceeded 50 hops, this may indicate a mail loop", loop, kGoogle},
    {421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
     throttled, kYahoo},
    {451, "", "Resources temporarily unavailable. Please try again later", throttled, kYahoo},
    {553, "5.7.1", "[BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list",
     ip_blocked, kYahoo},
    {553, "5.7.2", "[TSS09] All messages from 192.0.2.1 will be permanently deferred", ip_blocked, kYahoo},
    {553, "5.7.2", "[TSS11] All messages from 192.0.2.1 will be permanently deferred", ip_blocked, kYahoo},
    {554, "5.7.9", "Message not accepted for policy reasons", policy, kYahoo},
    {550, "5.7.1", "[HM08] Message rejected due to local policy", policy, kApple},
    {554, "5.7.1", "[CS01] Message rejected due to local policy", content, kApple},
    {421, "4.7.1", "Try again later", throttled, kApple},
    {450, "4.2.0", "temporary failure", other, kApple},
    {421, "", "RP-001 The mail server IP connecting to Outlook.com server has exceeded the rate limit", throttled,
     kOutlook},
    {421, "", "RP-002 exceeded the rate limit allowed on this connection", throttled, kOutlook},
    {421, "", "RP-003 exceeded the connection limit", throttled, kOutlook},
    {550, "", "SC-001 Mail rejected by Outlook.com for policy reasons", content, kOutlook},
    {550, "", "SC-002 Mail rejected for policy reasons", content, kOutlook},
    {550, "", "SC-003 Mail rejected for policy reasons, open proxy", ip_blocked, kOutlook},
    {550, "", "SC-004 Mail rejected for policy reasons, a block has been placed against your IP", ip_blocked, kOutlook},
    {550, "", "DY-001 Mail rejected, we generally do not accept email from dynamic IPs", ip_blocked, kOutlook},
    {550, "", "DY-002 Mail rejected for policy reasons", ip_blocked, kOutlook},
    {550, "", "OU-001 Mail rejected, Spamhaus", ip_blocked, kOutlook},
    {550, "", "OU-002 Mail rejected for policy reasons", ip_blocked, kOutlook},
    {550, "", "5.7.515 Access denied, sending domain does not meet the required level", sender_auth, kOutlook},
    {451, "4.7.500", "Server busy. Please try again later from [192.0.2.1]. (AS77712)", throttled, kExchange},
    {421, "4.3.2", "The maximum number of concurrent server connections has been exceeded", throttled, kExchange},
    {451, "4.7.650", "temporarily rate limited due to IP reputation", throttled, kExchange},
    {550, "5.7.649", "Access denied, banned sending IP", ip_blocked, kExchange},
    {550, "5.7.1", "Service unavailable, Client host [192.0.2.1] blocked using Spamhaus", ip_blocked, kExchange},
    {550, "5.7.708", "Access denied, traffic not accepted from this IP", ip_blocked, kExchange},
    {550, "5.4.1", "Recipient address rejected: Access denied", recipient_unknown, kExchange},
    {550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", recipient_unknown},
    {550, "5.7.509", "sending domain does not pass DMARC verification and has a DMARC policy of reject", sender_auth,
     kExchange},
    {554, "",
     "IP=192.0.2.1 - None/bad reputation (NOWL). Ask your postmaster for help or to contact tobr@rx.t-online.de",
     ip_blocked, kTOnline},
    {450, "4.7.1", "Greylisted, try again in 300 seconds", greylisted},
    {550, "5.1.0", "sender rejected. AUP#CDRBL", ip_blocked},
};

TEST_CASE("what the big receivers say") {
    for (const Case& c : kReceivers) check(c);
}

TEST_CASE("hard and soft: the class of the code, but for what smaller envelopes mend") {
    CHECK(of({550, "5.1.1", "User unknown"}).permanent);
    CHECK_FALSE(of({450, "4.1.1", "User unknown"}).permanent);
    CHECK_FALSE(of({552, "5.5.3", "Too many recipients"}).permanent);
    CHECK(of({0, "5.4.4", "The mail server has no address"}).permanent);
    CHECK_FALSE(of({0, "4.4.1", "connection refused"}).permanent);
    CHECK(is_dead_address(of({550, "5.1.1", "User unknown"})));
    CHECK(is_dead_address(of({551, "5.1.6", "has moved"})));
    CHECK_FALSE(is_dead_address(of({550, "5.2.1", "disabled"})));
    CHECK_FALSE(is_dead_address(of({450, "4.1.1", "User unknown"})));
    CHECK_FALSE(is_dead_address(of({550, "5.7.1", "blocklist"})));
    const auto hint = of({450, "4.7.1", "Greylisted, try again in 300 seconds"});
    REQUIRE(hint.wait.has_value());
    CHECK(*hint.wait == Milliseconds(300'000));
    CHECK_FALSE(of({550, "5.7.1", "try again in 300 seconds"}).wait.has_value());
}

TEST_CASE("greylisting: only the first contact makes a vague 4yz one") {
    CHECK(of({451, "4.7.1", "Please try again later", greylisted, {}, true}).what == greylisted);
    CHECK(of({451, "4.7.1", "Please try again later", greylisted, {}, false}).what != greylisted);
    CHECK(of({550, "5.7.1", "Please try again later", greylisted, {}, true}).what != greylisted);
    CHECK(of({452, "4.2.2", "Mailbox full", greylisted, {}, true}).what == mailbox_full);
    CHECK(of({0, "4.3.0", "The message cannot be read here", greylisted, {}, true}).what == other);
}

TEST_CASE("every class has a name of its own and a fault") {
    std::set<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(other); ++i) names.insert(to_string(static_cast<ReplyClass>(i)));
    CHECK(names.size() == static_cast<std::size_t>(other) + 1);
    CHECK(fault_of(ip_blocked) == Fault::our_address);
    CHECK(fault_of(throttled) == Fault::nobody);
    CHECK(fault_of(recipient_unknown) == Fault::recipient);
}

TEST_CASE("the rules are sound: named, and short phrases are whole words") {
    for (const auto rules : {provider_rules(), reply_rules()}) {
        for (const ReplyRule& rule : rules) {
            CAPTURE(rule.name);
            CHECK_FALSE(rule.name.empty());
            CHECK((rule.code < 10 || (rule.code >= 400 && rule.code < 600)));
            for (const std::string_view phrases : {rule.any, rule.also}) {
                CHECK(phrases.find("||") == std::string_view::npos);
                for (std::size_t star = phrases.find('*'); star != std::string_view::npos;
                     star = phrases.find('*', star + 1)) {
                    CHECK((star + 1 == phrases.size() || phrases[star + 1] == '|'));
                }
                for (const char c : phrases) CHECK((c < 'A' || c > 'Z'));
            }
        }
    }
}
