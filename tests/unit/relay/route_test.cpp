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
