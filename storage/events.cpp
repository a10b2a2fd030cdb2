// The log. Rows lie by message: a life is one range. event_keys finds the message; what it finds are candidates.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "protocols/base/ascii.h"
#include "storage/catalog_impl.h"
#include "storage/events_impl.h"
#include "storage/webhooks.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kBucketEvents = 4096;
constexpr std::array<std::string_view, 21> kKindNames = {
    "received",   "stored",   "queued",    "attempted", "delayed", "delivered",   "bounced",
    "held",       "released", "cancelled", "expired",   "refused", "system",      "complained",
    "suppressed", "stopped",  "resumed",   "ping",      "noted",   "interrupted", "hurried"};
#define EVENT_COLUMNS "id, at_ms, kind, message, queue, message_id, sender, recipient, detail, dialogue, facts"

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
    event.facts = parse_facts(row.view(10));
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

EventFacts facts_of(const QueueItem& item) {
    EventFacts out;
    if (item.account) {
        out.who = fmt::format("a{}", raw(*item.account));
    } else if (item.client_id) {
        out.who = fmt::format("c{}", raw(*item.client_id));
    }
    out.domain = ascii::to_lower(item.forwarded_by.empty() ? domain_of(item.reverse_path) : item.forwarded_by);
    out.stream = item.stream;
    if (item.mail_class != 0) out.mail_class = std::to_string(item.mail_class);
    return out;
}

namespace {

/// In the order of the column: new ones go at the end.
template <class Facts>
auto fields_of(Facts& facts) {
    return std::array{&facts.who,         &facts.domain, &facts.way,   &facts.source, &facts.provider,
                      &facts.reply_class, &facts.route,  &facts.marks, &facts.stream, &facts.mail_class};
}

}  // namespace

std::string format_facts(const EventFacts& facts) {
    std::string out;
    for (const std::string* field : fields_of(facts)) {
        for (const char c : *field) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;  // no tab but ours
        out += '\t';
    }
    if (facts.tries) out += fmt::format("{}", *facts.tries);
    out += '\t';
    if (facts.next != Time{}) out += fmt::format("{}", to_unix_ms(facts.next));
    while (out.ends_with('\t')) out.pop_back();
    return out;
}

EventFacts parse_facts(std::string_view text) {
    EventFacts out;
    for (std::string* field : fields_of(out)) {
        const std::size_t end = std::min(text.find('\t'), text.size());
        *field = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    const std::size_t end = std::min(text.find('\t'), text.size());
    if (const auto tries = ascii::parse_number(text.substr(0, end))) out.tries = static_cast<std::uint32_t>(*tries);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (const auto next = ascii::parse_number(text)) out.next = from_unix_ms(static_cast<std::int64_t>(*next));
    return out;
}

namespace {

/// What is kept of them with the event: of a recipient in the queue the first event says whose it is.
std::string kept_facts(const NewEvent& event) {
    EventFacts kept = *event.facts;
    if (!begins_life(event.kind)) {
        kept.who.clear();
        kept.domain.clear();
        kept.stream.clear();
        kept.mail_class.clear();
    }
    return format_facts(kept);
}

void count(Context& context, const NewEvent& event, Time at) {
    CountedEvent counted;
    counted.kind = event.kind;
    counted.at = at;
    counted.recipient = event.recipient;
    counted.accepted = event.accepted;
    counted.is_first_delay = event.is_first_delay;
    context.write->tally.count(counted, *event.facts);
}

}  // namespace

Result<> write_event(Context& context, const NewEvent& event, std::span<const std::string_view> keys) {
    const std::int64_t id = ++*context.write->last_event;
    const Time at = event.at.value_or(context.write->now);
    const std::string kept = event.facts == nullptr ? std::string() : kept_facts(event);
    const std::optional<std::string_view> facts = kept.empty() ? std::nullopt : std::optional<std::string_view>(kept);
    if (event.facts != nullptr) count(context, event, at);
    const std::optional<std::string_view> dialogue =
        event.dialogue.empty() ? std::nullopt : std::optional<std::string_view>(event.dialogue);
    TRY_VOID(context.db.query("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")
                 .bind(event.message, id, at, event.kind, event.queue, event.message_id, event.sender, event.recipient,
                       event.detail, dialogue, facts)
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
    EventFacts facts = event.facts;
    const bool is_counted = event.kind == EventKind::complained || event.kind == EventKind::suppressed ||
                            event.kind == EventKind::bounced;  // late: what the queue does not know of any more
    if (is_counted) {
        if (facts.domain.empty()) facts.domain = ascii::to_lower(domain_of(event.sender));
        row.facts = &facts;
    }
    const bool is_kept = event.kind == EventKind::stopped || event.kind == EventKind::resumed ||
                         event.kind == EventKind::noted;  // no figure is about them
    if (is_kept && facts != EventFacts()) row.facts = &facts;
    if (!webhook_kind(event.kind).empty()) context_.write->notice.queue = true;  // somebody may be waiting for it
    const std::array<std::string_view, 3> keys = {message_id, event.sender, event.recipient};
    return write_event(context_, row, keys);
}

Result<std::vector<Event>> EventsImpl::by_message(MessageId message) const {
    std::vector<Event> out;
    Query q = db_.query("SELECT " EVENT_COLUMNS " FROM events WHERE message = ?1 ORDER BY id");
    q.bind(message);
    std::string message_id;
    std::string sender;
    std::map<QueueId, EventFacts> begun;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        Event event = event_of(q);
        if (event.kind == EventKind::queued) begun.try_emplace(event.queue, event.facts);
        if (const auto known = begun.find(event.queue); known != begun.end() && !begins_life(event.kind)) {
            event.facts.who = known->second.who;
            event.facts.domain = known->second.domain;
            event.facts.stream = known->second.stream;
            event.facts.mail_class = known->second.mail_class;
        }
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

Result<std::int64_t> EventsImpl::last_id() const {
    if (context_.write != nullptr) return *context_.write->last_event;
    return db_.value("SELECT value FROM counters WHERE name = 'event'");
}

Result<std::vector<Event>> EventsImpl::behind(std::int64_t after, std::size_t count_max) const {
    std::vector<Hit> found;
    {
        Query q =
            db_.query("SELECT message, id FROM events INDEXED BY events_by_id WHERE id > ?1 ORDER BY id LIMIT ?2");
        q.bind(after, count_max);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            found.push_back(Hit{q.id<MessageId>(0), q.i64(1)});
        }
    }
    std::vector<Event> out;
    std::map<MessageId, std::vector<Event>> lives;
    for (const Hit& hit : found) {
        if (raw(hit.message) == 0) {
            TRY(auto alone, load(hit));
            out.insert(out.end(), std::make_move_iterator(alone.begin()), std::make_move_iterator(alone.end()));
            continue;
        }
        if (!lives.contains(hit.message)) {
            TRY(lives[hit.message], by_message(hit.message));
        }
        const std::vector<Event>& life = lives[hit.message];
        const auto event = std::ranges::find(life, hit.event, &Event::id);
        if (event != life.end()) out.push_back(*event);
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
