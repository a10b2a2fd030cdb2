#include "protocols/smtp/presets.h"

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"

namespace posthouse::smtp {

namespace {

constexpr auto kStart = RelayUrl::Security::starttls;
constexpr auto kImplicit = RelayUrl::Security::implicit_tls;
constexpr std::uint64_t kMb = 1'000'000;  // the services count in decimal; the smaller reading is the safe one

// Clouds block port 25: it never comes first where another will do.
constexpr PresetPort kCommon[] = {{587, kStart}, {465, kImplicit}, {2525, kStart}, {25, kStart}};
constexpr PresetPort kSmtp2go[] = {{587, kStart}, {465, kImplicit},  {2525, kStart},   {8025, kStart},
                                   {80, kStart},  {8465, kImplicit}, {443, kImplicit}, {25, kStart}};
constexpr PresetPort kStartOnly[] = {{587, kStart}, {2525, kStart}, {25, kStart}};
constexpr PresetPort kAmazon[] = {{587, kStart}, {465, kImplicit}, {2587, kStart}, {2465, kImplicit}, {25, kStart}};
constexpr PresetPort kBrevo[] = {{587, kStart}, {465, kImplicit}, {2525, kStart}};
constexpr PresetPort kGoogle[] = {{587, kStart}, {465, kImplicit}, {25, kStart}};
constexpr PresetPort kSubmission[] = {{587, kStart}};
constexpr PresetPort kMicrosoft[] = {{587, kStart}, {25, kStart}};
constexpr PresetPort kMx[] = {{25, kStart}};

constexpr PresetHeader kOutbound[] = {{"X-PM-Message-Stream", "outbound"}};
constexpr PresetHeader kBroadcast[] = {{"X-PM-Message-Stream", "broadcast"}};
constexpr PresetHeader kIdempotent[] = {{"Resend-Idempotency-Key", "{queue}"}};

constexpr std::string_view kSmtp2goOwn[] = {"X-Smtp2go-"};
constexpr std::string_view kSendgridOwn[] = {"X-SMTPAPI", "X-SG-"};
constexpr std::string_view kMailgunOwn[] = {"X-Mailgun-"};
constexpr std::string_view kPostmarkOwn[] = {"X-PM-"};
constexpr std::string_view kSesOwn[] = {"X-SES-"};
constexpr std::string_view kBrevoOwn[] = {"X-Mailin-", "X-Sib-"};
constexpr std::string_view kAzureOwn[] = {"x-ms-acsemail-"};
constexpr std::string_view kResendOwn[] = {"Resend-", "X-Resend-"};

constexpr PresetRecord kSmtp2goDns[] = {{"CNAME", "em{id}.{domain}", "return.smtp2go.net"},
                                        {"CNAME", "s{id}._domainkey.{domain}", "dkim.smtp2go.net"},
                                        {"CNAME", "link.{domain}", "track.smtp2go.net"}};
constexpr PresetRecord kSendgridDns[] = {{"CNAME", "em{id}.{domain}", "u{id}.wl.sendgrid.net"},
                                         {"CNAME", "s1._domainkey.{domain}", "s1.domainkey.u{id}.wl.sendgrid.net"},
                                         {"CNAME", "s2._domainkey.{domain}", "s2.domainkey.u{id}.wl.sendgrid.net"}};
constexpr PresetRecord kMailgunDns[] = {{"TXT", "{domain}", "v=spf1 include:mailgun.org ~all"},
                                        {"TXT", "{id}._domainkey.{domain}", "(the key that Mailgun shows)"},
                                        {"CNAME", "email.{domain}", "mailgun.org"},
                                        {"MX", "{domain}", "10 mxa.mailgun.org, 10 mxb.mailgun.org (late bounces)"}};
constexpr PresetRecord kMailgunEuDns[] = {{"TXT", "{domain}", "v=spf1 include:mailgun.org ~all"},
                                          {"TXT", "{id}._domainkey.{domain}", "(the key that Mailgun shows)"},
                                          {"CNAME", "email.{domain}", "eu.mailgun.org"},
                                          {"MX", "{domain}", "10 mxa.eu.mailgun.org, 10 mxb.eu.mailgun.org"}};
constexpr PresetRecord kPostmarkDns[] = {{"TXT", "{id}pm._domainkey.{domain}", "(the key that Postmark shows)"},
                                         {"CNAME", "pm-bounces.{domain}", "pm.mtasv.net"}};
constexpr PresetRecord kSesDns[] = {
    {"CNAME", "{id}._domainkey.{domain}", "{id}.dkim.amazonses.com (three of them)"},
    {"MX", "bounce.{domain}", "10 feedback-smtp.{region}.amazonses.com (the only MX of that name)"},
    {"TXT", "bounce.{domain}", "v=spf1 include:amazonses.com ~all"}};
constexpr PresetRecord kBrevoDns[] = {{"TXT", "{domain}", "brevo-code:{id}"},
                                      {"CNAME", "brevo1._domainkey.{domain}", "b1.{id}.dkim.brevo.com"},
                                      {"CNAME", "brevo2._domainkey.{domain}", "b2.{id}.dkim.brevo.com"}};
constexpr PresetRecord kGoogleDns[] = {{"TXT", "{domain}", "v=spf1 include:_spf.google.com ~all"}};
constexpr PresetRecord kMicrosoftDns[] = {{"TXT", "{domain}", "v=spf1 include:spf.protection.outlook.com -all"}};
constexpr PresetRecord kAzureDns[] = {{"TXT", "{domain}", "ms-domain-verification={id}"},
                                      {"TXT", "{domain}", "v=spf1 include:spf.protection.outlook.com -all"},
                                      {"CNAME", "selector1-azurecomm-prod-net._domainkey.{domain}",
                                       "selector1-azurecomm-prod-net._domainkey.azurecomm.net"},
                                      {"CNAME", "selector2-azurecomm-prod-net._domainkey.{domain}",
                                       "selector2-azurecomm-prod-net._domainkey.azurecomm.net"}};
constexpr PresetRecord kResendDns[] = {{"TXT", "resend._domainkey.{domain}", "(the key that Resend shows)"},
                                       {"MX", "send.{domain}", "10 feedback-smtp.{region}.amazonses.com"},
                                       {"TXT", "send.{domain}", "v=spf1 include:amazonses.com ~all"}};

constexpr auto kRate = ReplyScope::account_rate;
constexpr auto kDay = ReplyScope::account_day;
constexpr auto kAuth = ReplyScope::account_auth;
constexpr auto kSender = ReplyScope::sender;

// The first row that fits counts.
constexpr PresetReply kSmtp2goReplies[] = {
    {535, "", kAuth, "The SMTP user or its password is wrong; it is not the login of the web site"},
    {550, "authenticate first", kAuth, "The service wants a login before it relays"},
    {550, "not verified", kSender, "The sender domain is not verified at SMTP2GO: add it under Sender Domains"},
    {0, "rate limit", kRate, "The hourly rate of the account is reached"},
    {0, "monthly", kDay, "The allowance of the month is used up"}};
constexpr PresetReply kSendgridReplies[] = {
    {451, "authentication failed", kAuth, "The API key is wrong, or it lacks the right to send mail"},
    {451, "maximum credits exceeded", kDay, "The allowance of the plan is used up"},
    {535, "", kAuth, "The user is the word apikey and the password an API key with the right to send mail"},
    {452, "too many recipients", kRate, "Too many recipients this hour"},
    {550, "unauthenticated senders", kAuth, "The service wants a login before it relays"},
    {550, "verified sender identity", kSender, "The From address is not a verified sender at SendGrid"}};
constexpr PresetReply kMailgunReplies[] = {
    {420, "", kRate, "The hourly limit of the account is reached"},
    {421, "limit", kRate, "The hourly limit of the account is reached"},
    {0, "disabled", kAuth, "The domain is disabled at Mailgun, mostly for bounces or complaints"},
    {535, "", kAuth, "The user is a whole address such as postmaster@mg.example.org with its own password"}};
constexpr PresetReply kPostmarkReplies[] = {
    {535, "", kAuth, "User and password are both the server token, or an access key and its secret"},
    {550, "pending approval", kSender, "An account that waits for approval may only write to its own domain"},
    {0, "sender signature", kSender, "The From address has no confirmed sender signature at Postmark"}};
constexpr PresetReply kSesReplies[] = {
    {454, "daily", kDay, "The daily quota of the account is used up"},
    {454, "throttling failure", kRate, "The sending rate of the account is reached"},
    {454, "temporary authentication failure", kRate, "The service cannot check the login just now"},
    {421, "too many", kRate, "Too many connections or messages for the account"},
    {530, "", kAuth, "The service wants TLS and a login"},
    {535, "", kAuth, "The password is the SMTP password derived from the key, and belongs to one region"},
    {554, "not verified", kSender, "The sender (in the sandbox also the recipient) is not verified in this region"},
    {554, "access denied", kAuth, "The key may not send: it lacks ses:SendRawEmail"}};
constexpr PresetReply kBrevoReplies[] = {
    {535, "", kAuth, "The password is an SMTP key, not an API key; new accounts also allow listed addresses only"},
    {0, "daily limit", kDay, "The daily allowance is used up"},
    {0, "unauthorized ip", kAuth, "This server's address is not on the account's list of allowed addresses"}};
constexpr PresetReply kGoogleReplies[] = {
    {421, "4.7.0", kRate, "Google asks for a pause; it also says so where the EHLO name is no public name"},
    {450, "4.2.1", kRate, "The peak rate is reached"},
    {550, "5.4.5", kDay, "The daily limit of the user is reached"},
    {550, "daily smtp relay", kDay, "The daily limit of the organisation is reached"},
    {550, "daily", kDay, "A daily limit is reached"},
    {550, "ip address is not registered", kAuth, "This server's address is not on the relay's list"},
    {535, "", kAuth, "The password must be an app password, or use XOAUTH2"},
    {534, "", kAuth, "The account asks for an app password, or for XOAUTH2"}};
constexpr PresetReply kMicrosoftReplies[] = {
    {432, "", kRate, "Three connections at a time are all that a mailbox may have"},
    {421, "4.3.2", kRate, "Too many connections for the mailbox"},
    {0, "5.7.57", kAuth, "The service wants a login before it relays"},
    {550, "5.7.30", kAuth, "Logins with a password are switched off for good: use XOAUTH2"},
    {535, "", kAuth, "The login was refused: SMTP AUTH may be switched off for the mailbox or the tenant"},
    {0, "sendasdenied", kSender, "The mailbox may not send as this address"},
    {0, "5.2.0", kRate, "The mailbox sends too fast"},
    {0, "5.2.2 submission quota", kDay, "The mailbox has sent what it may"},
    {0, "5.1.90", kDay, "The daily limit of recipients is reached"}};
constexpr PresetReply kAzureReplies[] = {
    {535, "", kAuth, "The user is RESOURCE.APPID.TENANTID (or an SMTP user name) and the password the app's secret"},
    {0, "5.7.60", kSender, "The sender address is not configured for this resource"},
    {0, "throttl", kRate, "The rate of the subscription is reached"},
    {0, "quota", kDay, "The quota of the subscription is used up"}};
constexpr PresetReply kResendReplies[] = {{535, "", kAuth, "The user is the word resend and the password an API key"},
                                          {0, "daily", kDay, "The daily allowance is used up"},
                                          {0, "rate", kRate, "The rate of the account is reached"},
                                          {0, "not verified", kSender, "The sender domain is not verified at Resend"}};

constexpr std::string_view kMicrosoftToken = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token";
constexpr std::string_view kGoogleToken = "https://oauth2.googleapis.com/token";

constexpr Preset kPresets[] = {
    {.name = "smtp2go",
     .title = "SMTP2GO",
     .host = "mail{region}.smtp2go.com",
     .region = "-",  // the host without a suffix; -us, -eu, -eu2 and -au are its others
     .ports = kSmtp2go,
     .user = "an SMTP user (not the login of the web site) and its password",
     .example = "preset:smtp2go:USER",
     .message_octets_max = 50 * kMb,
     .recipients_max = 100,
     .own_headers = kSmtp2goOwn,
     .records = kSmtp2goDns,
     .return_path = "em{id}.{domain}",
     .replies = kSmtp2goReplies,
     .note = "A suppressed address is taken with 250 and rejected afterwards; the free plan has 200 messages a day."},
    {.name = "sendgrid",
     .title = "Twilio SendGrid",
     .host = "smtp.sendgrid.net",
     .region = "-",
     .ports = kCommon,
     .fixed_user = "apikey",
     .user = "the word apikey, and an API key with the right Mail Send",
     .example = "preset:sendgrid",
     .message_octets_max = 30 * kMb,
     .recipients_max = 1000,
     .own_headers = kSendgridOwn,
     .records = kSendgridDns,
     .return_path = "em{id}.{domain}",
     .replies = kSendgridReplies,
     .note = "250 means queued there; drops are told by its webhook only."},
    {.name = "mailgun",
     .title = "Mailgun (US)",
     .host = "smtp.mailgun.org",
     .region = "-",
     .ports = kCommon,
     .user = "a whole address such as postmaster@mg.example.org and its password, one per domain",
     .example = "preset:mailgun:postmaster@mg.example.org",
     .message_octets_max = 25 * kMb,
     .recipients_max = 1000,
     .own_headers = kMailgunOwn,
     .records = kMailgunDns,
     .replies = kMailgunReplies,
     .note = "A sandbox domain writes to five approved recipients only."},
    {.name = "mailgun-eu",
     .title = "Mailgun (EU)",
     .host = "smtp.eu.mailgun.org",
     .region = "-",
     .ports = kCommon,
     .user = "a whole address such as postmaster@mg.example.org and its password, one per domain",
     .example = "preset:mailgun-eu:postmaster@mg.example.org",
     .message_octets_max = 25 * kMb,
     .recipients_max = 1000,
     .own_headers = kMailgunOwn,
     .records = kMailgunEuDns,
     .replies = kMailgunReplies,
     .note = "A domain lives in one region; the other one refuses its login."},
    {.name = "postmark",
     .title = "Postmark, transactional stream",
     .host = "smtp.postmarkapp.com",
     .region = "-",
     .ports = kStartOnly,
     .user = "the server token as user and as password, or an access key and its secret",
     .example = "preset:postmark:SERVER-TOKEN",
     .connections_max = 10,
     .message_octets_max = 10 * kMb,
     .recipients_max = 50,
     .headers = kOutbound,
     .own_headers = kPostmarkOwn,
     .records = kPostmarkDns,
     .return_path = "pm-bounces.{domain}",
     .replies = kPostmarkReplies,
     .note = "A suppressed recipient is taken with 250 and dropped afterwards."},
    {.name = "postmark-broadcast",
     .title = "Postmark, broadcast stream",
     .host = "smtp-broadcasts.postmarkapp.com",
     .region = "-",
     .ports = kStartOnly,
     .user = "the server token as user and as password, or an access key and its secret",
     .example = "preset:postmark-broadcast:SERVER-TOKEN",
     .connections_max = 10,
     .message_octets_max = 10 * kMb,
     .recipients_max = 50,
     .headers = kBroadcast,
     .own_headers = kPostmarkOwn,
     .records = kPostmarkDns,
     .return_path = "pm-bounces.{domain}",
     .replies = kPostmarkReplies,
     .note = "For newsletters; an unsubscribe link is added where there is none."},
    {.name = "ses",
     .title = "Amazon SES",
     .host = "email-smtp.{region}.amazonaws.com",
     .ports = kAmazon,
     .user = "the id of an IAM key and the SMTP password derived from it, for one region",
     .example = "preset:ses:AKIAEXAMPLE?region=eu-west-1",
     .minute_max = 840,  // 14 a second is what an account begins with once it is out of the sandbox
     .message_octets_max = 40 * kMb,
     .recipients_max = 50,
     .own_headers = kSesOwn,
     .records = kSesDns,
     .return_path = "bounce.{domain}",
     .replies = kSesReplies,
     .note = "In the sandbox 200 messages a day, one a second: then add --rate 60 --per-day 200; with a larger quota "
             "a larger --rate. Messages over 10 MB are slowed down."},
    {.name = "brevo",
     .title = "Brevo",
     .host = "smtp-relay.brevo.com",
     .region = "-",
     .ports = kBrevo,
     .user = "the SMTP login that Brevo shows, and an SMTP key (not an API key)",
     .example = "preset:brevo:LOGIN",
     .own_headers = kBrevoOwn,
     .records = kBrevoDns,
     .replies = kBrevoReplies,
     .note = "From of a domain that is not authenticated is rewritten to @brevosend.com; the free plan has 300 a day."},
    {.name = "google-relay",
     .title = "Google Workspace SMTP relay",
     .host = "smtp-relay.gmail.com",
     .region = "-",
     .ports = kGoogle,
     .user = "an address of the organisation with an app password or XOAUTH2, or none where the address is listed",
     .login_optional = true,
     .example = "preset:google-relay:relay@example.org",
     .message_octets_max = 25 * kMb,
     .recipients_max = 100,
     .records = kGoogleDns,
     .replies = kGoogleReplies,
     .token_url = kGoogleToken,
     .scope = "https://mail.google.com/",
     .note = "10,000 recipients a user and day; preset:google-relay without a user where our address is on its list."},
    {.name = "gmail",
     .title = "Gmail",
     .host = "smtp.gmail.com",
     .region = "-",
     .ports = kGoogle,
     .user = "the address, and an app password or XOAUTH2",
     .example = "preset:gmail:me@gmail.com",
     .day_max = 500,
     .message_octets_max = 25 * kMb,
     .recipients_max = 100,
     .own_address_only = true,
     .replies = kGoogleReplies,
     .token_url = kGoogleToken,
     .scope = "https://mail.google.com/",
     .note = "500 recipients a day, 2,000 with Workspace: then add --per-day 2000."},
    {.name = "microsoft",
     .title = "Microsoft 365, as a mailbox",
     .host = "smtp.office365.com",
     .region = "-",
     .ports = kMicrosoft,
     .user = "the mailbox, and XOAUTH2 (its password only while the tenant still allows it)",
     .example = "preset:microsoft:me@example.org?tenant=example.org",
     .connections_max = 3,
     .minute_max = 30,
     .day_max = 10'000,
     .message_octets_max = 35 * kMb,
     .recipients_max = 500,
     .records = kMicrosoftDns,
     .own_address_only = true,
     .replies = kMicrosoftReplies,
     .token_url = kMicrosoftToken,
     .scope = "https://outlook.office365.com/.default",
     .note = "Sends as its own address only; logins with a password end in 2027."},
    {.name = "microsoft-connector",
     .title = "Microsoft 365, by a connector",
     .host = "{tenant}.mail.protection.outlook.com",
     .region = "-",
     .ports = kMx,
     .user = "none: the tenant's connector knows this server by its address or certificate",
     .login = false,
     .example = "preset:microsoft-connector?tenant=example-org",
     .message_octets_max = 35 * kMb,
     .recipients_max = 500,
     .records = kMicrosoftDns,
     .replies = kMicrosoftReplies,
     .note = "TENANT is the domain with its dots turned into hyphens; port 25 must be open. --client-cert shows the "
             "certificate that the connector names."},
    {.name = "azure",
     .title = "Azure Communication Services",
     .host = "smtp.azurecomm.net",
     .region = "-",
     .ports = kSubmission,
     .user = "RESOURCE.APPID.TENANTID or an SMTP user name, and the secret of the app",
     .example = "preset:azure:RESOURCE.APPID.TENANTID",
     .message_octets_max = 30 * kMb,
     .recipients_max = 50,
     .own_headers = kAzureOwn,
     .records = kAzureDns,
     .replies = kAzureReplies,
     .note = "The first allowance is small (30 a minute, 100 an hour); ask for more."},
    {.name = "resend",
     .title = "Resend",
     .host = "smtp.resend.com",
     .region = "-",
     .ports = kAmazon,
     .fixed_user = "resend",
     .user = "the word resend, and an API key",
     .example = "preset:resend",
     .message_octets_max = 40 * kMb,
     .recipients_max = 50,
     .headers = kIdempotent,
     .own_headers = kResendOwn,
     .records = kResendDns,
     .return_path = "send.{domain}",
     .replies = kResendReplies,
     .note = "A message that is sent again within a day is recognised by its key and not delivered twice."},
};

}  // namespace

std::string_view to_string(ReplyScope scope) {
    switch (scope) {
        case ReplyScope::message: return "the message";
        case ReplyScope::account_rate: return "the account's rate";
        case ReplyScope::account_day: return "the account's allowance";
        case ReplyScope::account_auth: return "the account's login";
        case ReplyScope::sender: return "the sender";
    }
    return "the message";
}

std::span<const Preset> presets() { return kPresets; }

const Preset* find_preset(std::string_view name) {
    const auto found = std::ranges::find_if(kPresets, [&](const Preset& p) { return ascii::equals_ci(p.name, name); });
    return found == std::end(kPresets) ? nullptr : &*found;
}

std::string spf_include_of(const Preset& preset) {
    constexpr std::string_view kInclude = " include:";
    for (const PresetRecord& record : preset.records) {
        if (record.name != "{domain}" || !record.value.starts_with("v=spf1")) continue;
        const std::size_t at = record.value.find(kInclude);
        if (at == std::string_view::npos) continue;
        const std::string_view rest = record.value.substr(at + kInclude.size());
        return std::string(rest.substr(0, rest.find(' ')));
    }
    return {};
}

namespace {

// RFC 3463 3.2, 3.3: codes that speak of the recipient's address or mailbox, and so not of our account. Services write
// them word for word from the recipient's own server.
bool is_about_recipient(std::string_view text) {
    if (text.size() < 5 || (text[0] != '4' && text[0] != '5') || text[1] != '.' || text[3] != '.') return false;
    const std::string_view rest = text.substr(4);
    const std::string_view detail = rest.substr(0, rest.find_first_not_of("0123456789"));
    constexpr std::string_view kAddress[] = {"1", "2", "3", "6", "10"};
    constexpr std::string_view kMailbox[] = {"1", "2", "3"};
    return (text[2] == '1' && std::ranges::find(kAddress, detail) != std::end(kAddress)) ||
           (text[2] == '2' && std::ranges::find(kMailbox, detail) != std::end(kMailbox));
}

// At the beginning of a word: "rate" is not in "corporate", but in "SendRateExceeded".
bool has_word(std::string_view text, std::string_view beginning) {
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t at = ascii::find_ci(text.substr(from), beginning);
        if (at == std::string_view::npos) return false;
        const std::size_t found = from + at;
        const bool begins = found == 0 || !ascii::is_alnum(text[found - 1]) ||
                            (ascii::is_lower(text[found - 1]) && ascii::is_upper(text[found]));
        if (begins) return true;
        from = found + 1;
    }
    return false;
}

}  // namespace

const PresetReply* judge_reply(const Preset& preset, unsigned code, std::string_view text) {
    for (const PresetReply& row : preset.replies) {
        if (row.code != 0 && row.code != code) continue;
        // Without a code of its own a row is about refusals only.
        if (row.code == 0 && code < 400) continue;
        const bool names_code = !row.contains.empty() && ascii::is_digit(row.contains.front());
        if (!row.contains.empty() && !names_code && is_about_recipient(text)) continue;
        if (row.contains.empty() || has_word(text, row.contains)) return &row;
    }
    return nullptr;
}

bool is_foreign_header(std::string_view field, std::string_view preset) {
    const auto owns = [&](const Preset& p) {
        return std::ranges::any_of(p.own_headers, [&](std::string_view own) {
            return own.ends_with('-') ? ascii::starts_with_ci(field, own) : ascii::equals_ci(field, own);
        });
    };
    const Preset* const here = find_preset(preset);
    if (here != nullptr && owns(*here)) return false;
    return std::ranges::any_of(kPresets, owns);
}

}  // namespace posthouse::smtp
