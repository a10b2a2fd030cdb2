// Everything anew from the events: the figures, and who waits in the queue. One pass over the log, which lies by
// message, beside the writers; then day by day: what was written meanwhile is added, and a day that is not as the
// events say is replaced in a write of its own. What is right costs no write.
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
    std::uint32_t attempts = 0;
    Time next{};
    bool is_whole = true;  ///< its events say attempts and next
    bool is_open() const { return state == RecipientState::waiting || state == RecipientState::held; }
};

/// The events of one message after another.
class Lives {
 public:
    /// Counts what lies behind `after`; null: counts nothing.
    Lives(ReportTally* tally, std::int64_t after, Replayed which = Replayed::open)
        : tally_(tally), after_(after), which_(which) {}

    void take(MessageId message, const Event& event) {
        if (message != message_ || raw(message) == 0) finish();
        message_ = message;
        if (!event.sender.empty()) sender_ = event.sender;
        const std::pair<std::int64_t, std::string> who(raw(event.queue), event.recipient);
        if (begins_life(event.kind) && event.kind != EventKind::queued) {
            // In the queue it is the end: it was not sent.
            const auto queued = known_.find(who);
            const bool ends = event.kind == EventKind::suppressed && queued != known_.end();
            if (ends) end(queued->second, event, RecipientState::failed);
            return count(event, event.facts, nullptr);
        }
        if (raw(event.queue) == 0) return;
        if (event.kind == EventKind::queued) {
            Known fresh;
            fresh.accepted = event.at;
            fresh.next = event.facts.next == Time{} ? event.at : event.facts.next;
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
            if (which_ == Replayed::open && !one.is_open()) continue;
            ReplayedRecipient open;
            open.queue = who.first;
            open.address = who.second;
            open.state = one.state;
            open.reply_class = one.reply_class;
            if (one.is_whole) open.attempts = one.attempts;
            if (one.is_whole && one.state == RecipientState::waiting) open.next = one.next;
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
    static void end(Known& one, const Event& event, RecipientState state) {
        one.state = state;
        if (event.facts.tries) one.attempts = *event.facts.tries;
        const bool says = event.facts.tries || event.kind == EventKind::cancelled;
        one.is_whole = one.is_whole && says;
    }
    static void wait(Known& one, const Event& event) {
        one.state = RecipientState::waiting;
        if (event.kind == EventKind::released || event.kind == EventKind::hurried) {
            one.next = event.at;
            return;
        }
        if (event.facts.tries) one.attempts = *event.facts.tries;
        one.is_whole = one.is_whole && event.facts.tries;
        if (event.kind == EventKind::attempted) one.next = event.facts.next;
    }
    static void advance(Known& one, const Event& event) {
        if (!one.is_open()) return;  // a bounce that came late
        switch (event.kind) {
            case EventKind::attempted:
            case EventKind::released:
            case EventKind::interrupted:
            case EventKind::hurried: wait(one, event); break;
            case EventKind::held:
                one.state = RecipientState::held;
                if (event.facts.tries) one.attempts = *event.facts.tries;
                break;
            case EventKind::delivered: end(one, event, RecipientState::delivered); break;
            case EventKind::bounced: end(one, event, RecipientState::failed); break;
            case EventKind::cancelled: end(one, event, RecipientState::cancelled); break;
            default: return;
        }
        if (!event.facts.reply_class.empty()) one.reply_class = event.facts.reply_class;
        if (event.kind == EventKind::delivered) one.reply_class = "delivered";
    }

    ReportTally* tally_;
    std::int64_t after_;
    Replayed which_;
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

Result<Rows> stored_rows(Connection& db, std::int64_t day) {
    Rows out;
    Query q = db.query(
        "SELECT r.day, r.who, r.domain, r.destination, r.provider, r.way, r.source, c.what, c.class, c.n "
        "FROM report_rows r JOIN report_counts c ON c.row = r.id WHERE r.day = ?1");
    q.bind(day);
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

/// What is known so far, and up to which event.
struct Anew {
    ReportTally tally;
    std::int64_t seen = 0;
    std::int64_t from_day = 0;
};

/// What came behind it.
struct Rest {
    ReportTally tally;
    std::int64_t seen = 0;
    std::uint64_t events = 0;
    std::uint64_t differed = 0;
};

Result<Rest> read_rest(Connection& db, const Anew& anew) {
    Rest out;
    TRY(out.events, scan_rest(db, anew.seen, out.tally));
    TRY(out.seen, db.value("SELECT value FROM counters WHERE name = 'event'"));
    return out;
}

void take_rest(Anew& anew, Rest&& rest, ReportRebuild& out) {
    anew.tally.merge(std::move(rest.tally));
    anew.seen = rest.seen;
    out.events += rest.events;
}

Rows rows_of(std::int64_t day, const ReportTally& known, const ReportTally& rest) {
    Rows out;
    for (const ReportTally* const tally : {&known, &rest}) {
        for (const auto& [key, cells] : tally->rows()) {
            if (key.day != day) continue;
            for (const auto& [cell, n] : cells) out[key][cell] += n;
        }
    }
    return out;
}

/// Days that have figures, or should.
Result<std::set<std::int64_t>> days_of(Connection& db, const Anew& anew) {
    std::set<std::int64_t> out;
    Query q = db.query("SELECT DISTINCT day FROM report_rows WHERE day >= ?1");
    q.bind(anew.from_day);
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        out.insert(q.i64(0));
    }
    for (const auto& [key, cells] : anew.tally.rows()) {
        if (key.day >= anew.from_day) out.insert(key.day);
    }
    return out;
}

/// A day whose figures are not as the events say: made right in one write, together with what has come since.
Result<Rest> replace_day(Tx& tx, std::int64_t day, const Anew& anew) {
    Connection& db = context_of(tx).db;
    TRY(Rest rest, read_rest(db, anew));
    const Rows is = rows_of(day, anew.tally, rest.tally);
    TRY(const Rows was, stored_rows(db, day));
    rest.differed = differing(was, is);
    if (rest.differed == 0) return rest;
    TRY_VOID(
        db.query("DELETE FROM report_counts WHERE row IN (SELECT id FROM report_rows WHERE day = ?1)").bind(day).run());
    TRY_VOID(db.query("DELETE FROM report_rows WHERE day = ?1").bind(day).run());
    ReportTally whole;
    for (const auto& [key, cells] : is) whole.put(key, cells);
    ReportRowCount known;
    TRY_VOID(write_tally(db, whole, known, Others::known));
    return rest;
}

/// Looks at a day beside the writers; what is right is not written.
Result<> make_right(Store& store, std::int64_t day, Anew& anew, ReportRebuild& out) {
    bool is_right = false;
    std::uint64_t figures = 0;
    TRY(Rest seen, store.read([&](const Snapshot& snapshot) -> Result<Rest> {
        Connection& db = context_of(snapshot).db;
        TRY(Rest rest, read_rest(db, anew));
        const Rows is = rows_of(day, anew.tally, rest.tally);
        TRY(const Rows was, stored_rows(db, day));
        is_right = differing(was, is) == 0;
        for (const auto& [key, cells] : is) figures += cells.size();
        return rest;
    }));
    take_rest(anew, std::move(seen), out);
    out.figures += figures;
    if (is_right) return {};
    TRY(Rest written, store.write_value({}, [&](Tx& tx) { return replace_day(tx, day, anew); }));
    out.differed += written.differed;
    take_rest(anew, std::move(written), out);
    return {};
}

/// Recipients that are not in both, or not the same there as far as the events say.
std::uint64_t unlike(const std::vector<ReplayedRecipient>& stored, const std::vector<ReplayedRecipient>& replayed) {
    using Name = std::pair<std::int64_t, std::string>;
    std::multimap<Name, const ReplayedRecipient*> left;
    for (const ReplayedRecipient& one : stored) left.emplace(Name(one.queue, one.address), &one);
    std::set<Name> out;
    for (const ReplayedRecipient& one : replayed) {
        const Name name(one.queue, one.address);
        const auto found = left.find(name);
        if (found == left.end()) {
            out.insert(name);
            continue;
        }
        ReplayedRecipient is = *found->second;
        left.erase(found);
        if (!one.attempts) is.attempts.reset();
        if (!one.attempts) is.next.reset();
        if (is != one) out.insert(name);
    }
    for (const auto& [name, one] : left) out.insert(name);
    return out.size();
}

}  // namespace

Result<std::vector<ReplayedRecipient>> replay_queue(const Snapshot& snapshot, Replayed which) {
    Lives lives(nullptr, 0, which);
    TRY_VOID(scan(context_of(snapshot).db.query("SELECT " SCAN_COLUMNS " FROM events ORDER BY message, id"), lives));
    return std::move(lives.open());
}

Result<std::vector<ReplayedRecipient>> stored_queue(const Snapshot& snapshot) {
    std::vector<ReplayedRecipient> out;
    Query q = context_of(snapshot).db.query(
        "SELECT queue, address, state, last_class, attempts, next_attempt_ms FROM queue_recipients WHERE state IN (0, "
        "1, "
        "4)");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) break;
        ReplayedRecipient one;
        one.queue = q.i64(0);
        one.address = q.text(1);
        const auto state = static_cast<RecipientState>(q.i64(2));
        one.state = state == RecipientState::held ? state : RecipientState::waiting;
        one.reply_class = q.text(3);
        one.attempts = q.u32(4) - (state == RecipientState::sending ? 1 : 0);
        if (one.state == RecipientState::waiting) one.next = q.time(5);
        out.push_back(std::move(one));
    }
    std::ranges::sort(out);
    return out;
}

Result<ReportRebuild> report_rebuild(Store& store) {
    ReportRebuild out;
    Anew anew;
    std::set<std::int64_t> days;
    TRY_VOID(store.read([&](const Snapshot& snapshot) -> Result<> {
        Connection& db = context_of(snapshot).db;
        Lives lives(&anew.tally, 0);
        TRY(out.events, scan(db.query("SELECT " SCAN_COLUMNS " FROM events ORDER BY message, id"), lives));
        TRY(const auto queue, stored_queue(snapshot));
        out.queue_differs = unlike(queue, lives.open());
        TRY(anew.seen, db.value("SELECT value FROM counters WHERE name = 'event'"));
        TRY(anew.from_day, db.value("SELECT coalesce((SELECT value FROM counters WHERE name = 'events_from_day'), 0)"));
        TRY(days, days_of(db, anew));
        return {};
    }));
    out.from_day = anew.from_day;
    for (const std::int64_t day : days) TRY_VOID(make_right(store, day, anew, out));
    return out;
}

}  // namespace posthouse::storage
