#include "relay/webhooks.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "protocols/http/client.h"
#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::relay {

namespace {

using storage::Webhook;
using storage::WebhookId;

constexpr std::size_t kScanStep = 500;
constexpr std::size_t kScanLeast = 16;
// So many events that nobody wanted are noted in the store at once, not one by one.
constexpr std::int64_t kNoteScanned = 20'000;
constexpr Milliseconds kPause{20};  // many commits in a row are one look
constexpr Milliseconds kLookAtLeastEvery{30'000};

// "192.168.1.0/24 127.0.0.1"
std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find_first_of(" ,"), text.size());
        if (end > 0) out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

}  // namespace

/// What is to be sent to one webhook; without events there is nothing.
struct Webhooks::Post {
    Webhook hook;
    std::vector<TellableEvent> events;
    std::int64_t scanned = 0;  ///< the log was looked at up to here
    std::int64_t until = 0;    ///< the cursor goes here when it is taken
    bool ready = false;        ///< it is its turn, and something is there or must be noted
    std::vector<std::string> networks;
    std::chrono::hours give_up{72};
    std::string secret;
    std::string old_secret;  ///< "" none, or not any more
    Post() = default;
};

struct Webhooks::Picture {
    std::vector<Webhook> hooks;
    std::int64_t last = 0;
};

namespace {

Result<std::vector<storage::Event>> fixed_events(const storage::Snapshot& snapshot, const Webhook& hook) {
    std::vector<storage::Event> out;
    std::int64_t after = hook.cursor;
    while (after < hook.until) {
        TRY(const auto some, snapshot.events().behind(after, kScanStep));
        if (some.empty()) break;
        for (const storage::Event& event : some) {
            if (event.id <= hook.until && storage::wants(hook, event)) out.push_back(event);
        }
        after = some.back().id;
    }
    return out;
}

/// The next that it wants, as many as a POST holds; `scanned` is how far was looked.
Result<std::vector<storage::Event>> next_events(const storage::Snapshot& snapshot, const Webhook& hook,
                                                std::int64_t& scanned) {
    std::vector<storage::Event> out;
    // Little at first: where it wants most events, whatever is read beyond its batch is read again for the next.
    std::size_t step = std::clamp<std::size_t>(hook.batch, kScanLeast, kScanStep);
    for (std::size_t looked = 0; looked < kScanMax;) {
        TRY(const auto some, snapshot.events().behind(scanned, step));
        for (const storage::Event& event : some) {
            scanned = event.id;
            if (!storage::wants(hook, event)) continue;
            out.push_back(event);
            if (out.size() == hook.batch) return out;
        }
        looked += some.size();
        if (some.size() < step) return out;
        step = std::min(step * 4, kScanStep);
    }
    return out;
}

}  // namespace

Webhooks::Webhooks(Core& core)
    : core_(core),
      tasks_(*core.deps.loop),
      wake_(*core.deps.loop),
      quiet_(*core.deps.loop),
      told_(core.deps.metrics->counter("webhook_events_total", "Events that webhooks took")),
      failures_(core.deps.metrics->counter("webhook_failures_total", "POSTs that webhooks did not take")),
      given_up_(core.deps.metrics->gauge("webhooks_given_up", "Webhooks that were paused because they take nothing")) {}

void Webhooks::start() { tasks_.spawn("relay.webhooks", run()); }

net::Task<void> Webhooks::join() {
    wake_.set();
    co_await tasks_.join();
}

void Webhooks::wake(bool catalog) {
    if (!any_ && !catalog) return;
    quiet_.reset();
    wake_.set();
}

net::Task<void> Webhooks::drained() { co_await quiet_.wait(); }

net::Task<void> Webhooks::run() {
    while (!core_.stopping.is_set()) {
        wake_.reset();
        auto read = [](const storage::Snapshot& snapshot) -> Result<Picture> {
            Picture out;
            TRY(out.hooks, storage::WebhookView(snapshot).all());
            if (!out.hooks.empty()) {
                TRY(out.last, snapshot.events().last_id());
            }
            return out;
        };
        const auto found =
            co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
        const Time now = core_.now();
        Time next = now + kLookAtLeastEvery;
        if (found) {
            any_ = !found->hooks.empty();
            std::int64_t given_up = 0;
            for (const Webhook& hook : found->hooks) {
                given_up += hook.state == storage::WebhookState::given_up ? 1 : 0;
                if (hook.state != storage::WebhookState::active || busy_.contains(hook.id)) continue;
                const Scanned& known = scanned_[hook.id];
                const std::int64_t seen = known.cursor == hook.cursor ? known.until : hook.cursor;
                if (hook.until == 0 && std::max(seen, hook.cursor) >= found->last) continue;
                if (hook.next > now) {
                    next = std::min(next, hook.next);
                    continue;
                }
                busy_.insert(hook.id);
                tasks_.spawn("relay.webhook", serve(hook.id));
            }
            given_up_.set(given_up);
        }
        if (busy_.empty() && !wake_.is_set()) quiet_.set();
        co_await rest(next);
    }
    quiet_.set();
}

net::Task<void> Webhooks::rest(Time next) {
    static_cast<void>(co_await net::sleep_for(*core_.deps.loop, kPause, &core_.stopping));
    if (core_.stopping.is_set()) co_return;
    const auto span = std::clamp<Milliseconds>(next - core_.now(), Milliseconds(1), kLookAtLeastEvery);
    static_cast<void>(co_await wake_.wait_for(span));
}

net::Task<void> Webhooks::serve(WebhookId id) {
    while (!core_.stopping.is_set()) {
        auto post = co_await load(id);
        if (!post && post.error().code != Errc::not_found) {
            static_cast<void>(co_await net::sleep_for(*core_.deps.loop, kLookAtLeastEvery, &core_.stopping));
        }
        if (!post || !post->ready) break;
        if (!co_await tell(*std::move(post))) break;
    }
    busy_.erase(id);
    wake_.set();
}

net::Task<Result<Webhooks::Post>> Webhooks::load(WebhookId id) {
    const Scanned known = scanned_[id];
    auto read = [id, known, now = core_.now(),
                 key = core_.deps.store->sealing_key()](const storage::Snapshot& snapshot) -> Result<Post> {
        Post out;
        const storage::WebhookView view(snapshot);
        TRY(out.hook, view.by_id(id));
        if (out.hook.state != storage::WebhookState::active || out.hook.next > now) return out;
        TRY(const std::string networks, storage::setting_text(snapshot.catalog(), "webhook.allow_private"));
        out.networks = words_of(networks);
        TRY(const std::int64_t hours, storage::setting_number(snapshot.catalog(), "webhook.give_up_hours"));
        out.give_up = std::chrono::hours(hours);
        TRY(out.secret, crypto::unseal(key, storage::kWebhookPurpose, out.hook.sealed_secret));
        if (!out.hook.sealed_old.empty() && out.hook.old_until > now) {
            TRY(out.old_secret, crypto::unseal(key, storage::kWebhookPurpose, out.hook.sealed_old));
        }
        std::vector<storage::Event> events;
        out.scanned = known.cursor == out.hook.cursor ? std::max(known.until, out.hook.cursor) : out.hook.cursor;
        if (out.hook.until != 0) {
            TRY(events, fixed_events(snapshot, out.hook));
        } else {
            TRY(events, next_events(snapshot, out.hook, out.scanned));
        }
        for (storage::Event& event : events) {
            TellableEvent one;
            TRY(one.account, view.name_of(event.facts.who));
            one.event = std::move(event);
            out.events.push_back(std::move(one));
        }
        out.ready = out.hook.until != 0 || !out.events.empty() || out.scanned - out.hook.cursor > kNoteScanned;
        return out;
    };
    auto post = co_await storage::read(*core_.deps.store, *core_.deps.pool, *core_.deps.loop, std::move(read));
    if (!post) {
        if (post.error().code != Errc::not_found) log::error("webhook", "it cannot be told: {}", post.error().context);
        co_return post;
    }
    if (!post->ready) scanned_[id] = Scanned{post->hook.cursor, post->scanned};
    co_return post;
}

// True where there may be more at once.
net::Task<bool> Webhooks::tell(Post post) {
    post.until = post.hook.until != 0 ? post.hook.until : post.events.empty() ? 0 : post.events.back().event.id;
    // Several are fixed before they are sent: whatever happens, the same again. One alone is the same anyhow.
    if (post.hook.until == 0 && (post.hook.batch > 1 || post.events.empty())) {
        const std::int64_t from = post.events.empty() ? post.scanned : post.events.front().event.id - 1;
        const std::int64_t until = post.until;
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto fix = [hook = post.hook, from, until](storage::Tx& tx) {
            return storage::WebhookTx(tx).fix(hook, from, until);
        };
        const auto done =
            co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(fix));
        if (!done) {
            log::error("webhook", "{} cannot be told: {}", post.hook.name, done.error().context);
            static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
            co_return false;
        }
        if (!*done || post.events.empty()) co_return true;  // changed meanwhile, or only noted
        post.hook.cursor = from;
        post.hook.until = until;
    }
    Result<Answer> answer = Answer(200);  // what was fixed is not there any more
    if (!post.events.empty()) answer = co_await send(post);
    if (!answer && core_.stopping.is_set()) co_return false;
    co_return co_await conclude(std::move(post), std::move(answer));
}

net::Task<Result<Webhooks::Answer>> Webhooks::send(Post post) {
    http::Deps deps;
    deps.resolver = core_.deps.resolver;
    deps.dialer = core_.deps.dialer;
    deps.open = &core_.https_open;
    deps.allowed_networks = post.networks;
    const auto from = post.networks.empty() ? http::UrlFrom::stranger : http::UrlFrom::house;
    CO_TRY(http::Request request, http::request_for(post.hook.url, from));
    if (!request.plain) {
        CO_TRY(deps.tls, co_await context_for(post.hook.ca_file));
    }
    const std::string id = webhook_message_id(post.events);
    const std::int64_t timestamp = to_unix_ms(core_.now()) / 1000;
    request.method = "POST";
    request.body = webhook_body(post.events, post.hook.batch > 1);
    request.fields.emplace_back("Content-Type", "application/json");
    request.fields.emplace_back("webhook-id", id);
    request.fields.emplace_back("webhook-timestamp", fmt::format("{}", timestamp));
    std::string signature = webhook_signature(post.secret, id, timestamp, request.body);
    if (!post.old_secret.empty()) signature += " " + webhook_signature(post.old_secret, id, timestamp, request.body);
    request.fields.emplace_back("webhook-signature", std::move(signature));
    http::Limits limits;
    limits.time_max = kWebhookTimeMax;
    limits.wants_body = false;
    const auto response = co_await http::exchange(std::move(deps), std::move(request), limits);
    if (!response) co_return Error(response.error());
    Answer out(response->status);
    out.wait = retry_after(response->field("Retry-After"), core_.now());
    co_return out;
}

net::Task<bool> Webhooks::conclude(Post post, Result<Answer> answer) {
    const int status = answer ? answer->status : 0;
    const bool taken = status >= 200 && status < 300;
    const std::string said = answer ? fmt::format("{}", status) : answer.error().context;
    const Time now = core_.now();
    const Webhook& hook = post.hook;
    const bool too_long = hook.failing_since != Time{} && now - hook.failing_since >= Milliseconds(post.give_up) &&
                          now >= core_.deps.options.give_up_from;
    const bool over = !taken && (too_long || status == 410);  // RFC 9110 15.5.11: gone, for good
    const Milliseconds wait = std::max(webhook_wait(hook.tries), answer ? answer->wait : Milliseconds(0));
    // Whoever fell over is not met by all of us at once.
    const auto jitter = Milliseconds(static_cast<std::int64_t>(
        core_.deps.random->below(static_cast<std::uint32_t>(std::max<std::int64_t>(wait.count() / 5, 1)))));
    const std::uint64_t count = post.events.size();
    auto write = [hook, taken, over, said, count, until = post.until,
                  next = now + wait + jitter](storage::Tx& tx) -> Result<bool> {
        storage::WebhookTx webhooks(tx);
        if (taken) return webhooks.took(hook, until, count, said);
        if (over) return webhooks.give_up(hook, said);
        return webhooks.failed(hook, next, said);
    };
    for (;;) {
        std::vector<storage::StagedBodyPtr> no_bodies;
        auto again = write;
        const auto done =
            co_await storage::commit(*core_.deps.store, *core_.deps.loop, std::move(no_bodies), std::move(again));
        if (done || core_.stopping.is_set()) break;
        log::error("webhook", "what {} answered cannot be recorded: {}", hook.name, done.error().context);
        static_cast<void>(co_await net::sleep_for(*core_.deps.loop, Milliseconds(1'000), &core_.stopping));
    }
    if (taken) {
        told_.add(static_cast<std::int64_t>(count));
        co_return true;
    }
    failures_.add();
    log::warn("webhook", "{} did not take {}: {}{}", hook.name, webhook_message_id(post.events), said,
              over ? "; it is paused" : "");
    co_return false;
}

// The file is read on the pool: it may lie on a disk that is slow just now.
net::Task<Result<net::TlsClientContext*>> Webhooks::context_for(std::string ca_file) {
    if (ca_file.empty() && core_.deps.verified_tls != nullptr) co_return core_.deps.verified_tls;
    const auto known = contexts_.find(ca_file);
    if (known != contexts_.end()) co_return known->second.get();
    auto make = [ca_file]() { return net::TlsClientContext::make(net::Verify::required, ca_file); };
    CO_TRY(auto made, co_await net::offload(*core_.deps.pool, *core_.deps.loop, std::move(make)));
    // Another task may have been faster.
    co_return contexts_.try_emplace(ca_file, std::move(made)).first->second.get();
}

}  // namespace posthouse::relay
