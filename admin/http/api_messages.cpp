// What became of a message.
//
//   GET  /api/v1/messages/{queue id or Message-ID}?dialogue=1
// A token of one account sees what was sent over this API in that account's name.
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

#include <algorithm>
#include <sstream>

#include "admin/http/json_body.h"
#include "admin/http/router.h"
#include "protocols/base/ascii.h"
#include "storage/queue_text.h"

namespace posthouse::admin {
namespace {

using storage::Event;
using storage::MessageId;
using storage::QueueId;
using storage::Snapshot;
using storage::SubmissionNotes;

/// All that is known of one message.
struct Life {
    MessageId message{};
    std::vector<Event> events;  ///< by time
    std::optional<SubmissionNotes> notes;
    std::vector<storage::QueueRecipient> waiting;
    storage::Lanes lanes;  ///< why they wait
};

Result<std::vector<Event>> first_events(const storage::EventView& view, std::string_view what) {
    if (const QueueId queue = storage::parse_queue_id(what); storage::raw(queue) != 0) return view.by_queue(queue);
    if (const auto number = what.starts_with('m') ? ascii::parse_number(what.substr(1)) : std::nullopt) {
        return view.by_message(static_cast<MessageId>(*number));
    }
    if (what.starts_with('<') && what.ends_with('>')) what = what.substr(1, what.size() - 2);
    return view.by_message_id(what);
}

// The newest message of that name which the token may see.
Result<std::optional<Life>> find_life(const Snapshot& snapshot, std::string_view what,
                                      const std::optional<storage::AccountId>& whose) {
    TRY(auto found, first_events(snapshot.events(), what));
    std::ranges::sort(found, std::ranges::greater(), &Event::id);
    for (const Event& one : found) {
        if (storage::raw(one.message) == 0) continue;
        Life out;
        out.message = one.message;
        TRY(out.notes, storage::SubmissionView(snapshot).notes(one.message));
        if (whose && (!out.notes || out.notes->account != *whose)) continue;
        TRY(out.events, snapshot.events().by_message(one.message));
        std::ranges::sort(out.events, {}, [](const Event& e) { return std::pair(e.at, e.id); });
        const auto queued = std::ranges::find_if(out.events, [](const Event& e) { return storage::raw(e.queue) != 0; });
        if (queued != out.events.end()) {
            TRY(out.waiting, snapshot.queue().recipients(queued->queue));
            TRY(out.lanes, storage::read_lanes(snapshot));
        }
        return std::optional(std::move(out));
    }
    return std::optional<Life>();
}

Poco::JSON::Object::Ptr event_object(const Event& event, bool dialogue) {
    Poco::JSON::Object::Ptr out = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("at", format_rfc3339(event.at));
    out->set("kind", std::string(storage::to_string(event.kind)));
    out->set("recipient", utf8_of(event.recipient));
    out->set("detail", utf8_of(event.detail));
    if (dialogue && !event.dialogue.empty()) out->set("dialogue", utf8_of(event.dialogue));
    return out;
}

Poco::JSON::Object::Ptr recipient_object(const storage::QueueRecipient& one, const storage::Lanes& lanes) {
    Poco::JSON::Object::Ptr out = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("address", utf8_of(one.address));
    out->set("state", std::string(storage::to_string(one.state)));
    out->set("attempts", one.attempts);
    if (const std::string why = storage::waiting_because(one, lanes); !why.empty()) out->set("because", utf8_of(why));
    if (one.state == storage::RecipientState::waiting) {
        out->set("next_attempt", format_rfc3339(storage::earliest_next(one, lanes)));
    }
    if (one.state == storage::RecipientState::held && storage::raw(one.incident) != 0) {
        out->set("incident", storage::raw(one.incident));
        if (const auto until = storage::held_until(one, lanes)) out->set("held_until", format_rfc3339(*until));
    }
    out->set("last_reply", utf8_of(one.last_reply));
    out->set("last_remote", utf8_of(one.last_remote));
    return out;
}

std::string life_text(const Life& life, bool dialogue) {
    Poco::JSON::Object out(Poco::JSON_PRESERVE_KEY_ORDER);
    const auto named = std::ranges::find_if(life.events, [](const Event& e) { return !e.message_id.empty(); });
    const auto queued = std::ranges::find_if(life.events, [](const Event& e) { return storage::raw(e.queue) != 0; });
    const bool in_queue = queued != life.events.end();
    out.set("id",
            in_queue ? storage::format_queue_id(queued->queue) : "m" + std::to_string(storage::raw(life.message)));
    out.set("message_id", named == life.events.end() ? std::string() : "<" + utf8_of(named->message_id) + ">");
    out.set("sender", life.events.empty() ? std::string() : utf8_of(life.events.front().sender));
    if (life.notes) {
        out.set("tags", Poco::JSON::Parser().parse(life.notes->tags));
        out.set("metadata", Poco::JSON::Parser().parse(life.notes->metadata));
    }
    Poco::JSON::Array recipients;
    for (const storage::QueueRecipient& one : life.waiting) recipients.add(recipient_object(one, life.lanes));
    out.set("in_queue", recipients);
    Poco::JSON::Array events;
    for (const Event& event : life.events) events.add(event_object(event, dialogue));
    out.set("events", events);
    std::ostringstream text;
    out.stringify(text);
    return text.str() + "\n";
}

HttpAnswer show_message(Call& call) {
    bool dialogue = false;
    for (const auto& [name, value] : call.query) {
        if (name != "dialogue") return problem(400, "There is dialogue.", name);
        dialogue = value == "1" || value == "true";
    }
    const std::string& what = call.segments.front();
    const auto found =
        call.deps.store->read([&](const Snapshot& snapshot) { return find_life(snapshot, what, call.token->account); });
    if (!found) return problem(found.error());
    if (!*found) {
        return problem(404, "Nothing is known of this message: name the id of its answer (q12), or its Message-ID.");
    }
    HttpAnswer out;
    out.body = life_text(**found, dialogue);
    return out;
}

constexpr Endpoint kRows[] = {{"GET", "/api/v1/messages/{}", Access::token, show_message}};

}  // namespace

std::span<const Endpoint> message_endpoints() { return kRows; }

}  // namespace posthouse::admin
