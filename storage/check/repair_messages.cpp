// Messages whose octets or rows are lost. In this order: a record of theirs somewhere in the segments; their octets
// where they should lie, though the record's header is damaged, if they say what mail.db knows of them; else set aside.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "storage/check/holders.h"
#include "storage/check/message_index.h"
#include "storage/check/record_reader.h"
#include "storage/check/repair.h"
#include "storage/check/walk.h"
#include "storage/staged.h"

namespace posthouse::storage {
namespace {

using Ids = std::set<std::int64_t>;

struct Record {
    Placement where;
    std::uint8_t flags = 0;
    std::uint32_t crc = 0;
    bool in_line = true;
};
using Records = std::multimap<std::int64_t, Record>;

struct Lost {
    Ids rowless;  ///< named by entries or the queue, but without a row of their own
    Ids unread;   ///< with a row that leads to no record
    Ids all() const {
        Ids out = rowless;
        out.insert(unread.begin(), unread.end());
        return out;
    }
};

Result<Lost> find_lost(Store& store, const Findings& findings) {
    return store.read([&](const Snapshot& snapshot) -> Result<Lost> {
        Connection& db = context_of(snapshot).db;
        Lost lost;
        for (const auto& target : findings.targets(FaultKind::entry_without_message)) {
            Query q = db.query("SELECT message FROM entries WHERE mailbox = ?1 AND uid = ?2");
            TRY(const bool found, q.bind(target.a, target.b).row());
            if (found) lost.rowless.insert(q.i64(0));
        }
        for (const auto& target : findings.targets(FaultKind::deleted_without_message)) lost.rowless.insert(target.a);
        for (const auto& target : findings.targets(FaultKind::queue_without_message)) lost.rowless.insert(target.b);
        for (const FaultKind kind : {FaultKind::message_place, FaultKind::body_unreadable}) {
            for (const auto& target : findings.targets(kind)) lost.unread.insert(target.a);
        }
        for (const auto& target : findings.targets(FaultKind::messages_overlap)) {
            lost.unread.insert(target.a);
            lost.unread.insert(target.b);
        }
        return lost;
    });
}

/// By number, each with no end: a segment that lost its own row is searched too.
std::map<std::int64_t, std::uint64_t> segment_files(const Directory& directory) {
    std::map<std::int64_t, std::uint64_t> out;
    std::error_code ignored;
    for (const auto& item : std::filesystem::directory_iterator(directory.path() + "/segments", ignored)) {
        const std::string name = item.path().filename();
        const std::int64_t number = std::strtoll(name.c_str(), nullptr, 10);
        if (number > 0 && segment_name(number) == name) out.emplace(number, ~std::uint64_t{0});
    }
    return out;
}

/// Every record of these messages in any segment; what lies in the octets of a living message does not count.
Result<Records> search_segments(Store& store, const Ids& ids, const CheckObserver& observer) {
    Directory& directory = directory_of(store);
    MessageIndex living;
    std::map<std::int64_t, std::uint64_t> segments = segment_files(directory);
    TRY_VOID(store.read([&](const Snapshot& snapshot) -> Result<> {
        Connection& db = context_of(snapshot).db;
        TRY_VOID(living.load(db));
        Query q = db.query("SELECT id, octets FROM segments ORDER BY id");
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return {};
            segments[q.i64(0)] = q.u64(1);
        }
    }));
    living.sort_by_place();
    const auto inside_living = [&](std::int64_t segment, std::uint64_t position) {
        const auto key = std::pair(static_cast<std::uint32_t>(segment), position);
        const auto after = std::ranges::lower_bound(
            living.rows(), key, {}, [](const MessageRow& row) { return std::pair(row.segment, row.position); });
        if (after == living.rows().begin()) return false;
        const MessageRow& before = *std::prev(after);
        return before.segment == segment && position < before.end() && !ids.contains(before.id);
    };
    Records out;
    std::uint64_t done = 0;
    for (const auto& [segment, octets] : segments) {
        if (!observer(done++, segments.size(), 0, "searching segments for lost messages")) break;
        const auto file = open_beneath(directory.segments(), segment_name(segment), O_RDONLY);
        if (!file) continue;
        TRY(const std::uint64_t size, size_of(*file));
        SegmentWalk walk(*file, kFileHeaderOctets, std::min(size, octets));
        for (auto found = walk.next(); found; found = walk.next()) {
            const std::int64_t id = raw(found->header.message);
            if (!ids.contains(id) || (!found->in_line && inside_living(segment, found->position))) continue;
            out.emplace(id, Record{Placement{segment, found->position, found->header.payload_octets},
                                   found->header.flags, found->header.payload_crc, found->in_line});
        }
    }
    return out;
}

struct Candidate {
    Placement where;
    std::string message;
    bool whole = false;  ///< its checksum holds
};

/// The best record of a message: one whose checksum holds before one whose does not.
std::optional<Candidate> choose(RecordReader& reader, const Records& records, std::int64_t id) {
    std::optional<Candidate> best;
    const auto [first, last] = records.equal_range(id);
    for (auto it = first; it != last; ++it) {
        const Record& record = it->second;
        auto payload = reader.payload(record.where);
        if (!payload) continue;
        const bool whole = payload->size() == record.where.payload_octets && crc_of_octets(0, *payload) == record.crc;
        Candidate one;
        one.where = record.where;
        one.whole = whole;
        if (record.flags == kRecordZstd) {
            // The frame says how large it becomes only to who tries: the limit of a message is limit enough.
            constexpr std::uint64_t kTryOctets[] = {1U << 20U, 16U << 20U, 256U << 20U};
            bool unpacked = false;
            for (const std::uint64_t most : kTryOctets) {
                auto plain = RecordReader::unpack_any(*payload, most);
                if (!plain) continue;
                one.message = *std::move(plain);
                unpacked = true;
                break;
            }
            if (!unpacked) continue;
        } else {
            one.message = *std::move(payload);
        }
        if (!best || (whole && !best->whole)) best = std::move(one);
        if (best->whole) break;
    }
    return best;
}

/// Enters a message again that lost its row.
Result<> enter_again(Tx& tx, std::int64_t id, const Candidate& found) {
    Context& context = context_of(tx);
    {
        Query q = context.db.query("SELECT 1 FROM messages WHERE id = ?1");
        TRY(const bool there, q.bind(id).row());
        if (there) return {};
    }
    TRY(const auto holders, find_holders(context.db, {id}));
    const auto held = holders.find(id);
    if (held == holders.end()) return {};
    const Staged body(found.message);
    const PlacedBody placed{&body, static_cast<MessageId>(id), found.where};
    return insert_message(context, placed, mime::compute_facts(found.message),
                          static_cast<std::int64_t>(held->second.size()));
}

/// The row leads to the record that was found.
Result<> lead_to(Tx& tx, std::int64_t id, const Candidate& found) {
    return context_of(tx)
        .db.query("UPDATE messages SET segment = ?2, position = ?3, stored_octets = ?4, size_octets = ?5 WHERE id = ?1")
        .bind(id, found.where.segment, found.where.position, found.where.payload_octets, found.message.size())
        .run();
}

struct Known {
    Placement where;
    mime::MessageFacts facts;
};

Result<std::optional<Known>> known_of(Store& store, std::int64_t id) {
    return store.read([&](const Snapshot& snapshot) -> Result<std::optional<Known>> {
        Query q = context_of(snapshot).db.query("SELECT " POSTHOUSE_FACT_COLUMNS
                                                ", m.segment, m.position, m.stored_octets FROM messages m "
                                                "WHERE m.id = ?1");
        TRY(const bool found, q.bind(id).row());
        if (!found) return std::optional<Known>();
        return std::optional<Known>(Known{Placement{q.i64(11), q.u64(12), q.u64(13)}, facts_of(q, 0)});
    });
}

/// The octets behind a damaged header, if they are beyond doubt those of this message.
std::optional<std::string> behind_header(RecordReader& reader, const Known& known) {
    auto payload = reader.payload(known.where);
    if (!payload || payload->size() != known.where.payload_octets) return std::nullopt;
    const bool plain = payload->size() == known.facts.size_octets;
    for (const std::uint8_t flags : {plain ? std::uint8_t{0} : kRecordZstd, kRecordZstd}) {
        auto message = RecordReader::unpack(*payload, flags, known.facts.size_octets);
        if (!message) continue;
        const mime::MessageFacts facts = mime::compute_facts(*message);
        const bool same = facts.envelope == known.facts.envelope && facts.structure == known.facts.structure &&
                          facts.header_octets == known.facts.header_octets &&
                          facts.message_id == known.facts.message_id && facts.subject == known.facts.subject;
        if (same) return *std::move(message);
    }
    return std::nullopt;
}

/// Stores the octets anew and lets everything that named the old message name the new one.
Result<> store_anew(Store& store, std::int64_t id, const std::string& octets) {
    auto writer = store.stage();
    TRY_VOID(writer->append(octets));
    TRY(const StagedBodyPtr body, writer->finish());
    return store.write({body}, [&](Tx& tx) -> Result<> {
        Context& context = context_of(tx);
        TRY(const mime::MessageFacts facts, load_facts(context, static_cast<MessageId>(id)));
        TRY(const auto holders, find_holders(context.db, {id}));
        const auto held = holders.find(id);
        const auto count = held == holders.end() ? 0 : static_cast<std::int64_t>(held->second.size());
        TRY(const MessageId anew, tx.add_message(body, facts));
        change_refs(context, anew, count);
        const auto move = [&](Sql sql) { return context.db.query(sql).bind(id, anew).run(); };
        TRY_VOID(move("UPDATE entries SET message = ?2 WHERE message = ?1"));
        TRY_VOID(move("UPDATE deleted_entries SET message = ?2 WHERE message = ?1"));
        TRY_VOID(move("UPDATE queue_items SET message = ?2 WHERE message = ?1"));
        TRY_VOID(move("UPDATE events SET message = ?2 WHERE message = ?1"));
        TRY_VOID(move("UPDATE event_keys SET message = ?2 WHERE message = ?1"));
        TRY_VOID(move("UPDATE messages SET refs = 0 WHERE id = ?1 AND ?2 > 0"));
        change_refs(context, static_cast<MessageId>(id), 0);  // nothing names it any more: it goes
        return {};
    });
}

std::string told(const Holder& holder, const std::optional<Known>& known) {
    std::string out = describe({holder});
    if (known) out += fmt::format(" (subject \"{}\", from {})", known->facts.subject, known->facts.from);
    return out;
}

Result<> drop_entry(Tx& tx, const Holder& holder, bool has_row) {
    Context& context = context_of(tx);
    AccountId account{};
    {
        Query q = context.db.query("SELECT account FROM mailboxes WHERE id = ?1");
        TRY(const bool found, q.bind(holder.mailbox).row());
        if (!found) return {};  // first it needs a mailbox: the next round
        account = q.id<AccountId>(0);
    }
    const std::vector<Uid> uids = {static_cast<Uid>(holder.uid)};
    TRY_VOID(tx.mail(account).expunge(static_cast<MailboxId>(holder.mailbox), uids));
    // Nothing could be restored of it.
    TRY_VOID(context.db
                 .query("DELETE FROM deleted_entries WHERE account = ?1 AND deleted_ms = ?2 AND mailbox = ?3 AND "
                        "uid = ?4")
                 .bind(account, tx.now(), holder.mailbox, holder.uid)
                 .run());
    if (has_row) change_refs(context, holder.place.message, -1);
    return {};
}

/// What cannot be had any more leaves the mailboxes in the ordinary way, each noted before.
Result<> set_aside(Repairer& repairer, Tx& tx, std::int64_t id, const std::optional<Known>& known) {
    Context& context = context_of(tx);
    TRY(const auto holders, find_holders(context.db, {id}));
    const auto held = holders.find(id);
    if (held != holders.end()) {
        for (const Holder& holder : held->second) {
            TRY_VOID(repairer.notes.note(
                fmt::format("message {}: its octets are nowhere; removed from {}", id, told(holder, known))));
            if (holder.kind == Holder::Kind::entry) {
                TRY_VOID(drop_entry(tx, holder, known.has_value()));
            } else if (holder.kind == Holder::Kind::queue) {
                TRY_VOID(drop_queue_item(repairer, tx, holder.mailbox, "its octets are lost"));
            } else {
                TRY_VOID(
                    context.db.query("DELETE FROM deleted_entries WHERE message = ?1 AND mailbox = ?2 AND uid = ?3")
                        .bind(id, holder.mailbox, holder.uid)
                        .run());
                if (known) change_refs(context, holder.place.message, -1);
            }
        }
    } else if (known) {
        TRY_VOID(
            repairer.notes.note(fmt::format("message {} (subject \"{}\", from {}): its octets are nowhere, and it is "
                                            "in no mailbox; forgotten",
                                            id, known->facts.subject, known->facts.from)));
        change_refs(context, static_cast<MessageId>(id), 0);
        TRY_VOID(context.db.query("UPDATE messages SET refs = 0 WHERE id = ?1").bind(id).run());
    }
    return {};
}

Result<> mend_unread(Repairer& repairer, RecordReader& reader, const Records& records, std::int64_t id) {
    TRY(const std::optional<Known> known, known_of(repairer.store, id));
    if (!known) return {};
    // Other messages of the same fault may have been right all along (two rows that overlap).
    const auto look = [&] {
        return reader.look(static_cast<MessageId>(id), known->where, known->facts.size_octets, Want::verdict).state;
    };
    const bool placed = known->where.segment > 0 && known->where.payload_octets <= (1ULL << 31U);
    if (placed && look() != BodyState::unreadable) return {};
    if (const std::optional<Candidate> found = choose(reader, records, id)) {
        return repairer.store.write({}, [&](Tx& tx) { return lead_to(tx, id, *found); });
    }
    if (placed) {
        if (const auto octets = behind_header(reader, *known)) return store_anew(repairer.store, id, *octets);
    }
    return repairer.store.write({}, [&](Tx& tx) { return set_aside(repairer, tx, id, known); });
}

}  // namespace

Result<> drop_queue_item(Repairer& repairer, Tx& tx, std::int64_t item, std::string_view why) {
    Context& context = context_of(tx);
    const auto id = static_cast<QueueId>(item);
    MessageId message{};
    {
        Query q = context.db.query("SELECT message, reverse_path FROM queue_items WHERE id = ?1");
        TRY(const bool found, q.bind(item).row());
        if (!found) return {};
        message = q.id<MessageId>(0);
        TRY_VOID(repairer.notes.note(
            fmt::format("{} from <{}> taken out of the queue: {}", format_queue_id(id), q.view(1), why)));
    }
    Event event;
    event.kind = EventKind::cancelled;
    event.message = message;
    event.queue = id;
    event.detail = fmt::format("taken out of the queue by fsck: {}", why);
    TRY_VOID(tx.events().append(event));
    TRY_VOID(context.db.query("DELETE FROM queue_recipients WHERE queue = ?1").bind(item).run());
    TRY_VOID(context.db.query("DELETE FROM queue_items WHERE id = ?1").bind(item).run());
    change_refs(context, message, -1);
    context.write->queue_is_due();
    return {};
}

Result<> repair_lost_messages(Repairer& repairer, const Findings& findings, const CheckObserver& observer) {
    TRY(const Lost lost, find_lost(repairer.store, findings));
    if (lost.rowless.empty() && lost.unread.empty()) return {};
    TRY(const Records records, search_segments(repairer.store, lost.all(), observer));
    RecordReader reader(directory_of(repairer.store));
    for (const std::int64_t id : lost.rowless) {
        const std::optional<Candidate> found = choose(reader, records, id);
        TRY_VOID(repairer.store.write({}, [&](Tx& tx) -> Result<> {
            if (found) return enter_again(tx, id, *found);
            return set_aside(repairer, tx, id, std::nullopt);
        }));
    }
    for (const std::int64_t id : lost.unread) {
        reader.forget();
        TRY_VOID(mend_unread(repairer, reader, records, id));
    }
    return {};
}

}  // namespace posthouse::storage
