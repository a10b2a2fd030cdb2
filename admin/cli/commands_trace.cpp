// posthouse trace: the life of a message, from the event log.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "admin/cli/command.h"
#include "protocols/base/log.h"
#include "storage/queue_text.h"

namespace posthouse::admin {
namespace {

using storage::Event;
using storage::EventView;
using storage::MessageId;

constexpr std::size_t kEventsMax = 500;
constexpr std::size_t kMessagesMax = 50;

// What the argument names: a queue id, a Message-ID field, or else an address.
Result<std::vector<Event>> first_events(const EventView& view, std::string_view what) {
    if (const auto queue = storage::parse_queue_id(what); storage::raw(queue) != 0) return view.by_queue(queue);
    std::string_view bare = what;
    if (bare.starts_with('<') && bare.ends_with('>')) bare = bare.substr(1, bare.size() - 2);
    TRY(auto events, view.by_message_id(bare));
    if (!events.empty()) return events;
    return view.by_address(bare, kEventsMax);
}

// All that is known of the messages that those events belong to, oldest message first, each by time.
Result<std::vector<std::vector<Event>>> timelines(const EventView& view, std::string_view what) {
    TRY(const auto first, first_events(view, what));
    std::set<std::int64_t> messages;
    std::vector<std::vector<Event>> out;
    for (const Event& event : first) {
        if (storage::raw(event.message) == 0) {
            out.push_back({event});  // refused at the door: there is no message
        } else if (messages.size() < kMessagesMax && messages.insert(storage::raw(event.message)).second) {
            TRY(auto all, view.by_message(event.message));
            std::ranges::sort(all, {}, [](const Event& e) { return std::pair(e.at, e.id); });
            out.push_back(std::move(all));
        }
    }
    std::ranges::sort(out, {}, [](const std::vector<Event>& events) { return events.front().at; });
    return out;
}

// "+0.412 s", "+3 min 5 s", "+2 d 4 h": since the message came in.
std::string since(Time start, Time at) {
    const auto ms = (at - start).count();
    if (ms < 60'000) return fmt::format("+{}.{:03} s", ms / 1000, ms % 1000);
    const auto s = ms / 1000;
    if (s < 3600) return fmt::format("+{} min {} s", s / 60, s % 60);
    if (s < 86'400) return fmt::format("+{} h {} min", s / 3600, s % 3600 / 60);
    return fmt::format("+{} d {} h", s / 86'400, s % 86'400 / 3600);
}

enum class Dialogue { hidden, shown };

std::string timeline_text(const std::vector<Event>& events, Dialogue dialogue) {
    const Event& first = events.front();
    const auto named = std::ranges::find_if(events, [](const Event& e) { return !e.message_id.empty(); });
    const auto queued = std::ranges::find_if(events, [](const Event& e) { return storage::raw(e.queue) != 0; });
    std::string out = fmt::format(
        "Message {}\n", named == events.end() ? "without a Message-ID" : "<" + log::escape(named->message_id) + ">");
    out += fmt::format(
        "  from {}{}\n", first.sender.empty() ? "<>" : log::escape(first.sender),
        queued == events.end() ? "" : fmt::format(", queue id {}", storage::format_queue_id(queued->queue)));
    for (const Event& event : events) {
        const std::string when = &event == &first ? format_rfc3339(event.at) : since(first.at, event.at);
        out += fmt::format("  {:<24}  {:<9}  ", when, storage::to_string(event.kind));
        if (!event.recipient.empty()) out += log::escape(event.recipient) + (event.detail.empty() ? "" : ": ");
        out += log::escape(event.detail) + "\n";
        if (dialogue == Dialogue::hidden) continue;
        std::string_view rest = event.dialogue;
        while (!rest.empty()) {
            const std::size_t end = rest.find('\n');
            std::string_view line = rest.substr(0, end);
            if (line.ends_with('\r')) line.remove_suffix(1);
            out += fmt::format("{:37}| {}\n", "", log::escape(line));
            rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        }
    }
    return out;
}

Record event_record(const Event& event, Dialogue dialogue) {
    Record out;
    out.add("at", format_rfc3339(event.at)).add("kind", storage::to_string(event.kind));
    out.add("message_id", event.message_id);
    out.add("queue_id", storage::raw(event.queue) == 0 ? std::string() : storage::format_queue_id(event.queue));
    out.add("message", storage::raw(event.message)).add("sender", event.sender).add("recipient", event.recipient);
    out.add("detail", event.detail);
    out.add("way", event.facts.way).add("address", event.facts.source).add("provider", event.facts.provider);
    out.add("class", event.facts.reply_class);
    if (dialogue == Dialogue::shown) out.add("dialogue", event.dialogue);
    return out;
}

// What of it waits still, and why.
struct Waiting {
    std::string queue_id;
    std::string address;
    std::string why;
    std::optional<Time> earliest_next;  ///< none: until somebody lets it go
};

Result<std::vector<Waiting>> still_waiting(const storage::Snapshot& snapshot, const std::vector<Event>& events) {
    std::vector<Waiting> out;
    std::set<std::int64_t> queues;
    for (const Event& event : events) {
        if (storage::raw(event.queue) != 0) queues.insert(storage::raw(event.queue));
    }
    if (queues.empty()) return out;
    TRY(const storage::Lanes lanes, storage::read_lanes(snapshot));
    for (const std::int64_t queue : queues) {
        TRY(const auto recipients, snapshot.queue().recipients(static_cast<storage::QueueId>(queue)));
        for (const storage::QueueRecipient& one : recipients) {
            Waiting waiting;
            waiting.queue_id = storage::format_queue_id(one.queue);
            waiting.address = one.address;
            waiting.why = storage::waiting_because(one, lanes);
            if (waiting.why.empty()) continue;
            if (one.state == storage::RecipientState::waiting)
                waiting.earliest_next = storage::earliest_next(one, lanes);
            out.push_back(std::move(waiting));
        }
    }
    return out;
}

std::string waiting_text(const Waiting& one) {
    const std::string until =
        one.earliest_next ? fmt::format("; next {}", format_rfc3339(*one.earliest_next)) : std::string();
    return fmt::format("  waits: {}: {}{}\n", log::escape(one.address), log::escape(one.why), until);
}

// A row of kind "waits" behind the events.
Record waiting_record(const Waiting& one) {
    Record out;
    out.add("kind", "waits")
        .add("queue_id", one.queue_id)
        .add("recipient", one.address)
        .add("waiting_because", one.why);
    out.add("earliest_next", one.earliest_next ? format_rfc3339(*one.earliest_next) : std::string());
    return out;
}

// trace server: backups and the like, the newest last, as in a log.
Result<> trace_server(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(auto events, store->read([](const storage::Snapshot& s) { return s.events().about_server(kEventsMax); }));
    std::ranges::reverse(events);
    std::vector<Record> rows;
    std::string text;
    for (const Event& event : events) {
        rows.push_back(event_record(event, Dialogue::hidden));
        text += fmt::format("{}{}  {}", text.empty() ? "" : "\n", format_rfc3339(event.at), log::escape(event.detail));
    }
    if (call.out().json()) {
        call.out().table(rows, "");
    } else {
        call.out().say(text.empty() ? "Nothing has been told of the server itself yet." : text);
    }
    return {};
}

// trace MESSAGE-ID | QUEUE-ID | ADDRESS | server
Result<> trace(Invocation& call) {
    const std::string what = call.get("WHAT");
    if (what == "server") return trace_server(call);
    const Dialogue dialogue = call.has("--dialogue") ? Dialogue::shown : Dialogue::hidden;
    TRY(storage::Store* const store, call.store());
    TRY(const auto found,
        store->read([&](const storage::Snapshot& snapshot) { return timelines(snapshot.events(), what); }));
    if (found.empty()) {
        return Error(
            Errc::not_found,
            fmt::format("nothing is known of {}; name a Message-ID, a queue id such as q12, an address, or the word "
                        "server",
                        what));
    }
    std::vector<Record> rows;
    std::string text;
    for (const auto& events : found) {
        if (!text.empty()) text += "\n";
        text += timeline_text(events, dialogue);
        TRY(const auto waits,
            store->read([&](const storage::Snapshot& snapshot) { return still_waiting(snapshot, events); }));
        for (const Event& event : events) rows.push_back(event_record(event, dialogue));
        for (const Waiting& one : waits) {
            text += waiting_text(one);
            rows.push_back(waiting_record(one));
        }
    }
    text.pop_back();
    if (call.out().json()) {
        call.out().table(rows, "");
    } else {
        call.out().say(text);
    }
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kArguments[] = {
    {Kind::positional, "WHAT", "a Message-ID, a queue id, an address, or \"server\" for backups and the like"},
    {Kind::flag, "--dialogue", "show what was said with the other server"}};
constexpr Command kRows[] = {
    {"", "trace", "tell the life of a message", "posthouse trace q12 --dialogue", kArguments, trace}};

}  // namespace

std::span<const Command> trace_commands() { return kRows; }

}  // namespace posthouse::admin
