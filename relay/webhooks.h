#pragma once
/// relay/webhooks: tells those who listen at a webhook (storage/webhooks) of events, over HTTPS, in the form of
/// Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature ("v1," and base64 of HMAC-SHA256 over
/// "id.timestamp.body"; after a change of the secret a second one with that before, a blank between).
///
///   a commit -> wake -> for each webhook a task: what comes next is fixed in the store -> POST
///   2xx             the cursor moves
///   anything else   again after 5 s, 10 s, ... an hour, and not before Retry-After; after webhook.give_up_hours, or at
///                   a 410, it is paused and the postmaster is told (an incident)
/// Invariants  1. At least once, the same id and body each time, a webhook's events in the order of the log.
///             2. Nothing here delays a commit: the log is read beside it.
///             3. Only public addresses are spoken to, and networks that webhook.allow_private names; redirects are not
///                followed, a body is not read (protocols/http).
/// Threads: the loop's.   Limits: kWebhooksMax tasks, kWebhookTimeMax a POST, kScanMax events a look.
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "protocols/net/loop.h"
#include "relay/core.h"
#include "storage/webhooks.h"

namespace posthouse::relay {

inline constexpr std::chrono::seconds kWebhookTimeMax{5};
inline constexpr std::size_t kScanMax = 5'000;
inline constexpr Milliseconds kRetryAfterMost{24 * 3'600'000LL};

/// An event, and the names that its numbers stand for.
struct TellableEvent {
    storage::Event event;
    std::string account;
};

/// "evt_12"; of several "evt_12_19".
std::string webhook_message_id(std::span<const TellableEvent> events);
/// JSON: one event, or where `as_array` says so an array of them.
std::string webhook_body(std::span<const TellableEvent> events, bool as_array);
/// How long an answer asks to wait: seconds or an HTTP-date (RFC 9110 10.2.3), at most kRetryAfterMost; 0 where it does
/// not, or not in a way that can be read.
Milliseconds retry_after(std::string_view field, Time now);
/// The value of webhook-signature.
std::string webhook_signature(std::string_view secret, std::string_view id, std::int64_t timestamp,
                              std::string_view body);
/// How long to wait after so many failures in a row.
Milliseconds webhook_wait(std::uint32_t failures);

class Webhooks {
 public:
    explicit Webhooks(Core& core);
    void start();
    /// After core.stopping was set.
    net::Task<void> join();
    /// Something was committed; `catalog`: it may be the webhooks themselves.
    void wake(bool catalog);
    /// Completes when every event that can be told now was told.
    net::Task<void> drained();

 private:
    struct Post;
    /// How far the log was looked at without finding anything for a webhook, as long as its cursor stands there.
    struct Scanned {
        std::int64_t cursor = 0;
        std::int64_t until = 0;
    };
    struct Picture;

    net::Task<void> run();
    net::Task<void> serve(storage::WebhookId id);
    net::Task<Result<Post>> load(storage::WebhookId id);
    net::Task<bool> tell(Post post);
    /// What the other side answered.
    struct Answer {
        int status = 0;
        Milliseconds wait{0};  ///< that it asked for (Retry-After)
        explicit Answer(int code = 0) : status(code) {}
    };
    net::Task<Result<Answer>> send(Post post);
    net::Task<bool> conclude(Post post, Result<Answer> answer);
    /// Waits until `next`, a wake, or the stop.
    net::Task<void> rest(Time next);
    net::Task<Result<net::TlsClientContext*>> context_for(std::string ca_file);

    Core& core_;
    net::TaskGroup tasks_;
    net::Event wake_;
    net::Event quiet_;
    std::set<storage::WebhookId> busy_;
    std::map<storage::WebhookId, Scanned> scanned_;
    std::map<std::string, std::unique_ptr<net::TlsClientContext>> contexts_;
    bool any_ = true;  ///< as far as is known there is a webhook
    Metrics::Value& told_;
    Metrics::Value& failures_;
    Metrics::Value& given_up_;
};

}  // namespace posthouse::relay
