// Everything anew from the events: the figures, and who waits in the queue. One pass over the log, which lies by
// message; what was written meanwhile follows within the write that puts the figures in their place.
#include <algorithm>
#include <functional>
#include <set>

#include "protocols/base/ascii.h"
#include "storage/catalog_impl.h"
#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/report.h"
#include "storage/report_tally.h"

namespace posthouse::storage {
namespace {

/// What is known of a recipient in the queue while the events of its message go by.
struct Known {
    Time accepted{};
    EventFacts facts;
    std::string reply_class;
    RecipientState state = RecipientState::waiting;
};

/// The events of one message after another.
class Lives {
 public:
    /// Counts what lies behind `after`; null: counts nothing.
    Lives(ReportTally* tally, std::int64_t after) : tally_(tally), after_(after) {}

    void take(MessageId message, const Event& event) {
        if (message != message_ || raw(message) == 0) finish();
        message_ = message;
        if (!event.sender.empty()) sender_ = event.sender;
        const std::pair<std::int64_t, std::string> who(raw(event.queue), event.recipient);
        if (begins_life(event.kind) && event.kind != EventKind::queued) {
            // In the queue it is the end: it was not sent.
            const auto queued = known_.find(who);
            const bool ends = event.kind == EventKind::suppressed && queued != known_.end();
            if (ends) queued->second.state = RecipientState::failed;
            return count(event, event.facts, nullptr);
        }
        if (raw(event.queue) == 0) return;
        if (event.kind == EventKind::queued) {
            Known fresh;
            fresh.accepted = event.at;
            fresh.facts = event.facts;
            // Written before there were facts.
            if (fresh.facts == EventFacts()) fresh.facts.domain = ascii::to_lower(domain_of(sender_));
            known_[who] = fresh;
            return count(event, fresh.facts, nullptr);
        }
        const auto found = known_.find(who);
        if (found == known_.end()) return;
        EventFacts facts = event.facts;
        facts.who = found->second.facts.who;
        facts.domain = found->second.facts.domain;
        count(event, facts, &found->second);
        advance(found->second, event);
    }
    /// The last message is over.
    void finish() {
        for (const auto& [who, one] : known_) {
            const bool waits = one.state == RecipientState::waiting;
            if (!waits && one.state != RecipientState::held) continue;
            ReplayedRecipient open;
            open.queue = who.first;
            open.address = who.second;
            open.is_held = !waits;
            open.reply_class = one.reply_class;
            open_.push_back(std::move(open));
        }
        known_.clear();
        sender_.clear();
    }
    std::vector<ReplayedRecipient>& open() { return open_; }

 private:
    void count(const Event& event, const EventFacts& facts, const Known* known) {
        if (tally_ == nullptr || event.id <= after_) return;
        CountedEvent counted;
        counted.kind = event.kind;
        counted.at = event.at;
        counted.recipient = event.recipient;
        if (known != nullptr) {
            counted.accepted = known->accepted;
            counted.is_first_delay = known->reply_class.empty();
        }
        tally_->count(counted, facts);
    }
    static void advance(Known& one, const Event& event) {
        switch (event.kind) {
            case EventKind::attempted:
            case EventKind::released: one.state = RecipientState::waiting; break;
            case EventKind::held: one.state = RecipientState::held; break;
            case EventKind::delivered: one.state = RecipientState::delivered; break;
            case EventKind::bounced: one.state = RecipientState::failed; break;
            case EventKind::cancelled: one.state = RecipientState::cancelled; break;
            default: return;
        }
        if (!event.facts.reply_class.empty()) one.reply_class = event.facts.reply_class;
    }

    ReportTally* tally_;
    std::int64_t after_;
    MessageId message_{};
    std::string sender_;
    std::map<std::pair<std::int64_t, std::string>, Known> known_;
    std::vector<ReplayedRecipient> open_;
};

#define SCAN_COLUMNS "message, id, at_ms, kind, queue, sender, recipient, facts"

Result<std::uint64_t> scan(Query&& q, Lives& lives) {
    std::uint64_t count = 0;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        Event event;
        event.id = q.i64(1);
        event.at = q.time(2);
        event.kind = static_cast<EventKind>(q.i64(3));
        event.queue = q.id<QueueId>(4);
        event.sender = q.text(5);
        event.recipient = q.text(6);
        event.facts = parse_facts(q.view(7));
        lives.take(q.id<MessageId>(0), event);
        ++count;
    }
    lives.finish();
    std::ranges::sort(lives.open());
    return count;
}

/// What was written behind `after` and is committed; what this very batch writes is counted by the batch.
Result<std::uint64_t> scan_rest(Connection& db, std::int64_t after, ReportTally& tally) {
    TRY(const std::int64_t last, db.value("SELECT value FROM counters WHERE name = 'event'"));
    std::set<std::int64_t> messages;
    {
        Query q = db.query("SELECT message FROM events INDEXED BY events_by_id WHERE id > ?1 AND id <= ?2");
        q.bind(after, last);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            messages.insert(q.i64(0));
        }
    }
    std::uint64_t count = 0;
    for (const std::int64_t message : messages) {
        Lives lives(&tally, after);
        TRY(const std::uint64_t more,
            scan(db.query("SELECT " SCAN_COLUMNS " FROM events WHERE message = ?1 AND id <= ?2 AND (message <> 0 OR "
                          "id > ?3) ORDER BY id")
                     .bind(message, last, after),
                 lives));
        count += more;
    }
    return count;
}

using Rows = std::map<ReportKey, ReportTally::Cells>;

Result<Rows> stored_rows(Connection& db, std::int64_t from_day) {
    Rows out;
    Query q = db.query(
        "SELECT r.day, r.who, r.domain, r.destination, r.provider, r.way, r.source, c.what, c.class, c.n "
        "FROM report_rows r JOIN report_counts c ON c.row = r.id WHERE r.day >= ?1");
    q.bind(from_day);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        ReportKey key{q.i64(0), q.text(1), q.text(2), q.text(3), q.text(4), q.text(5), q.text(6)};
        out[std::move(key)][ReportTally::Cell(static_cast<int>(q.i64(7)), q.text(8))] += q.i64(9);
    }
}

std::uint64_t differing(const ReportTally::Cells& a, const ReportTally::Cells& b) {
    std::uint64_t out = 0;
    for (const auto& [cell, n] : a) {
        const auto other = b.find(cell);
        if (other == b.end() || other->second != n) ++out;
    }
    for (const auto& [cell, n] : b) {
        if (!a.contains(cell)) ++out;
    }
    return out;
}

/// By row; of a day that was full by the day, as who came first decides what is told apart.
Rows comparable(const Rows& rows, const std::set<std::int64_t>& full) {
    Rows out;
    for (const auto& [key, cells] : rows) {
        ReportKey as;
        if (full.contains(key.day)) {
            as.day = key.day;
        } else {
            as = key;
        }
        for (const auto& [cell, n] : cells) out[as][cell] += n;
    }
    return out;
}

std::set<std::int64_t> full_days(const Rows& rows) {
    std::map<std::int64_t, std::int64_t> counts;
    for (const auto& [key, cells] : rows) ++counts[key.day];
    std::set<std::int64_t> out;
    for (const auto& [day, n] : counts) {
        if (n >= kReportRowsADay) out.insert(day);
    }
    return out;
}

std::uint64_t differing(const Rows& was, const Rows& is) {
    std::set<std::int64_t> full = full_days(was);
    full.merge(full_days(is));
    const Rows a = comparable(was, full);
    const Rows b = comparable(is, full);
    const ReportTally::Cells none;
    std::uint64_t out = 0;
    for (const auto& [key, cells] : a) {
        const auto other = b.find(key);
        out += differing(cells, other == b.end() ? none : other->second);
    }
    for (const auto& [key, cells] : b) {
        if (!a.contains(key)) out += cells.size();
    }
    return out;
}

Result<> put_in_place(Connection& db, const ReportTally& tally, ReportRebuild& out) {
    TRY(const Rows was, stored_rows(db, out.from_day));
    ReportTally whole;
    for (const auto& [key, cells] : tally.rows()) {
        if (key.day < out.from_day) continue;
        whole.put(key, cells);
        out.figures += cells.size();
    }
    out.differed = differing(was, whole.rows());
    TRY_VOID(db.query("DELETE FROM report_counts WHERE row IN (SELECT id FROM report_rows WHERE day >= ?1)")
                 .bind(out.from_day)
                 .run());
    TRY_VOID(db.query("DELETE FROM report_rows WHERE day >= ?1").bind(out.from_day).run());
    ReportRowCount known;
    return write_tally(db, whole, known);
}

std::uint64_t unlike(const std::vector<ReplayedRecipient>& a, const std::vector<ReplayedRecipient>& b) {
    std::vector<ReplayedRecipient> out;
    std::ranges::set_symmetric_difference(a, b, std::back_inserter(out));
    std::set<std::pair<std::int64_t, std::string>> recipients;
    for (const ReplayedRecipient& one : out) recipients.emplace(one.queue, one.address);
    return recipients.size();
}

}  // namespace

Result<std::vector<ReplayedRecipient>> replay_queue(const Snapshot& snapshot) {
    Lives lives(nullptr, 0);
    TRY_VOID(scan(context_of(snapshot).db.query("SELECT " SCAN_COLUMNS " FROM events ORDER BY message, id"), lives));
    return std::move(lives.open());
}

Result<std::vector<ReplayedRecipient>> stored_queue(const Snapshot& snapshot) {
    std::vector<ReplayedRecipient> out;
    Query q = context_of(snapshot).db.query(
        "SELECT queue, address, state, last_class FROM queue_recipients WHERE state IN (0, 1, 4)");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        ReplayedRecipient one;
        one.queue = q.i64(0);
        one.address = q.text(1);
        one.is_held = static_cast<RecipientState>(q.i64(2)) == RecipientState::held;
        one.reply_class = q.text(3);
        out.push_back(std::move(one));
    }
    std::ranges::sort(out);
    return out;
}

Result<ReportRebuild> report_rebuild(Store& store) {
    ReportRebuild out;
    ReportTally tally;
    TRY(const std::int64_t seen, store.read([&](const Snapshot& snapshot) -> Result<std::int64_t> {
        Connection& db = context_of(snapshot).db;
        Lives lives(&tally, 0);
        TRY(out.events, scan(db.query("SELECT " SCAN_COLUMNS " FROM events ORDER BY message, id"), lives));
        TRY(const auto queue, stored_queue(snapshot));
        out.queue_differs = unlike(queue, lives.open());
        return db.value("SELECT value FROM counters WHERE name = 'event'");
    }));
    TRY_VOID(store.write({}, [&](Tx& tx) -> Result<> {
        Connection& db = context_of(tx).db;
        TRY(const std::uint64_t rest, scan_rest(db, seen, tally));
        out.events += rest;
        TRY(out.from_day, db.value("SELECT coalesce((SELECT value FROM counters WHERE name = 'events_from_day'), 0)"));
        return put_in_place(db, tally, out);
    }));
    return out;
}

}  // namespace posthouse::storage
