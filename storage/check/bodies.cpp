#include "storage/check/bodies.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "storage/check/holders.h"
#include "storage/check/record_reader.h"

namespace posthouse::storage {
namespace {

constexpr std::int64_t kBatchRows = 512;
constexpr std::size_t kHoldersShown = 3;

struct BodyRow {
    MessageId id{};
    Placement where;
    std::uint64_t size_octets = 0;
    mime::MessageFacts facts;  ///< only where they are compared
};

struct BadBody {
    BodyState state = BodyState::good;
    std::string why;
};

BodyRow row_of_query(const Query& q) {
    BodyRow row;
    row.id = q.id<MessageId>(0);
    row.where = Placement{q.i64(1), q.u64(2), q.u64(3)};
    row.size_octets = q.u64(4);
    return row;
}

Result<std::vector<BodyRow>> take_rows(Store& store, std::int64_t after, bool facts) {
    return store.read([&](const Snapshot& snapshot) -> Result<std::vector<BodyRow>> {
        Connection& db = context_of(snapshot).db;
        std::vector<BodyRow> out;
        Query q =
            facts
                ? db.query("SELECT m.id, m.segment, m.position, m.stored_octets, m.size_octets, " POSTHOUSE_FACT_COLUMNS
                           " FROM messages m WHERE m.id > ?1 ORDER BY m.id LIMIT ?2")
                : db.query(
                      "SELECT m.id, m.segment, m.position, m.stored_octets, m.size_octets "
                      "FROM messages m WHERE m.id > ?1 ORDER BY m.id LIMIT ?2");
        q.bind(after, kBatchRows);
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            out.push_back(row_of_query(q));
            if (facts) out.back().facts = facts_of(q, 5);
        }
    });
}

/// The row as it is now; nothing where the message is gone.
Result<std::optional<BodyRow>> row_now(Store& store, MessageId id) {
    return store.read([&](const Snapshot& snapshot) -> Result<std::optional<BodyRow>> {
        Query q = context_of(snapshot).db.query(
            "SELECT m.id, m.segment, m.position, m.stored_octets, m.size_octets FROM messages m WHERE m.id = ?1");
        TRY(const bool found, q.bind(id).row());
        if (!found) return std::optional<BodyRow>();
        return std::optional<BodyRow>(row_of_query(q));
    });
}

bool possible(const BodyRow& row) {
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
    return row.where.segment > 0 && row.where.payload_octets <= kMax && row.size_octets <= kMax &&
           row.where.position <= (1ULL << 62U);
}

bool same_facts(const mime::MessageFacts& a, const mime::MessageFacts& b) {
    // The store keeps milliseconds.
    const auto ms = [](const std::optional<Time>& time) {
        return time ? std::optional(to_unix_ms(*time)) : std::nullopt;
    };
    return a.envelope == b.envelope && a.structure == b.structure && a.subject == b.subject && a.from == b.from &&
           a.to == b.to && a.message_id == b.message_id && a.in_reply_to == b.in_reply_to && ms(a.date) == ms(b.date) &&
           a.header_octets == b.header_octets && a.received_hops == b.received_hops;
}

class BodyCheck {
 public:
    BodyCheck(Store& store, const CheckOptions& options, CheckReport& report)
        : store_(store), options_(options), report_(report), reader_(directory_of(store)) {}

    Result<> batch(std::vector<BodyRow>& rows) {
        std::ranges::sort(rows, {},
                          [](const BodyRow& row) { return std::pair(row.where.segment, row.where.position); });
        for (const BodyRow& row : rows) TRY_VOID(one(row));
        return {};
    }

    /// Names those who have the bad ones.
    Result<> tell() {
        if (bad_.empty() && stale_.empty()) return {};
        std::set<std::int64_t> ids(stale_.begin(), stale_.end());
        for (const auto& [id, found] : bad_) ids.insert(id);
        TRY(const auto holders,
            store_.read([&](const Snapshot& snapshot) { return find_holders(context_of(snapshot).db, ids); }));
        const auto place = [&](std::int64_t id, const std::vector<Holder>& all) {
            Place out = all.empty() ? Place() : all.front().place;
            out.message = static_cast<MessageId>(id);
            return out;
        };
        static const std::vector<Holder> kNobody;
        for (const std::int64_t id : ids) {
            const auto found = holders.find(id);
            const std::vector<Holder>& all = found == holders.end() ? kNobody : found->second;
            const std::string who = fmt::format("message {} ({})", id, describe(all));
            if (const auto one = bad_.find(id); one != bad_.end()) {
                const FaultKind kind =
                    one->second.state == BodyState::damaged ? FaultKind::body_damaged : FaultKind::body_unreadable;
                report_.findings.add(kind, id, 0, fmt::format("{}: {}", who, one->second.why), place(id, all));
            } else {
                report_.findings.add(FaultKind::facts_stale, id, 0,
                                     fmt::format("{}: envelope, structure or header facts differ from its octets", who),
                                     place(id, all));
            }
        }
        return {};
    }

 private:
    Result<> one(const BodyRow& row) {
        const Want want = options_.deep ? Want::message : Want::verdict;
        const BodyLook look = judge(row, want);
        ++report_.bodies_read;
        report_.octets_read += look.octets;
        if (look.state != BodyState::good) return doubt(row);
        if (options_.deep && !same_facts(mime::compute_facts(reader_.message()), row.facts)) stale_.insert(raw(row.id));
        return {};
    }

    BodyLook judge(const BodyRow& row, Want want) {
        if (!possible(row)) return BodyLook{BodyState::unreadable, "its row says an impossible place or size", 0};
        return reader_.look(row.id, row.where, row.size_octets, want);
    }

    /// It may have been moved or removed since the row was read.
    Result<> doubt(const BodyRow& row) {
        reader_.forget();
        TRY(const std::optional<BodyRow> now, row_now(store_, row.id));
        if (!now) return {};
        const BodyLook again = judge(*now, Want::verdict);
        if (again.state != BodyState::good) bad_.emplace(raw(row.id), BadBody{again.state, again.why});
        return {};
    }

    Store& store_;
    const CheckOptions& options_;
    CheckReport& report_;
    RecordReader reader_;
    std::map<std::int64_t, BadBody> bad_;
    std::set<std::int64_t> stale_;
};

}  // namespace

Result<std::map<std::int64_t, std::vector<Holder>>> find_holders(Connection& db,
                                                                 const std::set<std::int64_t>& messages) {
    std::map<std::int64_t, std::vector<Holder>> out;
    const auto take = [&](Query&& q, Holder::Kind kind) -> Result<> {
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return {};
            if (!messages.contains(q.i64(0))) continue;
            Holder holder;
            holder.kind = kind;
            holder.mailbox = q.i64(1);
            holder.uid = q.i64(2);
            holder.place.message = q.id<MessageId>(0);
            out[q.i64(0)].push_back(std::move(holder));
        }
    };
    TRY_VOID(take(db.query("SELECT message, mailbox, uid FROM entries"), Holder::Kind::entry));
    TRY_VOID(take(db.query("SELECT message, mailbox, uid FROM deleted_entries"), Holder::Kind::deleted));
    TRY_VOID(take(db.query("SELECT message, id, 0 FROM queue_items"), Holder::Kind::queue));
    for (auto& [message, holders] : out) {
        for (Holder& holder : holders) {
            if (holder.kind == Holder::Kind::queue) continue;
            Query q = db.query(
                "SELECT a.address, b.name FROM mailboxes b JOIN accounts a ON a.id = b.account WHERE b.id = ?1");
            TRY(const bool found, q.bind(holder.mailbox).row());
            holder.place.account = found ? q.text(0) : std::string();
            holder.place.mailbox = found ? q.text(1) : fmt::format("mailbox {}", holder.mailbox);
            holder.place.uid = static_cast<Uid>(holder.uid);
        }
    }
    return out;
}

std::string describe(const std::vector<Holder>& holders) {
    if (holders.empty()) return "in no mailbox";
    std::string out;
    for (std::size_t i = 0; i < holders.size() && i < kHoldersShown; ++i) {
        const Holder& holder = holders[i];
        if (!out.empty()) out += "; ";
        if (holder.kind == Holder::Kind::queue) {
            out += fmt::format("queued as {}", format_queue_id(static_cast<QueueId>(holder.mailbox)));
            continue;
        }
        if (!holder.place.account.empty()) out += holder.place.account + ", ";
        out += fmt::format("{}, UID {}{}", holder.place.mailbox, holder.uid,
                           holder.kind == Holder::Kind::deleted ? ", removed but restorable" : "");
    }
    if (holders.size() > kHoldersShown) out += fmt::format("; and {} more places", holders.size() - kHoldersShown);
    return out;
}

Result<> check_bodies(Store& store, const CheckOptions& options, CheckReport& report, const CheckObserver& observer) {
    BodyCheck check(store, options, report);
    const std::uint64_t total = report.messages;
    std::int64_t after = std::numeric_limits<std::int64_t>::min();
    for (;;) {
        TRY(std::vector<BodyRow> rows, take_rows(store, after, options.deep));
        if (rows.empty()) break;
        after = raw(rows.back().id);
        TRY_VOID(check.batch(rows));
        if (!observer(report.bodies_read, total, report.octets_read, "reading messages")) {
            report.stopped = true;
            break;
        }
    }
    return check.tell();
}

}  // namespace posthouse::storage
