// Who is told of events over HTTPS. The same as `posthouse webhook`.
//
//   GET  /api/v1/webhooks
//   POST /api/v1/webhooks                    {"name": "panel", "url": "https://...", "kinds": ["bounced"], "batch": 50,
//                                             "domain": ..., "account": ...}    the secret is in the answer, this once
//   GET  /api/v1/webhooks/{name}
//   POST /api/v1/webhooks/{name}/set         {"url": ..., "kinds": ["bounced"], "domain": ..., "account": ..., "batch":
//                                            50}
//   POST /api/v1/webhooks/{name}/secret      {"old_hours": 24}     the new secret is in the answer, this once
//   POST /api/v1/webhooks/{name}/replay      {"from": "evt_1200"} or {"from": "2026-11-20T08:00Z"}
//   POST /api/v1/webhooks/{name}/test        {}     the answer names the event; /webhooks/{name} tells what came of it
//   POST /api/v1/webhooks/{name}/pause       {}     also resume, remove
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <algorithm>

#include "admin/hooks/hooks.h"
#include "admin/http/json_body.h"
#include "admin/http/router.h"
#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using Poco::JSON::Object;
using storage::Snapshot;
using storage::Webhook;
using storage::WebhookTx;
using storage::WebhookView;

// The members of a body as texts; null where it is no object of texts, numbers and lists of texts.
std::optional<std::map<std::string, std::string>> members_of(const std::string& body) {
    std::map<std::string, std::string> out;
    const Object::Ptr object = parse_json_object(body);
    if (!object) return std::nullopt;
    try {
        for (const auto& [name, member] : *object) {
            if (member.type() != typeid(Poco::JSON::Array::Ptr)) {
                if (member.isEmpty() || member.isStruct()) return std::nullopt;
                out[name] = member.convert<std::string>();
                continue;
            }
            for (const Poco::Dynamic::Var& one : *member.extract<Poco::JSON::Array::Ptr>()) {
                if (!one.isString()) return std::nullopt;
                out[name] += (out[name].empty() ? "" : ",") + one.extract<std::string>();
            }
        }
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
    return out;
}

Result<Object::Ptr> object_of(const WebhookView& view, const Webhook& hook) {
    TRY(const std::int64_t behind, view.behind(hook));
    TRY(const std::string account, view.name_of(hook.who));
    Object::Ptr out = new Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("name", hook.name);
    out->set("url", hook.url);
    out->set("kinds", hook.kinds.empty() ? std::string(storage::kWebhookKinds) : hook.kinds);
    out->set("domain", hook.domain);
    out->set("account", account);
    out->set("batch", hook.batch);
    out->set("state", std::string(storage::to_string(hook.state)));
    out->set("what", describe_webhook(hook, behind));
    out->set("told", hook.told);
    out->set("cursor", storage::format_event_id(hook.cursor));
    out->set("behind", behind);
    out->set("failures", hook.tries);
    out->set("last_answer", ascii::is_valid_utf8(hook.last_answer) ? hook.last_answer : std::string());
    return out;
}

HttpAnswer list_webhooks(Call& call) {
    const auto found = call.deps.store->read([](const Snapshot& s) -> Result<Poco::JSON::Array> {
        const WebhookView view(s);
        TRY(const auto all, view.all());
        Poco::JSON::Array out;
        for (const Webhook& hook : all) {
            TRY(const Object::Ptr one, object_of(view, hook));
            out.add(one);
        }
        return out;
    });
    if (!found) return problem(found.error());
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("webhooks", *found);
    return answer_of(object);
}

HttpAnswer show_webhook(Call& call) {
    const auto found = call.deps.store->read([&](const Snapshot& s) -> Result<Object::Ptr> {
        const WebhookView view(s);
        TRY(const Webhook hook, view.by_name(call.segments.front()));
        return object_of(view, hook);
    });
    if (!found) return problem(found.error());
    return answer_of(**found);
}

HttpAnswer make_webhook(Call& call) {
    const auto members = members_of(call.body);
    if (!members) return problem(400, "The body is no JSON object of texts, numbers and lists of texts.");
    WebhookWish wish;
    const std::pair<std::string_view, std::string*> known[] = {{"name", &wish.name},       {"url", &wish.url},
                                                               {"kinds", &wish.kinds},     {"domain", &wish.domain},
                                                               {"account", &wish.account}, {"batch", &wish.batch}};
    for (const auto& [name, value] : *members) {
        bool found = false;
        for (const auto& [like, slot] : known) {
            if (name != like) continue;
            *slot = value;
            found = true;
        }
        if (!found) return problem(422, "There are name, url, kinds, domain, account and batch.", name);
    }
    const auto secret = add_webhook(*call.deps.store, wish);
    if (!secret) return problem(secret.error());
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("name", wish.name);
    object.set("secret", *secret);
    HttpAnswer out = answer_of(object);
    out.status = 201;
    return out;
}

HttpAnswer set_webhook(Call& call) {
    const auto members = members_of(call.body);
    if (!members || members->empty()) return problem(422, "Say what is to change.");
    WebhookEdit edit;
    const std::pair<std::string_view, std::optional<std::string>*> known[] = {{"url", &edit.url},
                                                                              {"kinds", &edit.kinds},
                                                                              {"domain", &edit.domain},
                                                                              {"account", &edit.account},
                                                                              {"batch", &edit.batch}};
    for (const auto& [name, value] : *members) {
        const auto* const slot = std::ranges::find(known, name, [](const auto& one) { return std::string(one.first); });
        if (slot == std::end(known)) return problem(422, "There are url, kinds, domain, account and batch.", name);
        *slot->second = value;
    }
    const auto done = edit_webhook(*call.deps.store, call.segments.front(), edit);
    if (!done) return problem(done.error());
    return show_webhook(call);
}

HttpAnswer renew_secret(Call& call) {
    const auto members = members_of(call.body);
    const bool is_odd = !members || members->size() > 1 || (members->size() == 1 && !members->contains("old_hours"));
    if (is_odd) return problem(422, "There is old_hours alone: how long the secret before signs too.", "old_hours");
    const std::string hours = members->empty() ? std::string() : members->at("old_hours");
    const auto secret = renew_webhook_secret(*call.deps.store, call.segments.front(), hours);
    if (!secret) return problem(secret.error(), secret.error().code == Errc::invalid ? "old_hours" : "");
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("name", call.segments.front());
    object.set("secret", *secret);
    return answer_of(object);
}

HttpAnswer replay(Call& call) {
    const auto members = members_of(call.body);
    if (!members || members->size() != 1 || !members->contains("from")) {
        return problem(422, "Say from which event or time on.", "from");
    }
    const auto first =
        replay_webhook(*call.deps.store, call.segments.front(), members->at("from"), call.deps.clock->now());
    if (!first) return problem(first.error(), first.error().code == Errc::invalid ? "from" : "");
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("from", storage::format_event_id(*first));
    return answer_of(object);
}

HttpAnswer test_webhook(Call& call) {
    const auto id =
        call.deps.store->write_value({}, [&](storage::Tx& tx) { return WebhookTx(tx).ping(call.segments.front()); });
    if (!id) return problem(id.error());
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("event", storage::format_event_id(*id));
    return answer_of(object);
}

using Change = Result<> (WebhookTx::*)(std::string_view);

HttpAnswer change(Call& call, Change what, const char* done) {
    const auto written = call.deps.store->write({}, [&](storage::Tx& tx) {
        WebhookTx webhooks(tx);
        return (webhooks.*what)(call.segments.front());
    });
    if (!written) return problem(written.error());
    Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set(done, call.segments.front());
    return answer_of(object);
}

HttpAnswer pause_webhook(Call& call) { return change(call, &WebhookTx::pause, "paused"); }
HttpAnswer resume_webhook(Call& call) { return change(call, &WebhookTx::resume, "resumed"); }
HttpAnswer remove_webhook(Call& call) { return change(call, &WebhookTx::remove, "removed"); }

constexpr Endpoint kRows[] = {
    {"GET", "/api/v1/webhooks", Access::server, list_webhooks},
    {"POST", "/api/v1/webhooks", Access::server, make_webhook},
    {"GET", "/api/v1/webhooks/{}", Access::server, show_webhook},
    {"POST", "/api/v1/webhooks/{}/set", Access::server, set_webhook},
    {"POST", "/api/v1/webhooks/{}/secret", Access::server, renew_secret},
    {"POST", "/api/v1/webhooks/{}/replay", Access::server, replay},
    {"POST", "/api/v1/webhooks/{}/test", Access::server, test_webhook},
    {"POST", "/api/v1/webhooks/{}/pause", Access::server, pause_webhook},
    {"POST", "/api/v1/webhooks/{}/resume", Access::server, resume_webhook},
    {"POST", "/api/v1/webhooks/{}/remove", Access::server, remove_webhook},
};

}  // namespace

std::span<const Endpoint> webhook_endpoints() { return kRows; }

}  // namespace posthouse::admin
