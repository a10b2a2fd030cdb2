#include "storage/webhooks.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/context.h"
#include "storage/incidents.h"
#include "storage/who.h"

namespace posthouse::storage {
namespace {

#define WEBHOOK_COLUMNS                                                                                        \
    "id, name, url, sealed_secret, kinds, domain, who, batch, ca_file, state, cursor, until, tries, next_ms, " \
    "failing_ms, told, last_ms, last_answer, created_ms, sealed_old, old_until_ms"

constexpr std::size_t kAnswerOctetsMax = 300;

/// Scheme and host: the rest may hold a secret, and an incident is told by mail.
std::string place_of_url(std::string_view url) {
    const std::size_t scheme = std::min(url.find("://"), url.size());
    std::string_view host = url.substr(std::min(scheme + 3, url.size()));
    host = host.substr(0, host.find_first_of("/?#"));
    if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
    return fmt::format("{}://{}", url.substr(0, scheme), host);
}

Webhook webhook_of(const Query& row) {
    Webhook out;
    out.id = row.id<WebhookId>(0);
    out.name = row.text(1);
    out.url = row.text(2);
    out.sealed_secret = row.text(3);
    out.kinds = row.text(4);
    out.domain = row.text(5);
    out.who = row.text(6);
    out.batch = row.u32(7);
    out.ca_file = row.text(8);
    out.state = static_cast<WebhookState>(row.i64(9));
    out.cursor = row.i64(10);
    out.until = row.i64(11);
    out.tries = row.u32(12);
    out.next = row.time(13);
    out.failing_since = row.time(14);
    out.told = row.u64(15);
    out.last = row.time(16);
    out.last_answer = row.text(17);
    out.created = row.time(18);
    out.sealed_old = row.text(19);
    out.old_until = row.time(20);
    return out;
}

Error unknown(std::string_view name) {
    return Error(Errc::not_found, fmt::format("there is no webhook {}; posthouse webhook list shows them", name));
}

IncidentKey incident_key(const Webhook& hook) {
    IncidentKey key;
    key.kind = IncidentKind::webhook;
    key.domain = hook.name;
    return key;
}

Result<> check_batch(const Webhook& hook) {
    if (hook.batch > 0 && hook.batch <= kWebhookBatchMax) return {};
    return Error(Errc::invalid, fmt::format("a POST holds 1 to {} events", kWebhookBatchMax));
}

bool has_word(std::string_view list, std::string_view word) {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(' '), list.size());
        if (list.substr(0, end) == word) return true;
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return false;
}

}  // namespace

std::string_view to_string(WebhookState state) {
    switch (state) {
        case WebhookState::active: return "active";
        case WebhookState::paused: return "paused";
        case WebhookState::given_up: return "given up";
    }
    return "unknown";
}

std::string_view webhook_kind(EventKind kind) {
    switch (kind) {
        case EventKind::queued: return "accepted";
        case EventKind::attempted: return "deferred";
        case EventKind::delivered:
        case EventKind::bounced:
        case EventKind::complained:
        case EventKind::suppressed:
        case EventKind::held:
        case EventKind::released:
        case EventKind::cancelled:
        case EventKind::stopped:
        case EventKind::resumed:
        case EventKind::ping: return to_string(kind);
        default: return "";
    }
}

Result<std::string> read_webhook_kinds(std::string_view text) {
    std::string out;
    std::string_view rest = text == "all" ? "" : text;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find_first_of(", "), rest.size());
        const std::string_view word = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (word.empty() || has_word(out, word)) continue;
        if (!has_word(kWebhookKinds, word)) {
            return Error(Errc::invalid, fmt::format("\"{}\" is no kind of event; there are: {}", word, kWebhookKinds));
        }
        out.append(out.empty() ? "" : " ").append(word);
    }
    return out;
}

bool wants(const Webhook& hook, const Event& event) {
    const std::string_view kind = webhook_kind(event.kind);
    if (kind.empty()) return false;
    if (event.kind == EventKind::ping) return event.detail == hook.name;
    if (!hook.kinds.empty() && !has_word(hook.kinds, kind)) return false;
    if (!hook.domain.empty() && hook.domain != event.facts.domain) return false;
    return hook.who.empty() || hook.who == event.facts.who;
}

std::string format_event_id(std::int64_t id) { return fmt::format("evt_{}", id); }

std::int64_t parse_event_id(std::string_view text) {
    if (text.starts_with("evt_")) text.remove_prefix(4);
    constexpr std::uint64_t kMost = ~std::uint64_t{0} >> 1U;
    const auto number = ascii::parse_number(text);
    return number && *number <= kMost ? static_cast<std::int64_t>(*number) : 0;
}

// ---- reading

WebhookView::WebhookView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
WebhookView::WebhookView(Tx& tx) : db_(context_of(tx).db) {}

Result<std::vector<Webhook>> WebhookView::all() const {
    Query q = db_.query("SELECT " WEBHOOK_COLUMNS " FROM webhooks ORDER BY name");
    std::vector<Webhook> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(webhook_of(q));
    }
}

Result<Webhook> WebhookView::by_name(std::string_view name) const {
    Query q = db_.query("SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE name = ?1");
    TRY(const bool found, q.bind(name).row());
    if (!found) return unknown(name);
    return webhook_of(q);
}

Result<Webhook> WebhookView::by_id(WebhookId id) const {
    Query q = db_.query("SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) return Error(Errc::not_found, "the webhook is gone");
    return webhook_of(q);
}

Result<std::int64_t> WebhookView::behind(const Webhook& hook) const {
    Query q = db_.query("SELECT count(*) FROM (SELECT 1 FROM events INDEXED BY events_by_id WHERE id > ?1 LIMIT ?2)");
    TRY_VOID(q.bind(hook.cursor, kBehindMax).row());
    return q.i64(0);
}

// Times grow with the ids: halved until it is found.
Result<std::int64_t> WebhookView::first_at(Time moment) const {
    TRY(std::int64_t low, db_.value("SELECT coalesce(min(id), 1) FROM events"));
    TRY(const std::int64_t last, db_.value("SELECT value FROM counters WHERE name = 'event'"));
    std::int64_t high = last + 1;
    while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        // Ids of what was forgotten are missing: the next one stands for them.
        Query q = db_.query("SELECT id, at_ms FROM events INDEXED BY events_by_id WHERE id >= ?1 ORDER BY id LIMIT 1");
        TRY(const bool found, q.bind(middle).row());
        if (!found || q.time(1) >= moment) {
            high = middle;
        } else {
            low = q.i64(0) + 1;
        }
    }
    return low;
}

Result<std::string> WebhookView::who_of(std::string_view account) const { return find_who(db_, account); }

Result<std::string> WebhookView::name_of(std::string_view who) const { return name_who(db_, who); }

// ---- writing

WebhookTx::WebhookTx(Tx& tx) : WebhookView(tx), tx_(tx) {}

Result<WebhookId> WebhookTx::add(const Webhook& hook) {
    TRY(const auto known, all());
    if (known.size() >= kWebhooksMax) {
        return Error(Errc::too_large, fmt::format("there are {} webhooks already, and no more fit", kWebhooksMax));
    }
    if (std::ranges::find(known, hook.name, &Webhook::name) != known.end()) {
        return Error(Errc::already_exists, fmt::format("there is a webhook {} already", hook.name));
    }
    TRY_VOID(check_batch(hook));
    TRY(const std::int64_t last, tx_.events().last_id());
    TRY_VOID(db_.query("INSERT INTO webhooks (name, url, sealed_secret, kinds, domain, who, batch, ca_file, cursor, "
                       "created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
                 .bind(hook.name, hook.url, Blob(hook.sealed_secret), hook.kinds, hook.domain, hook.who, hook.batch,
                       hook.ca_file, last, tx_.now())
                 .run());
    context_of(tx_).write->notice.catalog = true;
    return static_cast<WebhookId>(db_.last_id());
}

Result<> WebhookTx::set(const Webhook& hook) {
    TRY_VOID(check_batch(hook));
    TRY(const Webhook before, by_name(hook.name));
    context_of(tx_).write->notice.catalog = true;
    TRY_VOID(
        db_.query("UPDATE webhooks SET url = ?2, kinds = ?3, domain = ?4, who = ?5, batch = ?6, ca_file = ?7, until "
                  "= 0 WHERE id = ?1")
            .bind(before.id, hook.url, hook.kinds, hook.domain, hook.who, hook.batch, hook.ca_file)
            .run());
    if (hook.url == before.url) return {};
    return db_.query("UPDATE webhooks SET tries = 0, next_ms = 0, failing_ms = 0 WHERE id = ?1 AND state <> 2")
        .bind(before.id)
        .run();
}

Result<> WebhookTx::set_secret(std::string_view name, std::string_view sealed, Time old_until) {
    TRY(const Webhook hook, by_name(name));
    const bool keeps_old = old_until > tx_.now();
    const std::string_view old = keeps_old ? std::string_view(hook.sealed_secret) : std::string_view();
    const Time until = keeps_old ? old_until : Time{};
    context_of(tx_).write->notice.catalog = true;
    return db_.query("UPDATE webhooks SET sealed_secret = ?2, sealed_old = ?3, old_until_ms = ?4 WHERE id = ?1")
        .bind(hook.id, Blob(sealed), Blob(old), until)
        .run();
}

Result<> WebhookTx::remove(std::string_view name) {
    TRY(const Webhook hook, by_name(name));
    TRY_VOID(resume(name));
    context_of(tx_).write->notice.catalog = true;
    return db_.query("DELETE FROM webhooks WHERE id = ?1").bind(hook.id).run();
}

Result<> WebhookTx::pause(std::string_view name) {
    TRY(const Webhook hook, by_name(name));
    context_of(tx_).write->notice.catalog = true;
    return db_.query("UPDATE webhooks SET state = 1 WHERE id = ?1 AND state = 0").bind(hook.id).run();
}

Result<> WebhookTx::resume(std::string_view name) {
    TRY(const Webhook hook, by_name(name));
    IncidentTx incidents(tx_);
    TRY(const auto open, incidents.open());
    for (const Incident& one : open) {
        if (one.key != incident_key(hook)) continue;
        TRY_VOID(incidents.clear(one.id, "the webhook was resumed"));
    }
    context_of(tx_).write->notice.catalog = true;
    return db_.query("UPDATE webhooks SET state = 0, tries = 0, next_ms = 0, failing_ms = 0 WHERE id = ?1")
        .bind(hook.id)
        .run();
}

Result<> WebhookTx::replay(std::string_view name, std::int64_t from) {
    TRY(const Webhook hook, by_name(name));
    TRY(const std::int64_t last, tx_.events().last_id());
    if (from < 1 || from > last + 1) {
        return Error(Errc::invalid, fmt::format("there is no event {}: the last one is {}", format_event_id(from),
                                                format_event_id(last)));
    }
    TRY_VOID(resume(name));
    return db_.query("UPDATE webhooks SET cursor = ?2, until = 0 WHERE id = ?1").bind(hook.id, from - 1).run();
}

Result<std::int64_t> WebhookTx::ping(std::string_view name) {
    TRY(const Webhook hook, by_name(name));
    Event event;
    event.kind = EventKind::ping;
    event.detail = hook.name;
    TRY_VOID(tx_.events().append(event));
    context_of(tx_).write->notice.catalog = true;
    return tx_.events().last_id();
}

Result<bool> WebhookTx::fix(const Webhook& hook, std::int64_t from, std::int64_t until) {
    TRY_VOID(db_.query("UPDATE webhooks SET cursor = ?4, until = ?5 WHERE id = ?1 AND state = 0 AND cursor = ?2 AND "
                       "until = ?3")
                 .bind(hook.id, hook.cursor, hook.until, from, until)
                 .run());
    return db_.changes() == 1;
}

Result<bool> WebhookTx::took(const Webhook& hook, std::int64_t until, std::uint64_t events, std::string_view answer) {
    const std::string_view said = answer.substr(0, kAnswerOctetsMax);
    TRY_VOID(db_.query("UPDATE webhooks SET cursor = ?4, until = 0, tries = 0, next_ms = 0, failing_ms = 0, told = "
                       "told + ?5, last_ms = ?6, last_answer = ?7 WHERE id = ?1 AND cursor = ?2 AND until = ?3")
                 .bind(hook.id, hook.cursor, hook.until, until, events, tx_.now(), said)
                 .run());
    return db_.changes() == 1;
}

Result<bool> WebhookTx::failed(const Webhook& hook, Time next, std::string_view answer) {
    const std::string_view said = answer.substr(0, kAnswerOctetsMax);
    const Time since = hook.failing_since == Time{} ? tx_.now() : hook.failing_since;
    TRY_VOID(db_.query("UPDATE webhooks SET tries = tries + 1, next_ms = ?4, failing_ms = ?5, last_ms = ?6, "
                       "last_answer = ?7 WHERE id = ?1 AND state = 0 AND cursor = ?2 AND until = ?3")
                 .bind(hook.id, hook.cursor, hook.until, next, since, tx_.now(), said)
                 .run());
    return db_.changes() == 1;
}

Result<bool> WebhookTx::give_up(const Webhook& hook, std::string_view answer) {
    const std::string_view said = answer.substr(0, kAnswerOctetsMax);
    TRY_VOID(db_.query("UPDATE webhooks SET state = 2, tries = tries + 1, last_ms = ?4, last_answer = ?5 WHERE id = ?1 "
                       "AND state = 0 AND cursor = ?2 AND until = ?3")
                 .bind(hook.id, hook.cursor, hook.until, tx_.now(), said)
                 .run());
    if (db_.changes() != 1) return false;
    Refusal refusal;
    refusal.reply = said;
    refusal.remote = place_of_url(hook.url);
    refusal.count = hook.tries + 1;
    TRY_VOID(IncidentTx(tx_).note(incident_key(hook), refusal));
    return true;
}

}  // namespace posthouse::storage
