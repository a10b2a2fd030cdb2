#include "admin/hooks/hooks.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "admin/undelete/moment.h"
#include "protocols/base/ascii.h"
#include "protocols/base/random.h"
#include "protocols/crypto/crypto.h"
#include "protocols/http/head.h"
#include "protocols/net/network.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

constexpr std::size_t kNameOctetsMax = 64;
constexpr std::size_t kUrlOctetsMax = 2'000;
constexpr std::size_t kSecretOctets = 32;

bool is_name(std::string_view name) {
    return !name.empty() && name.size() <= kNameOctetsMax &&
           std::ranges::all_of(name, [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool any_holds(std::string_view networks, const net::IpAddress& address) {
    while (!networks.empty()) {
        const std::size_t end = std::min(networks.find_first_of(" ,"), networks.size());
        if (net::network_holds(networks.substr(0, end), address)) return true;
        networks.remove_prefix(std::min(end + 1, networks.size()));
    }
    return false;
}

// What of it can be known without asking the DNS; the rest is looked at with each POST.
Result<> check_url(const std::string& url, const std::string& networks) {
    if (url.size() > kUrlOctetsMax) return Error(Errc::invalid, "the URL is too long");
    const auto from = networks.empty() ? http::UrlFrom::stranger : http::UrlFrom::house;
    const auto request = http::request_for(url, from);
    if (!request) {
        return Error(Errc::invalid, fmt::format("{} is of no use: {}; write https://hooks.example.net/path{}", url,
                                                request.error().context,
                                                networks.empty() ? ", or name a network of your own in the setting "
                                                                   "webhook.allow_private"
                                                                 : ""));
    }
    if (request->address && !request->address->is_public() && !any_holds(networks, *request->address)) {
        return Error(Errc::invalid,
                     fmt::format("{} is not a public address, and webhook.allow_private does not name its "
                                 "network",
                                 request->host));
    }
    return {};
}

Result<std::uint32_t> read_batch(std::string_view text) {
    const auto number = ascii::parse_number(text);
    if (!number || *number == 0 || *number > storage::kWebhookBatchMax) {
        return Error(Errc::invalid,
                     fmt::format("a POST holds 1 to {} events, not \"{}\"", storage::kWebhookBatchMax, text));
    }
    return static_cast<std::uint32_t>(*number);
}

Result<> check_ca_file(const std::string& path) {
    if (path.empty() || std::ifstream(path)) return {};
    return Error(Errc::invalid, fmt::format("the file {} cannot be read", path));
}

Result<> check_url_in(storage::Tx& tx, const std::string& url) {
    TRY(const std::string networks, storage::setting_text(tx.catalog(), "webhook.allow_private"));
    return check_url(url, networks);
}

std::string make_secret() {
    std::string secret(kSecretOctets, '\0');
    system_random().fill({reinterpret_cast<unsigned char*>(secret.data()), secret.size()});
    return secret;
}

std::string shown(const std::string& secret) { return "whsec_" + crypto::base64_encode(secret); }

std::string_view unless_all(std::string_view word) { return word == "all" ? std::string_view() : word; }

}  // namespace

Result<std::string> add_webhook(storage::Store& store, const WebhookWish& wish) {
    storage::Webhook hook;
    if (!is_name(wish.name)) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no name for a webhook: letters, digits, - _ and . are taken, {} "
                                 "at most",
                                 wish.name, kNameOctetsMax));
    }
    hook.name = wish.name;
    hook.url = wish.url;
    hook.domain = ascii::to_lower(wish.domain);
    hook.ca_file = wish.ca_file;
    TRY(hook.kinds, storage::read_webhook_kinds(wish.kinds));
    if (!wish.batch.empty()) {
        TRY(hook.batch, read_batch(wish.batch));
    }
    TRY_VOID(check_ca_file(hook.ca_file));
    const std::string secret = make_secret();
    hook.sealed_secret = crypto::seal(store.sealing_key(), storage::kWebhookPurpose, secret);
    TRY_VOID(store.write({}, [&](storage::Tx& tx) -> Result<> {
        TRY_VOID(check_url_in(tx, hook.url));
        storage::WebhookTx webhooks(tx);
        if (!wish.account.empty()) {
            TRY(hook.who, webhooks.who_of(wish.account));
        }
        TRY_VOID(webhooks.add(hook));
        return {};
    }));
    return shown(secret);
}

Result<> edit_webhook(storage::Store& store, std::string_view name, const WebhookEdit& edit) {
    if (edit.ca_file) TRY_VOID(check_ca_file(*edit.ca_file));
    return store.write({}, [&](storage::Tx& tx) -> Result<> {
        storage::WebhookTx webhooks(tx);
        TRY(storage::Webhook hook, webhooks.by_name(name));
        if (edit.url) {
            TRY_VOID(check_url_in(tx, *edit.url));
            hook.url = *edit.url;
        }
        if (edit.kinds) {
            TRY(hook.kinds, storage::read_webhook_kinds(*edit.kinds));
        }
        if (edit.domain) hook.domain = ascii::to_lower(unless_all(*edit.domain));
        if (edit.account) {
            hook.who.clear();
            const std::string account(unless_all(*edit.account));
            if (!account.empty()) {
                TRY(hook.who, webhooks.who_of(account));
            }
        }
        if (edit.batch) {
            TRY(hook.batch, read_batch(*edit.batch));
        }
        if (edit.ca_file) hook.ca_file = *edit.ca_file;
        return webhooks.set(hook);
    });
}

Result<std::string> renew_webhook_secret(storage::Store& store, std::string_view name, std::string_view old_hours) {
    constexpr std::uint64_t kUsual = 24;
    const auto hours = old_hours.empty() ? std::optional(kUsual) : ascii::parse_number(old_hours);
    if (!hours || *hours > static_cast<std::uint64_t>(storage::kOldSecretMost.count())) {
        return Error(Errc::invalid, fmt::format("the secret before signs for 0 to {} hours more, not \"{}\"",
                                                storage::kOldSecretMost.count(), old_hours));
    }
    const std::string secret = make_secret();
    const std::string sealed = crypto::seal(store.sealing_key(), storage::kWebhookPurpose, secret);
    TRY_VOID(store.write({}, [&](storage::Tx& tx) {
        const Time until = tx.now() + std::chrono::hours(static_cast<std::int64_t>(*hours));
        return storage::WebhookTx(tx).set_secret(name, sealed, until);
    }));
    return shown(secret);
}

Result<std::int64_t> replay_webhook(storage::Store& store, std::string_view name, const std::string& from, Time now) {
    return store.write_value({}, [&](storage::Tx& tx) -> Result<std::int64_t> {
        storage::WebhookTx webhooks(tx);
        std::int64_t first = storage::parse_event_id(from);
        if (first == 0) {
            const auto moment = parse_moment(from, now);
            if (!moment) {
                return Error(Errc::invalid,
                             fmt::format("\"{}\" is no event and no time; write evt_1200, 2026-11-20T08:00Z "
                                         "or 3h",
                                         from));
            }
            TRY(first, webhooks.first_at(*moment));
        }
        TRY_VOID(webhooks.replay(name, first));
        return first;
    });
}

std::string describe_webhook(const storage::Webhook& hook, std::int64_t behind) {
    if (hook.state == storage::WebhookState::given_up) {
        return fmt::format("given up: it took nothing since {}", format_rfc3339(hook.failing_since));
    }
    if (hook.state == storage::WebhookState::paused) return "paused by hand";
    if (hook.tries > 0) {
        return fmt::format("failing since {}, tried again at {}", format_rfc3339(hook.failing_since),
                           format_rfc3339(hook.next));
    }
    return behind == 0 ? "up to date" : "on its way";
}

}  // namespace posthouse::admin
