#pragma once
/// admin/hooks: webhooks as an administrator makes and moves them, for the command line and the HTTP API alike.
/// Threads: any that may wait for the store.
#include <optional>
#include <string>
#include <string_view>

#include "storage/store.h"
#include "storage/webhooks.h"

namespace posthouse::admin {

/// What somebody wrote; "" where nothing.
struct WebhookWish {
    std::string name;
    std::string url;
    std::string kinds;    ///< "delivered,bounced"; "" all
    std::string domain;   ///< only of this domain
    std::string account;  ///< only of this account or relay client
    std::string batch;    ///< events a POST; "" one
    std::string ca_file;  ///< PEM trust anchors
    WebhookWish() = default;
};

/// Makes it; gives back its secret, "whsec_" and base64, which is shown once and never again.
/// Errc::invalid and the store's own, with the sentence to show.
Result<std::string> add_webhook(storage::Store& store, const WebhookWish& wish);
/// What somebody wants changed; nothing: it stays. "" and "all" are all events, domains, accounts; "" the system's
/// anchors.
struct WebhookEdit {
    std::optional<std::string> url;
    std::optional<std::string> kinds;
    std::optional<std::string> domain;
    std::optional<std::string> account;
    std::optional<std::string> batch;
    std::optional<std::string> ca_file;
    WebhookEdit() = default;
};
Result<> edit_webhook(storage::Store& store, std::string_view name, const WebhookEdit& edit);
/// A new secret; the one before signs too for so many hours ("" is 24, at most 720). Gives it back as add_webhook()
/// does.
Result<std::string> renew_webhook_secret(storage::Store& store, std::string_view name, std::string_view old_hours);
/// `from`: "evt_12", "12", or a moment as parse_moment() reads it. Gives back the first event's id.
Result<std::int64_t> replay_webhook(storage::Store& store, std::string_view name, const std::string& from, Time now);
/// "retries at ...", "waits for events", "paused by hand": one phrase.
std::string describe_webhook(const storage::Webhook& hook, std::int64_t behind);

}  // namespace posthouse::admin
