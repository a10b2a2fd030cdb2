// The replies of the big receivers, by what their own pages say they mean and what their servers were seen to say.
#include "protocols/base/ascii.h"
#include "protocols/bounce/reply_rules.h"

namespace posthouse::bounce {
namespace {

using enum ReplyClass;
using enum Provider;

struct HostName {
    std::string_view suffix;
    Provider provider;
};
constexpr HostName kHosts[] = {
    {"google.com", google},       {"googlemail.com", google},  {"outlook.com", microsoft}, {"hotmail.com", microsoft},
    {"office365.com", microsoft}, {"mx.microsoft", microsoft}, {"yahoodns.net", yahoo},    {"yahoo.com", yahoo},
    {"aol.com", yahoo},           {"icloud.com", apple},       {"me.com", apple},          {"apple.com", apple},
    {"comcast.net", comcast},     {"t-online.de", tonline},    {"gmx.net", ionos},         {"web.de", ionos},
    {"kundenserver.de", ionos},   {"1and1.com", ionos},        {"orange.fr", orange},      {"wanadoo.fr", orange},
    {"sfr.fr", orange},           {"qq.com", tencent}};

struct Mark {
    std::string_view words;
    Provider provider;
};
constexpr Mark kMarks[] = {{" gsmtp ", google},
                           {"support google com", google},
                           {"prod outlook com", microsoft},
                           {"protection outlook com", microsoft},
                           {"postmaster live com", microsoft},
                           {"sender office com", microsoft},
                           {"resolver adr", microsoft},
                           {"postmaster yahooinc com", yahoo},
                           {"postmaster verizonmedia com", yahoo},
                           {"postmaster yahoo com", yahoo},
                           {"support apple com", apple},
                           {"postmaster comcast net", comcast},
                           {"t online de", tonline},
                           {"postmaster gmx", ionos},
                           {"service mail qq com", tencent}};

constexpr ReplyRule kRules[] = {
    // Google. Its codes 5.7.24 to 5.7.40 mean other things than the registry says.
    {"google-user-rate", throttled, 4, "x.2.1", "user you are|receiving mail", {}, google, false, Pace::recipient},
    {"google-relay-rate", throttled, 4, "x.2.1", {}, {}, google},
    {"google-rate", throttled, 0, "x.7.28", {}, {}, google, false, Pace::group, true},
    {"google-ptr", ip_blocked, 0, "x.7.23 x.7.25", {}, {}, google},
    {"google-spf-record", sender_auth, 0, "x.7.24", {}, {}, google},
    {"google-auth", sender_auth, 0, "x.7.26 x.7.27 x.7.30 x.7.31 x.7.32 x.7.40", {}, {}, google},
    {"google-tls", tls, 0, "x.7.29", {}, {}, google, false, Pace::usual, true},
    {"google-daily-limit", throttled, 0, "x.4.5", {}, {}, google},
    {"google-ipv6", ip_blocked, 0, "x.7.1 x.7.0", "ipv6 sending guidelines|ptr records", {}, google},
    {"google-ip-rate", throttled, 4, "x.7.0", "unusual rate|rate limited|try again later|unsolicited mail", {}, google},
    {"google-ip",
     ip_blocked,
     0,
     "x.7.1 x.7.0",
     "unusual rate|reputation of the sending ip|sending ip|not in whitelist",
     {},
     google},
    {"google-format",
     content,
     0,
     "x.7.1 x.6.0",
     "rfc 5322|rfc 2822|multiple addresses in from|duplicate*|missing a valid|not rfc",
     {},
     google},
    {"google-domain",
     content,
     0,
     "x.7.1 x.7.0",
     "reputation of the sending domain|likely unsolicited|suspicious|spam",
     {},
     google},
    {"google-destinations", envelope_split, 4, "x.3.0", "multiple destination domains", {}, google, true},

    {"google-groups", recipient_policy, 5, {}, "groups google com support"},
    {"google-send-as", sender_fault, 5, {}, "send mail as"},

    // Microsoft: Outlook.com speaks in tags, Exchange Online in codes of its own.
    {"microsoft-list", ip_blocked, 0, {}, "s3150|s3140|s3115|on our block list"},
    {"microsoft-rate", throttled, 0, "x.7.650 x.7.651 x.7.652 x.7.500 x.7.508 x.7.705 x.2.122 x.2.121 x.1.90"},
    {"microsoft-few", throttled, 4, {}, "rp 001|rp 002|rp 003", {}, any, false, Pace::few},
    {"microsoft-rate-tag", throttled, 0, {}, "rp 001|rp 002|rp 003|s3113|s3114|s775|s77714"},
    {"microsoft-busy", throttled, 4, "x.3.2", {}, {}, microsoft},
    {"microsoft-content-tag", content, 0, {}, "sc 001|sc 002", {}, any, false, Pace::usual, true},
    {"microsoft-ip-tag", ip_blocked, 0, {}, "sc 003|sc 004|dy 001|dy 002|ou 001|ou 002"},
    {"microsoft-ip", ip_blocked, 0, "x.7.511 x.7.708"},
    {"microsoft-banned", ip_blocked, 0, {}, "banned sending ip|banned sender ip"},
    {"microsoft-banned-code", ip_blocked, 5,
     "x.7.606 x.7.607 x.7.608 x.7.609 x.7.610 x.7.611 x.7.612 x.7.613 x.7.614 x.7.615 x.7.616 x.7.617 x.7.618 x.7.619 "
     "x.7.620 x.7.621 x.7.622 x.7.623 x.7.624 x.7.625 x.7.626 x.7.627 x.7.628 x.7.629 x.7.630 x.7.631 x.7.632 x.7.633 "
     "x.7.634 x.7.635 x.7.636 x.7.637 x.7.638 x.7.639 x.7.640 x.7.641 x.7.642 x.7.643 x.7.644 x.7.645 x.7.646 x.7.647 "
     "x.7.648 x.7.649"},
    {"microsoft-auth", sender_auth, 0, "x.7.509 x.7.515 x.7.750 x.7.57 x.7.60 x.7.64 x.2.252 x.7.501 x.7.502 x.7.503"},
    {"microsoft-format", content, 0, "x.7.512 x.6.11"},
    {"microsoft-closed-group", recipient_policy, 0,
     "x.7.12 x.7.124 x.7.129 x.7.133 x.7.134 x.7.136 x.7.193 x.7.513 x.7.520"},
    {"microsoft-tls", tls, 0, "x.7.321 x.7.322 x.7.323 x.7.324 x.7.325 x.4.317"},
    {"microsoft-dns", dns, 0, "x.4.312 x.4.310"},
    {"microsoft-network", network, 0, "x.4.316"},
    {"microsoft-loop", loop, 0, "x.4.14 x.2.14"},
    {"microsoft-bad-sender", sender_fault, 5, "x.1.8", "bad outbound sender"},
    {"microsoft-unknown", recipient_unknown, 5, "x.4.1", {}, {}, microsoft},
    {"microsoft-not-found", recipient_unknown, 5, "x.1.10", {}, {}, microsoft},
    {"microsoft-not-found", recipient_unknown, 5, {}, "recipnotfound|recipientnotfound|resolver adr exrecipnotfound"},
    {"microsoft-not-found", recipient_unknown, 5, "x.1.351"},
    {"microsoft-size", too_big, 0, {}, "recipsizelimit|sendersizelimit"},
    {"microsoft-restricted", recipient_policy, 0, {}, "resolver rst*"},

    // Yahoo, AOL: tags in brackets.
    {"yahoo-rate", throttled, 4, {}, "ts01|ts02|ts03|ts04|tss01|tss02|tss03|tss04|gl01", {}, any, false, Pace::group},
    {"yahoo-list", ip_blocked, 0, {}, "bl21|bl22|bl23|tss05|tss07|tss09|tss11|ts05|ts07|ts09|ts11|vs1 ip|vs99"},
    {"yahoo-content", content, 0, {}, "ph01|cp01"},
    {"yahoo-disabled", recipient_disabled, 5, {}, "delivery error dd", "disabled|discontinued|not active"},
    {"yahoo-unknown", recipient_unknown, 5, {}, "delivery error dd"},
    {"yahoo-policy", policy, 5, "x.7.9 x.7.1 x.7.0 x.7.2 none", {}, {}, yahoo, false, Pace::usual, true},
    {"yahoo-delay", throttled, 4, "x.7.0 x.7.1 none", {}, {}, yahoo},

    // Apple: [HM08], [CS01] and the like; their postmaster asks for the tag.
    {"apple-content", content, 5, {}, "cs01|cs02|cs03|cs04", {}, apple},
    {"apple-policy", policy, 5, {}, "hm01|hm02|hm03|hm04|hm05|hm06|hm07|hm08|hm09", {}, apple},
    {"apple-busy", throttled, 0, {}, "not accepting connections", {}, apple, true},
    {"apple-delay", throttled, 4, "x.7.0 x.7.1 none", {}, {}, apple},

    // Comcast, Cox, Spectrum
    {"comcast-list", ip_blocked, 0, {}, "bl0000*"},
    {"comcast-ptr", ip_blocked, 0, {}, "pt0000*"},
    {"comcast-rate", throttled, 0, {}, "rl0000*", {}, any, true},
    {"cox-list", ip_blocked, 0, {}, "aup cdrbl|aup i 10*|aup out 10*|aup bl|aup 1260|aup pol"},
    {"cox-rate", throttled, 0, {}, "aup in 13*|aup cxcncr|aup cxconn|aup cxmxrt|aup cxthrt", {}, any, true},

    // Deutsche Telekom refuses whom it does not know, in the banner.
    {"tonline-unknown-address", ip_blocked, 0, {}, "nowl|none bad reputation", {}},
    {"tonline-banner", ip_blocked, 554, {}, "ip", {}, tonline},

    // GMX, WEB.DE, IONOS: all begin with "Nemesis ESMTP Service not available"; the last line tells why.
    {"ionos-rate", throttled, 4, {}, "rate limit|too many connections", {}, ionos},
    {"ionos-address",
     ip_blocked,
     0,
     {},
     "bad dns ptr resource record|ip address is black listed|no smtp service|nemesis esmtp service not available",
     {},
     ionos},
    {"ionos-policy", policy, 5, {}, "policy restrictions|transaction failed", {}, ionos},

    // Orange, SFR and others of the same software: OFR_416, LPN007_416
    {"orange-unknown", recipient_unknown, 5, {}, "ofr 416|lpn007 416|ofr004 416|ofr005 416|ofr006 416"},
    {"orange-disabled", recipient_disabled, 5, {}, "ofr 426|lpn007 426|ofr006 426"},
    {"orange-content", content, 5, {}, "ofr 506|lpn004 506|lpn007 506|ofr 507|lpn007 510|ofr004 506"},
    {"orange-rate", throttled, 0, {}, "ofr 104|ofr004 104|ofr005 104|lpn105 104|lpn007 104", {}, any, true},
    {"orange-address", ip_blocked, 0, {}, "ofr 999|ofr006 999|lpn000 630|ofr 109"},

    // Tencent
    {"tencent-rate", throttled, 0, {}, "frequency limited", {}, any, true},
    {"tencent-content", content, 5, {}, "mail content denied"},

    // Filters in front of others: the page they name decides.
    {"proofpoint-address", ip_blocked, 0, {}, "ipcheck proofpoint com"},
    {"messagelabs-unknown", recipient_unknown, 542, {}, "rejected"},
    {"cloudmark-address", ip_blocked, 0, {}, "csi cloudmark com"},
    {"mimecast-network", ip_blocked, 0, {}, "host network not allowed"},
};

}  // namespace

Provider provider_of(std::string_view host, std::string_view words) {
    while (host.ends_with('.')) host.remove_suffix(1);
    for (const HostName& name : kHosts) {
        if (!ascii::ends_with_ci(host, name.suffix)) continue;
        const std::size_t before = host.size() - name.suffix.size();
        if (before == 0 || host[before - 1] == '.') return name.provider;
    }
    for (const Mark& mark : kMarks) {
        if (words.find(mark.words) != std::string_view::npos) return mark.provider;
    }
    return any;
}

std::span<const ReplyRule> provider_rules() { return kRules; }

}  // namespace posthouse::bounce
