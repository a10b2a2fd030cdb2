#include "relay/route.h"

#include <doctest/doctest.h>

#include "protocols/smtp/presets.h"
#include "protocols/smtp/provider.h"

namespace posthouse {

TEST_CASE("relay URLs: what is read, and what is said to be wrong") {
    struct Case {
        std::string_view text;
        std::string_view shown;  // "" where it must be refused
    };
    constexpr Case cases[] = {
        {"direct", "direct"},
        {"smtp://alice@relay.example:587", "smtp://alice@relay.example:587"},
        {"smtp://alice@home.example@relay.example", "smtp://alice@home.example@relay.example:587"},
        {"SMTPS://u%3Ax@Relay.Example", "smtps://u%3Ax@relay.example:465"},
        {"smtp://u@192.0.2.1:2525?name=mail.example", "smtp://u@192.0.2.1:2525?name=mail.example"},
        {"smtps://[2001:db8::1]:465", "smtps://[2001:db8::1]:465"},
        {"smtp+plain://127.0.0.1:2525", "smtp+plain://127.0.0.1:2525"},
        {"smtp+plain://10.1.2.3", "smtp+plain://10.1.2.3:25"},
        {"preset:smtp2go:alice", "smtp://alice@mail.smtp2go.com:587"},
        {"preset:sendgrid", "smtp://apikey@smtp.sendgrid.net:587"},
        {"preset:smtp2go:alice?region=eu&port=2525", "smtp://alice@mail-eu.smtp2go.com:2525"},
        {"preset:ses:AKIA?region=eu-west-1", "smtp://AKIA@email-smtp.eu-west-1.amazonaws.com:587"},
        {"preset:ses:AKIA?region=eu-west-1&port=465", "smtps://AKIA@email-smtp.eu-west-1.amazonaws.com:465"},
        {"preset:microsoft-connector?tenant=a-example", "smtp://a-example.mail.protection.outlook.com:25"},
        {"smtp://192.0.2.1?name=a.example&certificate=/etc/a%20b.pem&key=/etc/k.pem",
         "smtp://192.0.2.1:587?name=a.example&certificate=/etc/a%20b.pem&key=/etc/k.pem"},
        {"smtps://relay.example?certificate=/etc/both.pem", "smtps://relay.example:465?certificate=/etc/both.pem"},
        {"preset:microsoft-connector?tenant=a-example&certificate=/c.pem&key=/k.pem",
         "smtp://a-example.mail.protection.outlook.com:25?certificate=/c.pem&key=/k.pem"},
        {"smtp+plain://127.0.0.1?certificate=/etc/both.pem", ""},
        {"smtp://relay.example?certificate=both.pem", ""},
        {"smtp://relay.example?key=/etc/k.pem", ""},
        {"smtp://relay.example?certificate=/etc/%0a.pem", ""},
        {"smtp://relay.example?colour=red", ""},
        {"PRESET:Resend", "smtp://resend@smtp.resend.com:587"},
        {"preset:ses:AKIA", ""},
        {"preset:ses:AKIA?region=eu west", ""},
        {"preset:brevo:me?port=25", ""},
        {"preset:microsoft-connector", ""},
        {"preset:microsoft-connector:me?tenant=a-example", ""},
        {"preset:mailgun", ""},
        {"preset:nobody:x", ""},
        {"smtp+plain://192.0.2.1", ""},
        {"smtp+plain://u@127.0.0.1", ""},
        {"smtp://u:secret@relay.example", ""},
        {"smtp://@relay.example", ""},
        {"smtp://relay.example:0", ""},
        {"smtp://relay.example:65536", ""},
        {"smtp://", ""},
        {"smtp://a b", ""},
        {"smtp://u%0A@relay.example", ""},
        {"http://relay.example", ""},
        {"", ""},
    };
    for (const Case& c : cases) {
        CAPTURE(c.text);
        const auto url = smtp::parse_relay_url(c.text);
        CHECK(url.has_value() == !c.shown.empty());
        if (url) CHECK(url->to_string() == c.shown);
        if (!url) CHECK(url.error().context.contains("smtp://user@host:587"));
    }
}

TEST_CASE("presets: each is whole, and its example is what can be typed") {
    for (const smtp::Preset& preset : smtp::presets()) {
        CAPTURE(preset.name);
        CHECK(!preset.ports.empty());
        CHECK(!preset.user.empty());
        CHECK(!preset.replies.empty());
        CHECK((preset.ports.size() == 1 || preset.ports.front().port != 25));  // clouds block it
        const auto url = smtp::parse_relay_url(preset.example);
        REQUIRE_MESSAGE(url, url.error().context);
        CHECK(url->preset == preset.name);
        CHECK(smtp::parse_relay_url(url->to_string())->host == url->host);
    }
}

// reference: what the services publish. A value that changes here was changed on purpose.
TEST_CASE("presets: every value") {
    struct Case {
        std::string_view name;
        std::string_view url;    // what the shortest form becomes
        std::string_view typed;  // the shortest form
        std::string ports;       // S: STARTTLS, I: implicit; the default first
        std::uint32_t connections, minute, day;
        std::uint64_t megabytes;
        std::uint32_t recipients;
        std::string headers;
        std::string_view return_path;
        std::string_view spf;
    };
    const Case cases[] = {
        {"smtp2go", "smtp://u@mail.smtp2go.com:587", "preset:smtp2go:u", "S587 I465 S2525 S8025 S80 I8465 I443 S25", 0,
         0, 0, 50, 100, "", "em{id}.{domain}", ""},
        {"sendgrid", "smtp://apikey@smtp.sendgrid.net:587", "preset:sendgrid", "S587 I465 S2525 S25", 0, 0, 0, 30, 1000,
         "", "em{id}.{domain}", ""},
        {"mailgun", "smtp://u@smtp.mailgun.org:587", "preset:mailgun:u", "S587 I465 S2525 S25", 0, 0, 0, 25, 1000, "",
         "", "mailgun.org"},
        {"mailgun-eu", "smtp://u@smtp.eu.mailgun.org:587", "preset:mailgun-eu:u", "S587 I465 S2525 S25", 0, 0, 0, 25,
         1000, "", "", "mailgun.org"},
        {"postmark", "smtp://u@smtp.postmarkapp.com:587", "preset:postmark:u", "S587 S2525 S25", 10, 0, 0, 10, 50,
         "X-PM-Message-Stream: outbound", "pm-bounces.{domain}", ""},
        {"postmark-broadcast", "smtp://u@smtp-broadcasts.postmarkapp.com:587", "preset:postmark-broadcast:u",
         "S587 S2525 S25", 10, 0, 0, 10, 50, "X-PM-Message-Stream: broadcast", "pm-bounces.{domain}", ""},
        {"ses", "smtp://u@email-smtp.eu-west-1.amazonaws.com:587", "preset:ses:u?region=eu-west-1",
         "S587 I465 S2587 I2465 S25", 0, 840, 0, 40, 50, "", "bounce.{domain}", ""},
        {"brevo", "smtp://u@smtp-relay.brevo.com:587", "preset:brevo:u", "S587 I465 S2525", 0, 0, 0, 0, 0, "", "", ""},
        {"google-relay", "smtp://smtp-relay.gmail.com:587", "preset:google-relay", "S587 I465 S25", 0, 0, 0, 25, 100,
         "", "", "_spf.google.com"},
        {"gmail", "smtp://u@smtp.gmail.com:587", "preset:gmail:u", "S587 I465 S25", 0, 0, 500, 25, 100, "", "", ""},
        {"microsoft", "smtp://u@smtp.office365.com:587", "preset:microsoft:u", "S587 S25", 3, 30, 10'000, 35, 500, "",
         "", "spf.protection.outlook.com"},
        {"microsoft-connector", "smtp://a-b.mail.protection.outlook.com:25", "preset:microsoft-connector?tenant=a-b",
         "S25", 0, 0, 0, 35, 500, "", "", "spf.protection.outlook.com"},
        {"azure", "smtp://u@smtp.azurecomm.net:587", "preset:azure:u", "S587", 0, 0, 0, 30, 50, "", "",
         "spf.protection.outlook.com"},
        {"resend", "smtp://resend@smtp.resend.com:587", "preset:resend", "S587 I465 S2587 I2465 S25", 0, 0, 0, 40, 50,
         "Resend-Idempotency-Key: {queue}", "send.{domain}", ""},
    };
    CHECK(std::size(cases) == smtp::presets().size());
    for (const Case& c : cases) {
        CAPTURE(c.name);
        const smtp::Preset* const preset = smtp::find_preset(c.name);
        REQUIRE(preset != nullptr);
        const auto url = smtp::parse_relay_url(c.typed);
        REQUIRE_MESSAGE(url, url.error().context);
        CHECK(url->to_string() == c.url);
        std::string ports;
        for (const smtp::PresetPort& port : preset->ports) {
            const bool implicit = port.security == smtp::RelayUrl::Security::implicit_tls;
            ports += (ports.empty() ? "" : " ") + std::string(implicit ? "I" : "S") + std::to_string(port.port);
        }
        CHECK(ports == c.ports);
        CHECK(preset->connections_max == c.connections);
        CHECK(preset->minute_max == c.minute);
        CHECK(preset->day_max == c.day);
        CHECK(preset->message_octets_max == c.megabytes * 1'000'000);
        CHECK(preset->recipients_max == c.recipients);
        std::string headers;
        for (const smtp::PresetHeader& one : preset->headers)
            headers += std::string(one.name) + ": " + std::string(one.value);
        CHECK(headers == c.headers);
        CHECK(preset->return_path == c.return_path);
        CHECK(smtp::spf_include_of(*preset) == c.spf);
    }
}

TEST_CASE("presets: what a reply speaks of") {
    using smtp::ReplyScope;
    struct Case {
        std::string_view preset;
        unsigned code;
        std::string_view text;
        std::optional<ReplyScope> scope;
    };
    const Case cases[] = {
        {"ses", 454, "Throttling failure: Maximum sending rate exceeded.", ReplyScope::account_rate},
        {"ses", 454, "Throttling failure: Daily message quota exceeded.", ReplyScope::account_day},
        {"ses", 554, "Message rejected: Email address is not verified.", ReplyScope::sender},
        {"sendgrid", 451, "You have exceeded your: Maximum credits exceeded", ReplyScope::account_day},
        {"sendgrid", 452, "Too many recipients received this hour", ReplyScope::account_rate},
        {"mailgun", 421, "domain example.org is over its hourly LIMIT", ReplyScope::account_rate},
        {"microsoft", 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", ReplyScope::account_rate},
        {"microsoft", 550, "5.7.30 Basic authentication is not supported", ReplyScope::account_auth},
        {"gmail", 550, "5.4.5 Daily user sending limit exceeded", ReplyScope::account_day},
        {"gmail", 550, "5.1.1 The email account that you tried to reach does not exist", std::nullopt},
        {"postmark", 250, "daily digest taken", std::nullopt},
        // Words of the recipient's own server, which services pass on.
        {"resend", 550, "Rejected by corporate policy; we operate a closed list", std::nullopt},
        {"resend", 429, "The rate of 2 a second is exceeded", ReplyScope::account_rate},
        {"mailgun", 550, "5.2.1 The mailbox is disabled", std::nullopt},
        {"azure", 554, "5.6.0 SubscriptionQuotaExceeded", ReplyScope::account_day},
        {"microsoft", 554, "5.2.0 STOREDRV.Submission.Exception:MapiExceptionSendAsDenied", ReplyScope::sender},
        {"microsoft", 550, "5.2.2 Submission quota exceeded", ReplyScope::account_day},
        {"mailgun", 550, "5.7.1 Domain mg.example.org is disabled", ReplyScope::account_auth},
        {"azure", 552, "5.2.2 The recipient is over its quota", std::nullopt},
        {"azure", 452, "4.5.127 The quota of the subscription is used up", ReplyScope::account_day},
        {"gmail", 450, "4.2.1 The user is receiving mail too quickly", ReplyScope::account_rate},
        {"resend", 250, "OK, rate fine", std::nullopt},
    };
    for (const Case& c : cases) {
        CAPTURE(c.preset);
        CAPTURE(c.text);
        const auto* row = smtp::judge_reply(*smtp::find_preset(c.preset), c.code, c.text);
        CHECK((row == nullptr ? std::nullopt : std::optional(row->scope)) == c.scope);
    }
}

TEST_CASE("fields of a service leave for that service only") {
    CHECK(smtp::is_foreign_header("X-SMTPAPI", ""));
    CHECK(smtp::is_foreign_header("x-pm-tag", "sendgrid"));
    CHECK_FALSE(smtp::is_foreign_header("X-PM-Tag", "postmark-broadcast"));
    CHECK_FALSE(smtp::is_foreign_header("X-SMTPAPI", "sendgrid"));
    CHECK_FALSE(smtp::is_foreign_header("X-SMTPAPI-Extra", "postmark"));  // a whole name, no prefix
    CHECK_FALSE(smtp::is_foreign_header("Subject", ""));
}

TEST_CASE("sites: domains of one provider are one, whatever else their MX name") {
    const std::vector<std::string> google{"ASPMX.l.google.com", "alt1.aspmx.l.google.com"};
    const std::vector<std::string> own{"mx2.b.example", "mx1.b.example"};
    CHECK(smtp::site_of(google) == "google");
    CHECK(smtp::site_of(own) == "mx1.b.example mx2.b.example ");
    CHECK(smtp::provider_of("google.com") == nullptr);
}

}  // namespace posthouse
