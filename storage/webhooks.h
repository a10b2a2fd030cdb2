#pragma once
/// storage/webhooks: who is told of events over HTTPS, and how far each has been told.
///
///   events by id ... cursor | what the POST under way holds | until ... the rest
///   a POST is tried until it is taken: at least once, the same each time; one of several events is fixed (until)
///   before it is sent first
/// Invariants  1. The cursor only moves over events that were taken, or that the webhook does not want.
///             2. Whoever sets the cursor back (replay) or ends the webhook wins over a POST under way.
///             3. Secrets are kept sealed (crypto::seal, purpose "webhook").
/// Threads: as Tx and Snapshot.   Limits: kWebhooksMax, kWebhookBatchMax.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/events.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::size_t kWebhooksMax = 50;
inline constexpr std::uint32_t kWebhookBatchMax = 100;
inline constexpr std::int64_t kBehindMax = 100'000;
inline constexpr std::string_view kWebhookPurpose = "webhook";
inline constexpr std::chrono::hours kOldSecretMost{30 * 24};

enum class WebhookId : std::int64_t {};
enum class WebhookState : std::uint8_t { active, paused, given_up };
std::string_view to_string(WebhookState state);

struct Webhook {
    WebhookId id{};
    std::string name;
    std::string url;
    std::string sealed_secret;
    std::string kinds;   ///< as webhook_kind() names them, blanks between; "" all
    std::string domain;  ///< "" all
    std::string who;     ///< as EventFacts::who; "" all
    std::uint32_t batch = 1;
    std::string ca_file;  ///< PEM trust anchors; "": the system's
    WebhookState state = WebhookState::active;
    std::int64_t cursor = 0;
    std::int64_t until = 0;  ///< 0: no POST is fixed
    std::uint32_t tries = 0;
    Time next{};
    Time failing_since{};  ///< none: it is not failing
    std::uint64_t told = 0;
    Time last{};
    std::string last_answer;
    Time created{};
    std::string sealed_old;  ///< the secret before, which signs too until `old_until`; "" none
    Time old_until{};
    Webhook() = default;
};

/// How webhooks call the kind: "accepted", "delivered", "deferred", ...; "" for kinds that they are not told of.
std::string_view webhook_kind(EventKind kind);
inline constexpr std::string_view kWebhookKinds =
    "accepted delivered deferred bounced complained suppressed held released cancelled stopped resumed";
/// "delivered,bounced" or with blanks: as it is kept; "all" is "". Errc::invalid names what there is.
Result<std::string> read_webhook_kinds(std::string_view text);
/// Whether it wants to hear of it.
bool wants(const Webhook& hook, const Event& event);
/// "evt_12", and the number in it or in "12"; 0 where it is none.
std::string format_event_id(std::int64_t id);
std::int64_t parse_event_id(std::string_view text);

class WebhookView {
 public:
    explicit WebhookView(const Snapshot& snapshot);
    explicit WebhookView(Tx& tx);
    Result<std::vector<Webhook>> all() const;
    Result<Webhook> by_name(std::string_view name) const;
    Result<Webhook> by_id(WebhookId id) const;
    /// How far the log is ahead of it, in events of any kind; no more than kBehindMax are counted.
    Result<std::int64_t> behind(const Webhook& hook) const;
    /// The id of the first event at `moment` or after it; one more than the last where there is none.
    Result<std::int64_t> first_at(Time moment) const;
    /// As EventFacts::who. Errc::not_found with the sentence to show.
    Result<std::string> who_of(std::string_view account) const;
    /// "alice@example.org"; "" for nobody.
    Result<std::string> name_of(std::string_view who) const;

 protected:
    Connection& db_;
};

class WebhookTx final : public WebhookView {
 public:
    explicit WebhookTx(Tx& tx);
    /// Begins with the events to come. Errc::already_exists, too_large.
    Result<WebhookId> add(const Webhook& hook);
    /// What is told to whom, from the next POST on: URL, kinds, domain, who, batch, ca_file. A POST that was fixed is
    /// made up anew; a URL that has changed is tried at once. Errc::not_found, invalid.
    Result<> set(const Webhook& hook);
    /// Signs with this one, and with the one before until then.
    Result<> set_secret(std::string_view name, std::string_view sealed, Time old_until);
    Result<> remove(std::string_view name);
    Result<> pause(std::string_view name);
    /// Also after it was given up: its incident is over.
    Result<> resume(std::string_view name);
    /// From that event on once more, in the same order. Errc::invalid for what lies ahead of the log.
    Result<> replay(std::string_view name, std::int64_t from);
    /// An event for it alone; gives back its id.
    Result<std::int64_t> ping(std::string_view name);

    // ---- for who tells them; false where it was changed meanwhile, and nothing was written
    /// The POST under way goes so far; what lies before `from` it does not want.
    Result<bool> fix(const Webhook& hook, std::int64_t from, std::int64_t until);
    /// The cursor goes to `until`.
    Result<bool> took(const Webhook& hook, std::int64_t until, std::uint64_t events, std::string_view answer);
    Result<bool> failed(const Webhook& hook, Time next, std::string_view answer);
    Result<bool> give_up(const Webhook& hook, std::string_view answer);

 private:
    Tx& tx_;
};

}  // namespace posthouse::storage
