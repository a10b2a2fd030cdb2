#include <fmt/format.h>

#include <map>
#include <vector>

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

namespace {

Result<> add_dead(Connection& db, std::int64_t segment, std::uint64_t octets) {
    return db.query("UPDATE segments SET dead_octets = dead_octets + ?2 WHERE id = ?1").bind(segment, octets).run();
}

}  // namespace

Result<> note_dead(Connection& db, std::int64_t segment, std::uint64_t payload_octets) {
    return add_dead(db, segment, payload_octets + kRecordHeaderOctets);
}

namespace {

/// Messages whose count of references changes alike and whose ids are in a row, as of those that came one after the
/// other: one statement for all of them.
struct RefRun {
    std::int64_t first = 0;
    std::int64_t last = 0;
    std::int64_t by = 0;
    bool may_go = false;  ///< one that this write has added may still be named by it
};

std::vector<RefRun> runs_of(const WriteState& write) {
    std::vector<RefRun> out;
    for (const auto& [message, by] : write.ref_changes) {
        const bool may_go = by < 0 || (by == 0 && !write.is_added(message));
        const bool goes_on =
            !out.empty() && raw(message) == out.back().last + 1 && by == out.back().by && may_go == out.back().may_go;
        if (goes_on) {
            ++out.back().last;
        } else {
            out.push_back(RefRun(raw(message), raw(message), by, may_go));
        }
    }
    return out;
}

// Those of a run that nothing names any more. Gives back how many; their octets are noted by segment.
Result<std::int64_t> drop_unused(Connection& db, const RefRun& run, std::map<std::int64_t, std::uint64_t>& dead) {
    Query q = db.query(
        "DELETE FROM messages WHERE id BETWEEN ?1 AND ?2 AND refs + ?3 <= 0 RETURNING segment, stored_octets");
    q.bind(run.first, run.last, run.by);
    for (std::int64_t gone = 0;; ++gone) {
        TRY(const bool more, q.row());
        if (!more) return gone;
        dead[q.i64(0)] += q.u64(1) + kRecordHeaderOctets;
    }
}

}  // namespace

Result<> settle_refs(Context& context) {
    std::map<std::int64_t, std::uint64_t> dead;
    for (const RefRun& run : runs_of(*context.write)) {
        std::int64_t left = run.last - run.first + 1;
        if (run.may_go) {
            TRY(const std::int64_t gone, drop_unused(context.db, run, dead));
            left -= gone;
        }
        if (run.by == 0 || left == 0) continue;
        TRY_VOID(context.db.query("UPDATE messages SET refs = refs + ?3 WHERE id BETWEEN ?1 AND ?2")
                     .bind(run.first, run.last, run.by)
                     .run());
    }
    for (const auto& [segment, octets] : dead) TRY_VOID(add_dead(context.db, segment, octets));
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
