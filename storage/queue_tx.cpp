// Changes of the queue. Each leaves its event; an item goes at the end of the write in which its last recipient became
// final, so that a notice to the sender can still be made from it in the same write.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/catalog_impl.h"
#include "storage/queue_impl.h"
#include "storage/settings.h"

namespace posthouse::storage {
namespace {

EventKind kind_of(RecipientState state) {
    switch (state) {
        case RecipientState::delivered: return EventKind::delivered;
        case RecipientState::failed: return EventKind::bounced;
        case RecipientState::held: return EventKind::held;
        default: return EventKind::attempted;
    }
}

// A newsletter of yesterday is worth less than the room it takes in the queue.
Result<Time> expiry_of(Context& context, const NewQueueItem& item) {
    if (item.mail_class != static_cast<std::uint8_t>(QueueClass::bulk)) return item.expires;
    TRY(const std::int64_t hours, setting_number(CatalogImpl(context), "queue.bulk_hours"));
    const Time most = context.write->now + std::chrono::hours(hours);
    return item.expires == Time{} ? most : std::min(item.expires, most);
}

}  // namespace

Result<> tell_of(Context& context, const QueueItem& owner, const QueueRecipient& recipient, EventKind kind,
                 std::string_view detail, std::optional<std::uint32_t> tries) {
    EventFacts facts = facts_of(owner);
    facts.tries = tries;
    NewEvent event;
    event.kind = kind;
    event.message = owner.message;
    event.queue = owner.id;
    event.recipient = recipient.address;
    event.detail = detail;
    event.facts = &facts;
    return write_event(context, event, {});
}

void QueueImpl::touch(QueueId id) {
    context_.write->queue_is_due();
    note_touched(id);
}

void QueueImpl::note_touched(QueueId id) {
    std::vector<QueueId>& touched = context_.write->touched_items;
    if (std::ranges::find(touched, id) == touched.end()) touched.push_back(id);
}

Result<QueueId> QueueImpl::add(MessageId message, const NewQueueItem& item, Time first_attempt) {
    TRY(const mime::MessageFacts facts, load_facts(context_, message));
    TRY(const QueueId id, insert(message, facts.message_id, facts.size_octets, item, first_attempt));
    change_refs(context_, message, 1);
    return id;
}

Result<QueueId> QueueImpl::insert(MessageId message, std::string_view message_id, std::uint64_t size_octets,
                                  const NewQueueItem& item, Time first_attempt) {
    if (item.recipients.empty()) return Error(Errc::invalid, "a queued message needs a recipient");
    TRY(const Time expires, expiry_of(context_, item));
    TRY_VOID(db_.query("INSERT INTO queue_items (message, message_id, reverse_path, envid, ret, smtputf8, eight_bit, "
                       "account, size_octets, created_ms, expires_ms, class, client, tls, forwarded_by, stream) "
                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)")
                 .bind(message, message_id, item.reverse_path, item.envid, item.ret, item.smtputf8, item.eight_bit,
                       item.account, size_octets, context_.write->now, expires, item.mail_class, item.client,
                       item.tls, item.forwarded_by, item.stream)
                 .run());
    const auto id = static_cast<QueueId>(db_.last_id());
    QueueItem counted;
    counted.account = item.account;
    counted.client_id = item.client;
    counted.reverse_path = item.reverse_path;
    counted.forwarded_by = item.forwarded_by;
    counted.stream = item.stream;
    counted.mail_class = item.mail_class;
    EventFacts facts = facts_of(counted);
    if (first_attempt != context_.write->now) facts.next = first_attempt;
    for (const NewRecipient& recipient : item.recipients) {
        const std::string domain = ascii::to_lower(domain_of(recipient.address));
        TRY_VOID(db_.query("INSERT INTO queue_recipients (queue, address, domain, orcpt, notify, state, "
                           "next_attempt_ms) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)")
                     .bind(id, recipient.address, domain, recipient.orcpt, recipient.notify, first_attempt)
                     .run());
        NewEvent event;
        event.kind = EventKind::queued;
        event.message = message;
        event.queue = id;
        event.recipient = recipient.address;
        event.detail = "waits to be sent";
        event.facts = &facts;
        TRY_VOID(write_event(context_, event, {}));
    }
    context_.write->queue_is_due();
    return id;
}

Result<std::vector<StartedRecipient>> QueueImpl::start(std::span<const RecipientId> recipients) {
    std::vector<StartedRecipient> started;
    Query q = db_.query(
        "UPDATE queue_recipients SET state = 1, attempts = attempts + 1 WHERE id = ?1 AND state = 0 "
        "RETURNING attempts");
    for (const RecipientId id : recipients) {
        q.reset();
        TRY(const bool found, q.bind(id).row());
        if (found) started.push_back(StartedRecipient{id, q.u32(0) - 1});
    }
    // No notice: taking up work is no news to the runner, which does it.
    return started;
}

namespace {

// "-": it was tried by some way, and nobody has answered. The first try alone finds nothing there. Behind it our own
// address, which stays known while nothing is tried.
std::string remote_after(const QueueRecipient& before, const Outcome& outcome) {
    const bool is_tried = !outcome.way.empty();
    const std::string& source = is_tried ? outcome.source : before.last_source;
    std::string out = outcome.remote;
    if (out.empty() && (is_tried || !before.last_remote.empty())) out = "-";
    return source.empty() ? out : fmt::format("{}{}{}", out, kFromSource, source);
}

}  // namespace

Result<> QueueImpl::finish(RecipientId id, const Outcome& outcome) {
    TRY(const QueueRecipient one, recipient(id));
    TRY(const QueueItem owner, item(one.queue));
    return finish(owner, id, outcome);
}

Result<> QueueImpl::finish(const QueueItem& owner, RecipientId id, const Outcome& outcome) {
    if (outcome.state != RecipientState::delivered && outcome.state != RecipientState::failed &&
        outcome.state != RecipientState::waiting && outcome.state != RecipientState::held) {
        return Error(Errc::invalid, "an attempt ends as delivered, failed, waiting or held");
    }
    TRY(const QueueRecipient before, recipient(id));
    if (before.queue != owner.id) return Error(Errc::invalid, "the recipient is another message's");
    // Held: the administrator may have held it while the attempt ran; what the remote said counts all the same.
    if (before.state != RecipientState::sending && before.state != RecipientState::waiting &&
        before.state != RecipientState::held) {
        return Error(Errc::conflict, fmt::format("the recipient is {} already", to_string(before.state)));
    }
    const std::string remote = remote_after(before, outcome);
    TRY_VOID(
        db_.query("UPDATE queue_recipients SET state = ?2, last_reply = ?3, last_remote = ?4, next_attempt_ms = ?5, "
                  "delay_told = max(delay_told, ?6), last_class = ?7, cause = ?8, lane = ?9, "
                  "attempts = max(attempts - ?10, 0), incident = ?11, fault_ms = max(fault_ms, ?12) WHERE id = ?1")
            .bind(id, outcome.state, outcome.reply, remote, outcome.next_attempt, outcome.delay_told,
                  outcome.reply_class, outcome.cause, outcome.lane, outcome.uses_attempt ? 0 : 1, outcome.incident,
                  outcome.fault_since)
            .run());
    NewEvent event;
    event.kind = outcome.suppressed ? EventKind::suppressed : kind_of(outcome.state);
    event.message = owner.message;
    event.queue = before.queue;
    event.recipient = before.address;
    const std::string where = outcome.remote.empty() ? std::string() : fmt::format("{}: ", outcome.remote);
    const bool plain = outcome.state == RecipientState::delivered || outcome.reply_class.empty();
    const std::string detail = where + outcome.reply + (plain ? "" : fmt::format(" ({})", outcome.reply_class));
    event.detail = detail;
    event.dialogue = outcome.dialogue;
    EventFacts facts = facts_of(owner);
    facts.way = outcome.way;
    facts.source = outcome.source;
    facts.provider = outcome.provider;
    facts.route = outcome.route;
    if (!outcome.way.empty() && before.last_remote.empty()) facts.marks += kFirstTry;
    if (outcome.under_token) facts.marks += kUnderToken;
    if (outcome.state != RecipientState::delivered) facts.reply_class = outcome.reply_class;
    const std::uint32_t unused = outcome.uses_attempt ? 0 : 1;
    facts.tries = before.attempts - std::min(before.attempts, unused);
    if (outcome.state == RecipientState::waiting) facts.next = outcome.next_attempt;
    event.facts = &facts;
    event.accepted = owner.created;
    event.is_first_delay = before.last_class.empty();
    TRY_VOID(write_event(context_, event, {}));
    const bool is_over = outcome.state == RecipientState::delivered || outcome.state == RecipientState::failed;
    context_.write->notice.queue = true;
    context_.write->notice.due = context_.write->notice.due || !is_over;
    note_touched(before.queue);
    return {};
}

Result<> QueueImpl::give_back(std::span<const RecipientId> recipients) {
    Query q =
        db_.query("UPDATE queue_recipients SET state = 0, attempts = max(attempts - 1, 0) WHERE id = ?1 AND state = 1");
    for (const RecipientId id : recipients) {
        q.reset();
        TRY_VOID(q.bind(id).run());
    }
    context_.write->queue_is_due();
    return {};
}

Result<std::uint64_t> QueueImpl::recover() {
    std::vector<RecipientId> ids;
    {
        Query q = db_.query("SELECT id FROM queue_recipients WHERE state = 1 ORDER BY id");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            ids.push_back(q.id<RecipientId>(0));
        }
    }
    TRY(const std::vector<QueueRecipient> rows, find(ids));
    for (const QueueRecipient& one : rows) {
        TRY_VOID(db_.query("UPDATE queue_recipients SET state = 0 WHERE id = ?1").bind(one.id).run());
        TRY(const QueueItem owner, item(one.queue));
        TRY_VOID(tell_of(context_, owner, one, EventKind::interrupted,
                         "the server ended while it was tried: it may have gone, and is tried again", one.attempts));
    }
    if (!rows.empty()) context_.write->queue_is_due();
    return static_cast<std::uint64_t>(rows.size());
}

Result<> QueueImpl::retry_now(QueueId id) {
    TRY(const QueueItem owner, item(id));
    // What an incident holds tries, too, whatever came of it before.
    TRY_VOID(let_try(owner));
    TRY(const std::vector<QueueRecipient> all, recipients(id));
    for (const QueueRecipient& one : all) {
        const bool waits = one.state == RecipientState::waiting && one.next_attempt != context_.write->now;
        if (waits) TRY_VOID(tell_of(context_, owner, one, EventKind::hurried, "to be tried at once, by hand"));
    }
    TRY_VOID(db_.query("UPDATE queue_recipients SET next_attempt_ms = ?2 WHERE queue = ?1 AND state = 0")
                 .bind(id, context_.write->now)
                 .run());
    TRY_VOID(db_.query("INSERT OR IGNORE INTO queue_kicks (queue) VALUES (?1)").bind(id).run());
    touch(id);
    return {};
}

Result<> QueueImpl::let_try(const QueueItem& owner) {
    TRY(const std::vector<QueueRecipient> all, recipients(owner.id));
    for (const QueueRecipient& one : all) {
        if (one.state != RecipientState::held || raw(one.incident) == 0) continue;
        TRY_VOID(db_.query("UPDATE queue_recipients SET state = 0 WHERE id = ?1 AND EXISTS (SELECT 1 FROM incidents i "
                           "WHERE i.id = incident AND i.kind <> 'account')")
                     .bind(one.id)
                     .run());
        if (db_.changes() == 0) continue;
        TRY_VOID(tell_of(context_, owner, one, EventKind::released,
                         "to be tried by hand, though an incident holds it"));
    }
    return {};
}

Result<> QueueImpl::shift(QueueId id, const Shift& shift) {
    TRY(const QueueItem owner, item(id));
    TRY(const std::vector<QueueRecipient> all, recipients(id));
    std::size_t moved = 0;
    for (const QueueRecipient& one : all) {
        if (one.state != shift.from && one.state != shift.also_from) continue;
        const Time next = shift.to == RecipientState::waiting ? context_.write->now : one.next_attempt;
        const bool released = one.released || shift.kind == EventKind::released;
        // What waits for the end of an incident and is held by hand is let go by hand.
        const IncidentId incident = one.state == RecipientState::waiting ? IncidentId{} : one.incident;
        TRY_VOID(db_.query("UPDATE queue_recipients SET state = ?2, next_attempt_ms = ?3, released = ?4, incident = ?5 "
                           "WHERE id = ?1")
                     .bind(one.id, shift.to, next, released, incident)
                     .run());
        TRY_VOID(tell_of(context_, owner, one, shift.kind, shift.detail));
        ++moved;
    }
    if (moved == 0) {
        return Error(Errc::conflict,
                     fmt::format("no recipient of {} is {}", format_queue_id(id), to_string(shift.from)));
    }
    touch(id);
    return {};
}

Result<> QueueImpl::hold(QueueId id) {
    return shift(id, Shift{RecipientState::waiting, RecipientState::waiting, RecipientState::held, EventKind::held,
                           "held until it is released"});
}

Result<> QueueImpl::hold_recipients(std::span<const RecipientId> recipients, std::string_view why) {
    for (const RecipientId id : recipients) {
        TRY(const QueueRecipient before, recipient(id));
        const bool begun = before.state == RecipientState::sending;
        if (!begun && before.state != RecipientState::waiting) continue;
        TRY_VOID(db_.query("UPDATE queue_recipients SET state = ?2, attempts = max(attempts - ?3, 0), last_reply = ?4 "
                           "WHERE id = ?1")
                     .bind(id, RecipientState::held, begun, why)
                     .run());
        TRY(const QueueItem owner, item(before.queue));
        TRY_VOID(tell_of(context_, owner, before, EventKind::held, why));
        touch(before.queue);
    }
    return {};
}

Result<> QueueImpl::release(QueueId id) {
    TRY_VOID(shift(id, Shift{RecipientState::held, RecipientState::held, RecipientState::waiting, EventKind::released,
                             "released, due at once"}));
    return db_.query("INSERT OR IGNORE INTO queue_kicks (queue) VALUES (?1)").bind(id).run();
}

Result<> QueueImpl::cancel(QueueId id) {
    return shift(id, Shift{RecipientState::waiting, RecipientState::held, RecipientState::cancelled,
                           EventKind::cancelled, "taken out of the queue without a notice to the sender"});
}

Result<> QueueImpl::drop_finished() {
    for (const QueueId id : context_.write->touched_items) {
        {
            // From the end: a job to many is worked off from its beginning.
            Query q = db_.query(
                "SELECT 1 FROM queue_recipients WHERE queue = ?1 AND state IN (0, 1, 4) ORDER BY id DESC LIMIT 1");
            TRY(const bool open, q.bind(id).row());
            if (open) continue;
        }
        Query gone = db_.query("DELETE FROM queue_items WHERE id = ?1 RETURNING message");
        TRY(const bool was_there, gone.bind(id).row());
        if (!was_there) continue;
        change_refs(context_, gone.id<MessageId>(0), -1);
        TRY_VOID(db_.query("DELETE FROM queue_recipients WHERE queue = ?1").bind(id).run());
    }
    context_.write->touched_items.clear();
    return {};
}

}  // namespace posthouse::storage
