// posthouse webhook ...: who is told of events over HTTPS.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "admin/cli/command.h"
#include "admin/hooks/hooks.h"

namespace posthouse::admin {
namespace {

using storage::Snapshot;
using storage::Webhook;
using storage::WebhookTx;
using storage::WebhookView;

constexpr std::chrono::seconds kTestMax{20};
constexpr std::chrono::milliseconds kTestLook{100};

struct Shown {
    Webhook hook;
    std::int64_t behind = 0;
    std::string account;
};

Result<Shown> read_one(const Snapshot& snapshot, const std::string& name) {
    const WebhookView view(snapshot);
    Shown out;
    TRY(out.hook, view.by_name(name));
    TRY(out.behind, view.behind(out.hook));
    TRY(out.account, view.name_of(out.hook.who));
    return out;
}

std::string time_text(Time at) { return at == Time{} ? std::string() : format_rfc3339(at); }

// webhook add NAME URL [--kinds K,K] [--domain D] [--account A] [--batch N] [--ca-file F]
Result<> webhook_add(Invocation& call) {
    WebhookWish wish;
    wish.name = call.get("NAME");
    wish.url = call.get("URL");
    wish.kinds = call.get("--kinds");
    wish.domain = call.get("--domain");
    wish.account = call.get("--account");
    wish.batch = call.get("--batch");
    wish.ca_file = call.get("--ca-file");
    TRY(storage::Store* const store, call.store());
    TRY(const std::string secret, add_webhook(*store, wish));
    if (call.out().json()) call.out().record(Record().add("added", wish.name).add("secret", secret));
    call.out().say(
        fmt::format("{} is told of what happens from now on. The secret that signs, shown this once:\n\n  {}\n\n"
                    "posthouse webhook test {} tries it.",
                    wish.name, secret, wish.name));
    return {};
}

// webhook list
Result<> webhook_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto rows, store->read([](const Snapshot& snapshot) -> Result<std::vector<Record>> {
        const WebhookView view(snapshot);
        TRY(const auto all, view.all());
        std::vector<Record> out;
        for (const Webhook& hook : all) {
            TRY(const std::int64_t behind, view.behind(hook));
            Record row;
            row.add("name", hook.name).add("url", hook.url).add("kinds", hook.kinds.empty() ? "all" : hook.kinds);
            row.add("state", describe_webhook(hook, behind)).add("told", hook.told).add("behind", behind);
            row.add("last_answer", hook.last_answer);
            out.push_back(std::move(row));
        }
        return out;
    }));
    call.out().table(rows, "There is no webhook: posthouse webhook add makes one.");
    return {};
}

// webhook show NAME
Result<> webhook_show(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Shown one, store->read([&](const Snapshot& s) { return read_one(s, call.get("NAME")); }));
    const Webhook& hook = one.hook;
    Record out;
    out.add("name", hook.name).add("url", hook.url).add("kinds", hook.kinds.empty() ? "all" : hook.kinds);
    out.add("domain", hook.domain).add("account", one.account).add("batch", std::int64_t{hook.batch});
    out.add("ca_file", hook.ca_file).add("state", describe_webhook(hook, one.behind)).add("told", hook.told);
    out.add("cursor", storage::format_event_id(hook.cursor)).add("behind", one.behind);
    out.add("failures", std::int64_t{hook.tries}).add("next_try", time_text(hook.tries > 0 ? hook.next : Time{}));
    out.add("last", time_text(hook.last)).add("last_answer", hook.last_answer);
    call.out().record(out);
    return {};
}

// webhook set NAME [--url U] [--kinds K,K] [--domain D] [--account A] [--batch N] [--ca-file F]
Result<> webhook_set(Invocation& call) {
    const std::string name = call.get("NAME");
    WebhookEdit edit;
    const std::pair<const char*, std::optional<std::string>*> slots[] = {
        {"--url", &edit.url},         {"--kinds", &edit.kinds}, {"--domain", &edit.domain},
        {"--account", &edit.account}, {"--batch", &edit.batch}, {"--ca-file", &edit.ca_file}};
    bool any = false;
    for (const auto& [option, slot] : slots) {
        if (!call.has(option)) continue;
        *slot = call.get(option);
        any = true;
    }
    if (!any)
        return Error(Errc::invalid, "say what is to change: --url, --kinds, --domain, --account, --batch, --ca-file");
    TRY(storage::Store* const store, call.store());
    TRY_VOID(edit_webhook(*store, name, edit));
    if (call.out().json()) call.out().record(Record().add("changed", name));
    call.out().say(fmt::format("{} is changed, from its next POST on.", name));
    return {};
}

// webhook secret NAME [--old-hours N]
Result<> webhook_secret(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    TRY(const std::string secret, renew_webhook_secret(*store, name, call.get("--old-hours")));
    if (call.out().json()) call.out().record(Record().add("changed", name).add("secret", secret));
    call.out().say(
        fmt::format("The new secret of {}, shown this once:\n\n  {}\n\nThe one before signs too for {} hours: "
                    "webhook-signature holds both.",
                    name, secret, call.has("--old-hours") ? call.get("--old-hours") : "24"));
    return {};
}

using Change = Result<> (WebhookTx::*)(std::string_view);

Result<> change(Invocation& call, Change what, std::string_view past) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) {
        WebhookTx webhooks(tx);
        return (webhooks.*what)(name);
    }));
    if (call.out().json()) call.out().record(Record().add(past, name));
    call.out().say(fmt::format("{} is {}.", name, past));
    return {};
}

Result<> webhook_remove(Invocation& call) { return change(call, &WebhookTx::remove, "removed"); }
Result<> webhook_pause(Invocation& call) { return change(call, &WebhookTx::pause, "paused"); }
Result<> webhook_resume(Invocation& call) { return change(call, &WebhookTx::resume, "resumed"); }

// webhook replay NAME --from EVENT|TIME
Result<> webhook_replay(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    TRY(const std::int64_t first, replay_webhook(*store, name, call.get("--from"), system_clock().now()));
    if (call.out().json())
        call.out().record(Record().add("replays", name).add("from", storage::format_event_id(first)));
    call.out().say(fmt::format("{} is told once more of all from {} on, in the same order.", name,
                               storage::format_event_id(first)));
    return {};
}

// webhook test NAME: an event for it alone, and what comes of it where a server runs
Result<> webhook_test(Invocation& call) {
    const std::string name = call.get("NAME");
    TRY(storage::Store* const store, call.store());
    TRY(const std::int64_t id, store->write_value({}, [&](storage::Tx& tx) { return WebhookTx(tx).ping(name); }));
    const auto end = std::chrono::steady_clock::now() + kTestMax;
    Shown one;
    do {
        std::this_thread::sleep_for(kTestLook);
        TRY(one, store->read([&](const Snapshot& s) { return read_one(s, name); }));
    } while (one.hook.cursor < id && one.hook.tries == 0 && one.hook.state == storage::WebhookState::active &&
             std::chrono::steady_clock::now() < end);
    const bool taken = one.hook.cursor >= id;
    if (call.out().json()) {
        call.out().record(Record()
                              .add("event", storage::format_event_id(id))
                              .add("taken", taken)
                              .add("answer", one.hook.last_answer)
                              .add("state", describe_webhook(one.hook, one.behind)));
    }
    if (taken) {
        call.out().say(fmt::format("{} took {}: {}.", name, storage::format_event_id(id), one.hook.last_answer));
        return {};
    }
    return Error(Errc::refused, fmt::format("{} has not taken {}: {}", name, storage::format_event_id(id),
                                            one.hook.tries > 0 ? one.hook.last_answer
                                            : one.hook.state != storage::WebhookState::active
                                                ? describe_webhook(one.hook, one.behind)
                                                : "no answer so far; is the server running (posthouse serve)?"));
}

using Kind = Argument::Kind;
constexpr Argument kName{Kind::positional, "NAME", "its name"};
constexpr Argument kAdd[] = {
    {Kind::positional, "NAME", "how you call it"},
    {Kind::positional, "URL", "where it listens, https://"},
    {Kind::option, "--kinds",
     "only these events, commas between: accepted, delivered, deferred, bounced, complained, suppressed, held, "
     "released, "
     "cancelled, stopped, resumed (default all)"},
    {Kind::option, "--domain", "only what this domain sends"},
    {Kind::option, "--account", "only what this account or relay client sends"},
    {Kind::option, "--batch", "up to so many events a POST, as a JSON array (default 1, an object)"},
    {Kind::option, "--ca-file", "trust anchors of its certificate, PEM (default: the system's)"}};
constexpr Argument kSet[] = {
    kName,
    {Kind::option, "--url", "where it listens, https://"},
    {Kind::option, "--kinds", "only these events, commas between, as for add; all: every one"},
    {Kind::option, "--domain", "only what this domain sends; all: every domain"},
    {Kind::option, "--account", "only what this account or relay client sends; all: everybody"},
    {Kind::option, "--batch", "up to so many events a POST"},
    {Kind::option, "--ca-file", "trust anchors of its certificate, PEM; \"\": the system's"}};
constexpr Argument kSecret[] = {
    kName, {Kind::option, "--old-hours", "the secret before signs too for so long, 0 to 720 (default 24)"}};
constexpr Argument kNames[] = {kName};
constexpr Argument kReplay[] = {
    kName, {Kind::option_required, "--from", "the first event: evt_1200, or a time: 2026-11-20T08:00Z, 3h ago as 3h"}};

constexpr Command kRows[] = {
    {"webhook", "add", "tell somebody of events, signed; the secret is shown once",
     "posthouse webhook add panel https://panel.example.org/hook --kinds delivered,bounced", kAdd, webhook_add},
    {"webhook", "list", "list them, and how they do", "posthouse webhook list", {}, webhook_list},
    {"webhook", "show", "tell all about one", "posthouse webhook show panel", kNames, webhook_show},
    {"webhook", "set", "change what it is told, or where; it keeps its place in the log",
     "posthouse webhook set panel --kinds bounced,complained", kSet, webhook_set},
    {"webhook", "secret", "give it a new secret, shown once; the one before signs too for a while",
     "posthouse webhook secret panel --old-hours 48", kSecret, webhook_secret},
    {"webhook", "test", "send it an event of its own, and wait for the answer", "posthouse webhook test panel", kNames,
     webhook_test},
    {"webhook", "replay", "tell it once more of what it was told before",
     "posthouse webhook replay panel --from 2026-11-20T08:00Z", kReplay, webhook_replay},
    {"webhook", "pause", "tell it nothing until it is resumed; nothing is left out then",
     "posthouse webhook pause panel", kNames, webhook_pause},
    {"webhook", "resume", "go on where it stopped, at once", "posthouse webhook resume panel", kNames, webhook_resume},
    {"webhook", "remove", "tell it nothing any more", "posthouse webhook remove panel", kNames, webhook_remove},
};

}  // namespace

std::span<const Command> webhook_commands() { return kRows; }

}  // namespace posthouse::admin
