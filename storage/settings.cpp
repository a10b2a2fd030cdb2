#include "storage/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "protocols/base/ascii.h"
#include "protocols/smtp/path.h"
#include "storage/lane_limits.h"

namespace posthouse::storage {
namespace {

using Kind = SettingRow::Kind;

constexpr SettingRow kRows[] = {
    {"alarm.address", Kind::address, "", 0, 0,
     "who gets mail when an incident begins and ends; empty: the postmaster of the first domain"},
    {"arc.trusted", Kind::text, "google.com microsoft.com messagingengine.com", 0, 0,
     "domains that are believed when their ARC seal says that DMARC passed on its way, divided by blanks; empty: none"},
    {"auth.scram", Kind::text, "auto", 0, 0,
     "offer SCRAM: on, off, or auto (once every account that may log in has keys for it)", "auto on off"},
    {"backup.directory", Kind::text, "", 0, 0, "where scheduled backups go; empty: none are made"},
    {"backup.every_hours", Kind::number, "24", 1, 24 * 31, "hours between two scheduled backups"},
    {"backup.keep_daily", Kind::number, "7", 0, 10000, "days whose newest scheduled backup stays"},
    {"backup.keep_monthly", Kind::number, "12", 0, 10000, "months whose newest scheduled backup stays"},
    {"backup.keep_newest", Kind::number, "3", 0, 10000, "newest scheduled backups that stay; all four 0: all stay"},
    {"backup.keep_weekly", Kind::number, "5", 0, 10000, "weeks whose newest scheduled backup stays"},
    {"backup.key_file", Kind::text, "", 0, 0, "file with the key that encrypts scheduled backups; empty: in clear"},
    {"compact.dead_percent", Kind::number, "50", 10, 95, "a sealed segment is rewritten when this share of it is dead"},
    {"compact.octets_per_second", Kind::octets, "16777216", 65536, 1LL << 40, "how fast segments are rewritten"},
    {"dkim.retire_days", Kind::number, "14", 6, 365, "days that a key which no longer signs stays in the DNS"},
    {"dkim.rotate_days", Kind::number, "180", 0, 3650, "days after which the next signing key is made; 0: never"},
    {"dmarc.policy", Kind::text, "enforce", 0, 0,
     "mail from outside that fails DMARC: enforce refuses it (p=reject) or puts it into Junk (p=quarantine); junk puts "
     "both into Junk; report only writes the verdict into the header; off looks at nothing",
     "enforce junk report off"},
    {"dmarc.submission", Kind::text, "refuse", 0, 0,
     "refuse: mail that would fail DMARC at its receivers is not taken; warn: it is"},
    {"dnsbl.lists", Kind::text, "bl.spamcop.net rep.mailspike.net bl.blocklist.de bl.spameatingmonkey.net", 0, 0,
     "block lists that are asked every hour about our own addresses, blanks between; none: no list"},
    {"dnsbl.spamhaus_key", Kind::text, "", 0, 0,
     "the key of Spamhaus' Data Query Service, free for small senders; empty: Spamhaus is not asked"},
    {"events.days", Kind::number, "90", 0, 3650,
     "days that the life of a message is remembered; 0: for ever. What is in the queue is always"},
    {"guard.accounts", Kind::text, "on", 0, 0,
     "hold the mail of an account that suddenly sends as if it were stolen: on, off", "on off"},
    {"incident.hold_hours", Kind::number, "72", 1, 120,
     "hours that mail refused for a fault of ours is held before it is returned"},
    {"lane.limits", Kind::lane_limits, "", 0, 0,
     "bounds of single sites, \"google=5/50/0\": connections, messages on each, messages a minute; posthouse queue "
     "limit writes it"},
    {"oidc.audience", Kind::text, "", 0, 0, "what a token's aud must hold; empty: oidc.client_id, else any"},
    {"oidc.ca_file", Kind::text, "", 0, 0, "PEM trust anchors for the OpenID provider; empty: the system's"},
    {"oidc.claim", Kind::text, "email", 0, 0, "the claim of a token that names the account"},
    {"oidc.client_id", Kind::text, "", 0, 0, "who we are at the provider's introspection"},
    {"oidc.client_secret_file", Kind::text, "", 0, 0, "file with the secret that goes with it"},
    {"oidc.introspection_url", Kind::text, "", 0, 0, "where to ask about tokens (RFC 7662); empty: they are JWTs"},
    {"oidc.issuer", Kind::text, "", 0, 0, "URL of the OpenID provider whose tokens log in; empty: none do"},
    {"oidc.jwks_url", Kind::text, "", 0, 0, "where its keys are; empty: as the provider's own metadata says"},
    {"purge.messages_per_second", Kind::number, "1000", 1, 1000000, "how fast messages past undelete are dropped"},
    {"queue.bulk_hours", Kind::number, "24", 1, 120,
     "hours that mail to many is tried before it is returned; other mail is tried for five days"},
    {"report.days", Kind::number, "400", 1, 3650, "days that the figures of posthouse report are kept"},
    {"reports.mailboxes", Kind::text, "", 0, 0,
     "accounts that collect reports of others (complaints, bounces, DMARC, TLS), divided by blanks; empty: none"},
    {"return_path.tokens", Kind::text, "off", 0, 0,
     "reverse-paths that tell which message a late bounce is about: off, programs (for what programs send, and mail to "
     "many), all",
     "off programs all"},
    {"return_path.tokens_by_way", Kind::text, "", 0, 0,
     "the same for single ways, \"NAME=off NAME=programs NAME=all\"; posthouse way set NAME --tokens writes it"},
    {"search.generation", Kind::number, "0", 0, 1LL << 40, "any change of it has the search index built anew"},
    {"search.part_octets_max", Kind::octets, "2097152", 1024, 1LL << 30, "decoded text of a message that is indexed"},
    {"srs.domain", Kind::domain, "", 0, 0,
     "domain in the reverse-path of mail that is passed on for others; empty: the one of the alias that leads on"},
    {"submission.key_hours", Kind::number, "48", 24, 720,
     "hours that an idempotency key is remembered: a message with the same one is taken for the same message"},
    {"suppression.apply", Kind::text, "programs", 0, 0,
     "which mail is kept from suppressed addresses: programs (what programs send, and mail to many, but not a letter "
     "that a person writes), all, off",
     "programs all off"},
    {"tlsrpt.organization", Kind::text, "", 0, 0, "who we are in TLS reports to other domains; empty: the host name"},
    {"tlsrpt.send", Kind::number, "1", 0, 1, "whether other domains get the daily TLS reports they ask for"},
    {"undelete.days", Kind::number, "14", 0, 3650, "days that expunged mail and deleted mailboxes can be restored"},
    {"unsubscribe.url", Kind::text, "", 0, 0,
     "what unsubscribe addresses begin with, https://lists.example.org; empty: https:// and the name of this server"},
    {"way.check_hours", Kind::number, "24", 0, 720,
     "hours after which a smarthost that has carried nothing is tried without mail; 0: no way is ever tried so"},
    {"webhook.allow_private", Kind::text, "", 0, 0,
     "networks of the own house that webhooks may reach, also without TLS: \"192.168.1.0/24 127.0.0.1\"; empty: none"},
    {"webhook.give_up_hours", Kind::number, "72", 1, 24 * 30,
     "hours after which a webhook that takes nothing is paused, and the postmaster told"},
};

bool parse_number(std::string_view text, std::int64_t& out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failed == std::errc() && end == text.data() + text.size() && !text.empty();
}

// "a b c"
bool is_choice(std::string_view choices, std::string_view value) {
    while (!choices.empty()) {
        const std::size_t end = std::min(choices.find(' '), choices.size());
        if (choices.substr(0, end) == value) return true;
        choices.remove_prefix(std::min(end + 1, choices.size()));
    }
    return false;
}

// "512M" -> octets; K, M, G, T are powers of 1024.
bool parse_octets(std::string_view text, std::int64_t& out) {
    std::int64_t unit = 1;
    constexpr std::string_view kUnits = "KMGT";
    if (!text.empty()) {
        const auto at = kUnits.find(text.back());
        if (at != std::string_view::npos) {
            unit = std::int64_t{1} << (10 * (at + 1));
            text.remove_suffix(1);
        }
    }
    return parse_number(text, out) && !__builtin_mul_overflow(out, unit, &out);
}

}  // namespace

std::span<const SettingRow> setting_rows() { return kRows; }

const SettingRow* find_setting(std::string_view key) {
    const auto found = std::ranges::find(kRows, key, &SettingRow::key);
    return found == std::end(kRows) ? nullptr : &*found;
}

Result<std::string> check_setting(std::string_view key, std::string_view value) {
    const SettingRow* const row = find_setting(key);
    if (row == nullptr) {
        return Error(Errc::invalid, fmt::format("there is no setting {}; posthouse setting list shows them all", key));
    }
    if (!row->choices.empty() && !is_choice(row->choices, value)) {
        return Error(Errc::invalid, fmt::format("{} takes one of: {}; not \"{}\"", key, row->choices, value));
    }
    const auto takes = [&](std::string_view what) {
        return Error(Errc::invalid, fmt::format("{} takes {}, not \"{}\"", key, what, value));
    };
    if (row->kind == Kind::address && !value.empty() && !smtp::parse_mailbox(value)) {
        return takes("an address like \"alice@example.org\"");
    }
    // It goes into addresses that every host must understand, and is compared as text.
    if (row->kind == Kind::domain && !value.empty() && (ascii::has_8bit(value) || !smtp::is_domain(value))) {
        return takes("a domain like \"example.org\" (in its xn-- form where it has other letters)");
    }
    if (row->kind == Kind::lane_limits && !is_lane_limits(value)) return takes("words like \"google=5/50/0\"");
    if (row->kind != Kind::number && row->kind != Kind::octets) return std::string(value);
    std::int64_t number = 0;
    const bool read = row->kind == Kind::octets ? parse_octets(value, number) : parse_number(value, number);
    if (!read || number < row->least || number > row->most) {
        return Error(Errc::invalid,
                     fmt::format("{} takes a number from {} to {}, not \"{}\"", key, row->least, row->most, value));
    }
    return fmt::format("{}", number);
}

Result<std::string> setting_text(const CatalogView& catalog, std::string_view key) {
    const SettingRow* const row = find_setting(key);
    if (row == nullptr) return Error(Errc::internal, fmt::format("the setting {} has no row", key));
    TRY(const auto value, catalog.setting(key));
    return value ? *value : std::string(row->default_value);
}

Result<std::int64_t> setting_number(const CatalogView& catalog, std::string_view key) {
    TRY(const std::string text, setting_text(catalog, key));
    std::int64_t number = 0;
    if (parse_number(text, number)) return number;
    return Error(Errc::corrupt, fmt::format("the setting {} is no number: set it again", key));
}

}  // namespace posthouse::storage
