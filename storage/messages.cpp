#include <fmt/format.h>

#include <algorithm>

#include "storage/context.h"

namespace posthouse::storage {

Result<> insert_message(Context& context, const PlacedBody& placed, const mime::MessageFacts& facts,
                        std::int64_t refs) {
    return context.db
        .query(
            "INSERT INTO messages (id, segment, position, stored_octets, size_octets, refs, header_octets, hops, "
            "date_ms, message_id, in_reply_to, subject, from_text, to_text, envelope, structure) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)")
        .bind(placed.message, placed.placement.segment, placed.placement.position, placed.placement.payload_octets,
              placed.body->size_octets(), refs, facts.header_octets, facts.received_hops, facts.date, facts.message_id,
              facts.in_reply_to, facts.subject, facts.from, facts.to, Blob(facts.envelope), Blob(facts.structure))
        .run();
}

void change_refs(Context& context, MessageId message, std::int64_t by) { context.write->ref_changes[message] += by; }

Result<> note_dead(Connection& db, std::int64_t segment, std::uint64_t payload_octets) {
    return db.query("UPDATE segments SET dead_octets = dead_octets + ?2 WHERE id = ?1")
        .bind(segment, payload_octets + kRecordHeaderOctets)
        .run();
}

// Messages that came one after the other and are copied together have ids in a row: one statement for all of them.
Result<> apply_ref_changes(Context& context) {
    const auto& changes = context.write->ref_changes;
    for (auto at = changes.begin(); at != changes.end();) {
        const auto first = at++;
        std::int64_t last = raw(first->first);
        while (at != changes.end() && raw(at->first) == last + 1 && at->second == first->second) {
            ++last;
            ++at;
        }
        if (first->second == 0) continue;
        TRY_VOID(context.db.query("UPDATE messages SET refs = refs + ?3 WHERE id BETWEEN ?1 AND ?2")
                     .bind(first->first, last, first->second)
                     .run());
    }
    return {};
}

Result<> settle_refs(Context& context) {
    TRY_VOID(apply_ref_changes(context));
    for (const auto& [message, by] : context.write->ref_changes) {
        if (by > 0 || (by == 0 && context.write->is_added(message))) continue;
        std::int64_t segment = 0;
        std::uint64_t octets = 0;
        {
            Query q = context.db.query("SELECT segment, stored_octets FROM messages WHERE id = ?1 AND refs <= 0");
            TRY(const bool unused, q.bind(message).row());
            if (!unused) continue;
            segment = q.i64(0);
            octets = q.u64(1);
        }
        TRY_VOID(context.db.query("DELETE FROM messages WHERE id = ?1").bind(message).run());
        TRY_VOID(note_dead(context.db, segment, octets));
    }
    context.write->ref_changes.clear();
    return {};
}

Result<const PlacedBody*> placed_body(const Context& context, const StagedBodyPtr& body) {
    for (const PlacedBody& placed : context.write->bodies) {
        if (placed.body == body.get()) return &placed;
    }
    return Error(Errc::invalid, "the body was not given to the write that names it");
}

Result<BodyReader> open_body(const Context& context, MessageId message) {
    Placement placement;
    std::uint64_t size = 0;
    {
        Query q = context.db.query("SELECT segment, position, stored_octets, size_octets FROM messages WHERE id = ?1");
        TRY(const bool found, q.bind(message).row());
        if (!found) return Error(Errc::not_found, fmt::format("there is no message {}", raw(message)));
        placement = Placement{q.i64(0), q.u64(1), q.u64(2)};
        size = q.u64(3);
    }
    return context.segments.open(message, placement, size);
}

Result<mime::MessageFacts> load_facts(const Context& context, MessageId message) {
    Query q = context.db.query("SELECT " POSTHOUSE_FACT_COLUMNS " FROM messages m WHERE m.id = ?1");
    TRY(const bool found, q.bind(message).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no message {}", raw(message)));
    return facts_of(q, 0);
}

mime::MessageFacts facts_of(const Query& row, int column) {
    mime::MessageFacts facts;
    facts.envelope = row.text(column);
    facts.structure = row.text(column + 1);
    facts.subject = row.text(column + 2);
    facts.from = row.text(column + 3);
    facts.to = row.text(column + 4);
    facts.message_id = row.text(column + 5);
    facts.in_reply_to = row.text(column + 6);
    if (!row.is_null(column + 7)) facts.date = row.time(column + 7);
    facts.size_octets = row.u64(column + 8);
    facts.header_octets = row.u32(column + 9);
    facts.received_hops = row.u32(column + 10);
    return facts;
}

}  // namespace posthouse::storage
