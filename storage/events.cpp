// The log. Rows lie by message: a life is one range. event_keys finds the message; what it finds are candidates.
#include <algorithm>
#include <array>
#include <set>

#include "protocols/base/ascii.h"
#include "storage/events_impl.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kBucketEvents = 4096;
constexpr std::array<std::string_view, 15> kKindNames = {
    "received", "stored",    "queued",  "attempted", "delayed", "delivered",  "bounced",   "held",
    "released", "cancelled", "expired", "refused",   "system",  "complained", "suppressed"};
#define EVENT_COLUMNS "id, at_ms, kind, message, queue, message_id, sender, recipient, detail, dialogue"

/// FNV-1a, 64 bits folded to 32. Only finds candidates; equality is checked on the events.
std::int64_t hash_of(std::string_view key) {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const char c : key) {
        hash ^= static_cast<unsigned char>(ascii::lower(c));
        hash *= 1099511628211ULL;
    }
    return static_cast<std::int64_t>((hash >> 32U) ^ (hash & 0xffffffffU));
}

Event event_of(const Query& row) {
    Event event;
    event.id = row.i64(0);
    event.at = row.time(1);
    event.kind = static_cast<EventKind>(row.i64(2));
    event.message = row.id<MessageId>(3);
    event.queue = row.id<QueueId>(4);
    event.message_id = row.text(5);
    event.sender = row.text(6);
    event.recipient = row.text(7);
    event.detail = row.text(8);
    event.dialogue = row.text(9);
    return event;
}

std::optional<std::string_view> given(const std::string& text) {
    return text.empty() ? std::nullopt : std::optional<std::string_view>(text);
}

bool concerns(const Event& event, std::string_view address) {
    return event.recipient.empty() || ascii::equals_ci(event.sender, address) ||
           ascii::equals_ci(event.recipient, address);
}

}  // namespace

std::string_view to_string(EventKind kind) {
    const auto place = static_cast<std::size_t>(kind);
    return place < kKindNames.size() ? kKindNames[place] : "unknown";
}

std::string_view bare_message_id(std::string_view message_id) {
    if (message_id.size() >= 2 && message_id.front() == '<' && message_id.back() == '>') {
        return message_id.substr(1, message_id.size() - 2);
    }
    return message_id;
}

Result<> write_event(Context& context, const NewEvent& event, std::span<const std::string_view> keys) {
    const std::int64_t id = ++*context.write->last_event;
    const std::optional<std::string_view> dialogue =
        event.dialogue.empty() ? std::nullopt : std::optional<std::string_view>(event.dialogue);
    TRY_VOID(context.db.query("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
                 .bind(event.message, id, event.at.value_or(context.write->now), event.kind, event.queue,
                       event.message_id, event.sender, event.recipient, event.detail, dialogue)
                 .run());
    Query add = context.db.query("INSERT OR IGNORE INTO event_keys VALUES (?1, ?2, ?3, ?4)");
    for (const std::string_view key : keys) {
        if (key.empty()) continue;
        add.reset();
        TRY_VOID(add.bind(id / kBucketEvents, hash_of(key), event.message, id).run());
    }
    return {};
}

Result<> EventsImpl::append(const Event& event) {
    NewEvent row;
    row.kind = event.kind;
    row.message = event.message;
    if (raw(event.queue) != 0) row.queue = event.queue;
    const std::string message_id(bare_message_id(event.message_id));
    row.message_id = given(message_id);
    row.sender = given(event.sender);
    row.recipient = event.recipient;
    row.detail = event.detail;
    row.dialogue = event.dialogue;
    if (event.at != Time{}) row.at = event.at;
    const std::array<std::string_view, 3> keys = {message_id, event.sender, event.recipient};
    return write_event(context_, row, keys);
}

Result<std::vector<Event>> EventsImpl::by_message(MessageId message) const {
    std::vector<Event> out;
    Query q = db_.query("SELECT " EVENT_COLUMNS " FROM events WHERE message = ?1 ORDER BY id");
    q.bind(message);
    std::string message_id;
    std::string sender;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        Event event = event_of(q);
        // Later events of a message leave out what the first one said.
        if (raw(message) != 0) {
            if (!event.message_id.empty()) message_id = event.message_id;
            if (!q.is_null(6)) sender = event.sender;
            event.message_id = message_id;
            event.sender = sender;
        }
        out.push_back(std::move(event));
    }
    return out;
}

Result<std::vector<Event>> EventsImpl::by_queue(QueueId queue) const {
    std::vector<Event> out;
    MessageId message{};
    {
        Query q = db_.query("SELECT message FROM events WHERE queue = ?1 ORDER BY message DESC LIMIT 1");
        TRY(const bool found, q.bind(queue).row());
        if (!found) return out;
        message = q.id<MessageId>(0);
    }
    TRY(out, by_message(message));
    std::erase_if(out, [queue](const Event& event) { return event.queue != queue; });
    return out;
}

Result<std::int64_t> EventsImpl::last_bucket() const {
    if (context_.write != nullptr) return *context_.write->last_event / kBucketEvents;
    TRY(const std::int64_t last, db_.value("SELECT value FROM counters WHERE name = 'event'"));
    return last / kBucketEvents;
}

Result<std::vector<EventsImpl::Hit>> EventsImpl::hits(std::int64_t bucket, std::string_view key) const {
    Query q = db_.query("SELECT message, event FROM event_keys WHERE bucket = ?1 AND hash = ?2 ORDER BY event DESC");
    q.bind(bucket, hash_of(key));
    std::vector<Hit> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(Hit{q.id<MessageId>(0), q.i64(1)});
    }
}

Result<std::vector<Event>> EventsImpl::load(const Hit& hit) const {
    if (raw(hit.message) != 0) return by_message(hit.message);
    std::vector<Event> out;
    Query q = db_.query("SELECT " EVENT_COLUMNS " FROM events WHERE message = 0 AND id = ?1");
    TRY(const bool found, q.bind(hit.event).row());
    if (found) out.push_back(event_of(q));
    return out;
}

Result<std::vector<Event>> EventsImpl::by_message_id(std::string_view message_id) const {
    const std::string_view key = bare_message_id(message_id);
    std::vector<Event> out;
    if (key.empty()) return out;
    std::set<std::int64_t> seen;
    TRY(const std::int64_t last, last_bucket());
    for (std::int64_t bucket = 0; bucket <= last; ++bucket) {
        TRY(const std::vector<Hit> found, hits(bucket, key));
        for (auto hit = found.rbegin(); hit != found.rend(); ++hit) {
            if (raw(hit->message) != 0 && !seen.insert(raw(hit->message)).second) continue;
            TRY(std::vector<Event> life, load(*hit));
            std::erase_if(life, [key](const Event& event) { return !ascii::equals_ci(event.message_id, key); });
            out.insert(out.end(), std::make_move_iterator(life.begin()), std::make_move_iterator(life.end()));
        }
    }
    return out;
}

Result<std::vector<Event>> EventsImpl::by_address(std::string_view address, std::size_t count_max) const {
    std::vector<Event> out;
    if (address.empty()) return out;
    std::set<std::int64_t> seen;
    TRY(const std::int64_t last, last_bucket());
    for (std::int64_t bucket = last; bucket >= 0 && out.size() < count_max; --bucket) {
        TRY(const std::vector<Hit> found, hits(bucket, address));
        for (const Hit& hit : found) {
            if (raw(hit.message) != 0 && !seen.insert(raw(hit.message)).second) continue;
            TRY(std::vector<Event> life, load(hit));
            const bool meant = std::ranges::any_of(life, [address](const Event& event) {
                return ascii::equals_ci(event.sender, address) || ascii::equals_ci(event.recipient, address);
            });
            if (!meant) continue;
            for (Event& event : life) {
                if (out.size() == count_max) return out;
                if (concerns(event, address)) out.push_back(std::move(event));
            }
        }
    }
    return out;
}

Result<std::vector<Event>> EventsImpl::about_server(std::size_t count_max) const {
    std::vector<Event> out;
    Query q =
        db_.query("SELECT " EVENT_COLUMNS " FROM events WHERE message = 0 AND kind = ?1 ORDER BY id DESC LIMIT ?2");
    q.bind(EventKind::system, count_max);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(event_of(q));
    }
}

}  // namespace posthouse::storage
